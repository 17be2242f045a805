// Collector accepts events over TCP or TLS, stores each exactly once, and acknowledges what it has
// stored.
//
// A line `17 {…}` comes in and is appended to the store file; `17` goes back and means "17 and all
// before it are stored". The file is the whole state: the next collector reads it and goes on where
// this one stopped, whichever way it stopped. A write(2) outlives the process that made it, so
// there is no fsync: what ends here is processes, not machines.
//
// SIGTERM resets all connections (SO_LINGER 0) and exits, as an impatient upgrade does; SIGKILL is
// welcome too.
package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "`IP:PORT` to listen on")
	path := flag.String("store", "events.log", "`file` of the accepted events, one per line")
	certificate := flag.String("certificate", "", "PEM `file`: speak TLS with this certificate")
	key := flag.String("key", "", "PEM `file` with the certificate's key")
	flag.Parse()
	if err := run(*listen, *path, *certificate, *key); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(listen, path, certificate, key string) error {
	store, err := open(path)
	if err != nil {
		return err
	}
	var config *tls.Config
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return err
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	}
	// Go sets SO_REUSEADDR: the connections of the collector before us do not keep the port.
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println("ready", listener.Addr())

	var open connections
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		open.reset()
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		open.add(connection)
		if config != nil {
			connection = tls.Server(connection, config)
		}
		go collect(connection, store)
	}
}

// collect serves one connection until it ends or breaks the protocol.
func collect(connection net.Conn, store *store) {
	defer connection.Close()
	lines := bufio.NewReaderSize(connection, 1<<16)
	for {
		// All that has already come is stored with one write and acknowledged with one line.
		var batch []string
		for len(batch) == 0 || lines.Buffered() > 0 && len(batch) < 256 {
			line, err := lines.ReadString('\n')
			if err != nil {
				return // the rest of a line comes again over the next connection
			}
			if line != "\n" { // an empty line is a heartbeat
				batch = append(batch, line)
			} else if lines.Buffered() == 0 {
				break
			}
		}
		last, err := store.accept(batch)
		if err != nil {
			fmt.Fprintln(os.Stderr, "collector:", err)
			return
		}
		if _, err := fmt.Fprintln(connection, last); err != nil {
			return
		}
	}
}

// store is the file of accepted events. Numbers in it go up by one, from 1.
type store struct {
	lock sync.Mutex
	file *os.File
	last uint64
}

// open takes over what the collector before us accepted. A line that it could not finish was never
// acknowledged.
func open(path string) (*store, error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	whole := content[:strings.LastIndexByte(string(content), '\n')+1]
	s := &store{}
	if len(whole) > 0 {
		start := strings.LastIndexByte(string(whole[:len(whole)-1]), '\n') + 1
		if s.last, err = number(string(whole[start:])); err != nil {
			return nil, err
		}
	}
	if s.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	return s, s.file.Truncate(int64(len(whole)))
}

// accept stores those of the events that are new and returns the number of the last one stored.
func (s *store) accept(events []string) (last uint64, err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var fresh strings.Builder
	end := s.last
	for _, event := range events {
		n, err := number(event)
		if err != nil {
			return 0, err
		}
		if n > end+1 {
			return 0, fmt.Errorf("event %d came after %d", n, end)
		}
		if n == end+1 { // a smaller one was stored before its acknowledgement was lost
			fresh.WriteString(event)
			end = n
		}
	}
	if _, err := s.file.WriteString(fresh.String()); err != nil {
		return 0, err
	}
	s.last = end
	return end, nil
}

func number(event string) (uint64, error) {
	digits, _, _ := strings.Cut(event, " ")
	return strconv.ParseUint(digits, 10, 64)
}

// connections are those to reset at the end. They are few, and the process is short-lived: none is
// ever removed.
type connections struct {
	lock sync.Mutex
	all  []*net.TCPConn
}

func (c *connections) add(connection net.Conn) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.all = append(c.all, connection.(*net.TCPConn))
}

func (c *connections) reset() {
	c.lock.Lock()
	defer c.lock.Unlock()
	for _, connection := range c.all {
		_ = connection.SetLinger(0)
		_ = connection.Close()
	}
}
