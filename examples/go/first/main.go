// Command first says whether the process is armed, and logs each failure that was caught.
package main

import (
	"fmt"
	"log"
	"time"

	sigward "github.com/sigward/sigward/go"
)

func main() {
	stop := sigward.Watch(time.Second, func(e sigward.Event) { log.Print(e) })
	defer stop()
	fmt.Println(sigward.Status())
}
