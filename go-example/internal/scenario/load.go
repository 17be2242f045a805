package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// orders are the requests to the Go half: some clients, each with one request at a time.
type orders struct {
	halt    atomic.Bool
	running sync.WaitGroup
	note    string    // goes into each order
	record  *recorder // of what comes of each

	lock     sync.Mutex // for the rest, until stop
	accepted []uint64   // the sequence numbers that came back with 202
	failed   int        // requests that came to nothing
	mishap   error      // the first of these
}

func (o *orders) start(api string) {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	client := &http.Client{Transport: transport, Timeout: patience}
	o.running.Add(clients)
	for n := 0; n < clients; n++ {
		go func() {
			defer o.running.Done()
			for !o.halt.Load() {
				sequence, err := order(client, api, o.note)
				if o.came(sequence, err); err != nil {
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
}

// stop lets each client finish its request; none is cut off, so each answer is known.
func (o *orders) stop() {
	o.halt.Store(true)
	o.running.Wait()
}

func (o *orders) came(sequence uint64, err error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if err != nil {
		o.record.add(Failed, 1)
		o.failed++
		if o.mishap == nil {
			o.mishap = err
		}
		return
	}
	o.record.add(Answered, 1)
	o.accepted = append(o.accepted, sequence)
}

// count is how many orders were answered with 202.
func (o *orders) count() int {
	o.lock.Lock()
	defer o.lock.Unlock()
	return len(o.accepted)
}

// last is the highest sequence number.
func (o *orders) last() (last uint64) {
	o.lock.Lock()
	defer o.lock.Unlock()
	for _, n := range o.accepted {
		last = max(last, n)
	}
	return last
}

func order(client *http.Client, api, note string) (uint64, error) {
	item := strings.NewReader(`{"item":"tea","count":3,"note":"` + note + `"}`)
	response, err := client.Post("http://"+api+"/orders", "application/json", item)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusAccepted {
		return 0, fmt.Errorf("%s: %s", response.Status, body)
	}
	return strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64)
}

// leavers are clients of the downloads that give up early.
type leavers struct {
	curls, hangUps int
}

// leave lets one client give up: curl with a limit of two milliseconds, where there is one, and by
// turns a client that asks and hangs up.
func (l *leavers) leave(ctx context.Context, downloads string) error {
	if curl, err := exec.LookPath("curl"); err == nil && l.curls <= l.hangUps {
		l.curls++
		err := exec.CommandContext(ctx, curl,
			"-s", "-o", "/dev/null", "-m", "0.002", "http://"+downloads+"/export").Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) { // a timeout is what it is for
			return err
		}
		return nil
	}
	l.hangUps++
	return hangUp(ctx, downloads)
}

// hangUp closes the connection before anything has come. The first bytes of the answer then meet a
// reset after the end of the stream, and the server's next write is a broken pipe. (With SO_LINGER
// 0, or bytes that nobody read, the reset comes alone: the server's next write is ECONNRESET, which
// raises no signal, and most servers stop there.)
func hangUp(ctx context.Context, downloads string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", downloads)
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "GET /export HTTP/1.1\r\nHost: %s\r\n\r\n", downloads)
	return err
}

// download is a client that waits; it returns how much it got.
func download(downloads string) (int64, error) {
	client := &http.Client{Timeout: patience}
	response, err := client.Get("http://" + downloads + "/export")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(io.Discard, response.Body)
}
