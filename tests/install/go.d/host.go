//go:build host

package main

import (
	"fmt"
	"os"
	"plugin"
)

func main() {
	p, err := plugin.Open("app.plugin")
	if err == nil {
		var run plugin.Symbol
		if run, err = p.Lookup("Run"); err == nil {
			run.(func())()
			return
		}
	}
	fmt.Println(err)
	os.Exit(1)
}
