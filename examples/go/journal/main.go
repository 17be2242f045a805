// Command journal appends records that survive the process, and reads them back.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	sigward "github.com/sigward/sigward/go"
)

func main() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("journal-%d", os.Getpid()))
	defer os.Remove(path)
	journal, err := sigward.OpenLog(path)
	if err != nil {
		log.Fatal(err)
	}
	defer journal.Close()
	switch _, err := journal.Append([]byte("order 1")); {
	case errors.Is(err, sigward.ErrNoSpace):
		log.Print("the disk is full; earlier records are safe: ", err)
	case err != nil:
		log.Fatal(err)
	}
	// Appended records survive the process; flushed records survive the machine.
	if _, err := journal.Flush(); err != nil {
		log.Fatal(err)
	}
	reader, err := sigward.OpenLogReader(path)
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()
	for {
		record, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(record))
	}
}
