package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigward/sigward/go-example/internal/geoip"
)

const (
	askers = 4  // clients that look addresses up at the same time
	batch  = 64 // addresses in one request
)

// lookups are the requests for addresses, and a judge of each answer.
type lookups struct {
	halt    atomic.Bool
	running sync.WaitGroup
	asking  sync.RWMutex  // held for writing, nobody asks
	latest  atomic.Uint32 // the generation of the last right answer
	newest  atomic.Uint32 // the generation that is in place
	record  *recorder     // of what comes of each

	lock   sync.Mutex // for the rest, until stop
	right  int        // answers that are right in the generation that they name
	wrong  int        // all others
	errors int        // addresses for which the service said that it had no answer
	failed int        // requests that came to nothing
	seen   map[uint32]int
	mishap error // the first wrong answer or failed request
	spoken string
}

func (l *lookups) start(api string) {
	l.seen = map[uint32]int{}
	transport := &http.Transport{MaxIdleConnsPerHost: askers}
	client := &http.Client{Transport: transport, Timeout: patience}
	l.running.Add(askers)
	for n := 0; n < askers; n++ {
		random := rand.New(rand.NewSource(int64(n)))
		go func() {
			defer l.running.Done()
			for !l.halt.Load() {
				if err := l.ask(client, api, random); err != nil {
					l.fail(err)
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
}

// stop lets each client finish its request.
func (l *lookups) stop() {
	l.halt.Store(true)
	l.running.Wait()
}

func (l *lookups) fail(err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.record.add(Failed, batch)
	l.failed++
	if l.mishap == nil {
		l.mishap = err
	}
}

// ask sends one batch and judges what comes back.
func (l *lookups) ask(client *http.Client, api string, random *rand.Rand) error {
	var addresses []byte
	for n := 0; n < batch; n++ {
		addresses = append(addresses, geoip.Address(random.Uint32())...)
	}
	l.asking.RLock()
	defer l.asking.RUnlock()
	response, err := client.Post(
		"http://"+api+"/locate", "application/octet-stream", bytes.NewReader(addresses))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	if response.StatusCode == http.StatusServiceUnavailable {
		l.record.add(Failed, batch)
		l.errors += batch
		l.spoken = string(bytes.TrimSpace(body))
		return nil
	}
	var answers []geoip.Answer
	if err := json.Unmarshal(body, &answers); err != nil || len(answers) != batch {
		return fmt.Errorf("%s: %d answers, %w", response.Status, len(answers), err)
	}
	for n, answer := range answers {
		if err := geoip.Judge(net.IP(addresses[n*net.IPv4len:][:net.IPv4len]), answer); err != nil {
			l.record.add(Failed, 1)
			l.wrong++
			if l.mishap == nil {
				l.mishap = err
			}
			continue
		}
		kind := Answered
		if answer.Generation != l.newest.Load() {
			kind = Stale
		}
		l.record.add(kind, 1)
		l.right++
		l.seen[answer.Generation]++
		l.latest.Store(answer.Generation)
	}
	return nil
}

// count is how many answers were right.
func (l *lookups) count() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.right
}

// unanswered is for how many addresses there was no answer, of all that were asked for until now.
func (l *lookups) unanswered() int {
	l.asking.Lock() // once each request that is on its way has come back
	defer l.asking.Unlock()
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.errors
}
