package scenario

import (
	"strings"
	"sync"
	"time"
)

// Bucket is the time that each count of a Series is about.
const Bucket = 50 * time.Millisecond

// longest bounds what is recorded.
const longest = 15 * time.Minute

// A Timeline is what happened in one run, and when: from the first request on.
type Timeline struct {
	Series []Series
	Death  time.Duration // when the service died; 0 if it lived
}

// A Series is how often something happened, in each Bucket of time.
type Series struct {
	Kind   Kind
	Name   string // for people
	Counts []int
}

// A Kind is what a Series counts. The first three are of requests.
type Kind int

const (
	Answered Kind = iota // right answers
	Stale                // answers that are right in a version of the data that is not the newest
	Failed               // requests that came to nothing, and wrong answers
	Strike               // what was done to the service
	Signal               // each signal that sigward made an error of
	Recovery             // each time that the service was as before again
	kinds
)

// Names are those of the series that a run has.
type Names [kinds]string

// Total is how often it happened in all.
func (s Series) Total() (total int) {
	for _, count := range s.Counts {
		total += count
	}
	return total
}

// Length is the time until the last thing happened.
func (t Timeline) Length() time.Duration {
	length := t.Death
	for _, s := range t.Series {
		length = max(length, time.Duration(len(s.Counts))*Bucket)
	}
	return length
}

// A recorder makes a Timeline while a run goes on, for several goroutines.
type recorder struct {
	lock   sync.Mutex
	began  time.Time // zero: nothing is recorded yet
	names  Names
	counts [kinds][]int
}

// begin is the moment of the first request.
func (r *recorder) begin(names Names) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.began, r.names = time.Now(), names
}

func (r *recorder) add(kind Kind, n int) { r.addAt(time.Now(), kind, n) }

func (r *recorder) addAt(at time.Time, kind Kind, n int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	since := at.Sub(r.began)
	if r.began.IsZero() || since < 0 || since >= longest || n == 0 {
		return
	}
	for bucket := int(since / Bucket); len(r.counts[kind]) <= bucket; {
		r.counts[kind] = append(r.counts[kind], 0)
	}
	r.counts[kind][since/Bucket] += n
}

// hasAnswers says whether a request was answered.
func (r *recorder) hasAnswers() bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.counts[Answered]) > 0
}

// addLogged adds the signals that the service has logged. (The log comes at most 50 ms later.)
func (r *recorder) addLogged(log []string) {
	for _, line := range log {
		stamp, text, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		isSignal := strings.Contains(text, `msg="SIGPIPE swallowed"`) ||
			strings.Contains(text, `msg="SIGBUS caught"`)
		if at, err := time.Parse(time.RFC3339, stamp); err == nil && isSignal {
			r.addAt(at, Signal, 1)
		}
	}
}

func (r *recorder) timeline(ended time.Time, died bool) (t Timeline) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for kind, name := range r.names {
		if name != "" {
			counts := append([]int(nil), r.counts[kind]...)
			t.Series = append(t.Series, Series{Kind: Kind(kind), Name: name, Counts: counts})
		}
	}
	if died && !r.began.IsZero() {
		t.Death = max(ended.Sub(r.began), 1)
	}
	return t
}
