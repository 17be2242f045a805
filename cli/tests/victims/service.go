// service serve SOCKET: a server of hashes. service load SOCKET COUNT: asks it from eight
// connections at once until there are so many answers, or without a COUNT until stdin ends, and
// says how many there were and how many requests have failed.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// answer is what everybody gets who asks with this text: some allocation, some work.
func answer(text string) []byte {
	sum := sha256.Sum256([]byte(strings.Repeat(text, 4096)))
	words := map[string]any{
		"text": text, "sum": hex.EncodeToString(sum[:]), "list": make([]int, 256),
	}
	data, err := json.Marshal(words)
	if err != nil {
		panic(err)
	}
	return data
}

func serve(socket string) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	answers := func(out http.ResponseWriter, request *http.Request) {
		out.Write(answer(request.URL.Query().Get("text")))
	}
	panic(http.Serve(listener, http.HandlerFunc(answers)))
}

func load(socket string, most int64) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", socket)
	}
	var asked, failed atomic.Int64
	var end atomic.Bool
	if most == 0 {
		most = 1 << 62
		go func() {
			io.Copy(io.Discard, os.Stdin)
			end.Store(true)
		}()
	}
	wanted := answer("x")
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			// Of its own, so that each has one connection.
			transport := &http.Transport{DialContext: dial}
			client := http.Client{Timeout: 30 * time.Second, Transport: transport}
			for !end.Load() && asked.Add(1) <= most {
				response, err := client.Get("http://service/?text=x")
				if err == nil {
					var body []byte
					body, err = io.ReadAll(response.Body)
					response.Body.Close()
					if response.StatusCode != http.StatusOK || !bytes.Equal(body, wanted) {
						err = io.ErrUnexpectedEOF
					}
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					failed.Add(1)
				}
			}
		}()
	}
	all.Wait()
	fmt.Println(min(asked.Load(), most), failed.Load())
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	most := 0
	if len(os.Args) > 3 {
		most, _ = strconv.Atoi(os.Args[3])
	}
	load(os.Args[2], int64(most))
}
