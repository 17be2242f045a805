package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/oschwald/maxminddb-golang"

	"github.com/sigward/sigward/go-example/internal/geoip"
)

// A database is a reader of a file that changes.
type database interface {
	// use lends the reader for one batch of look-ups, all of one generation. It is called again
	// when they came to nothing.
	use(func(*maxminddb.Reader) error) error
	count(page)
}

// A locator answers where addresses are, out of a GeoIP database that somebody updates while it
// runs. The database is opened in geoip.go or bare.go.
type locator struct {
	database database
	lookups  atomic.Uint64
	failures atomic.Uint64 // batches without an answer
}

// locate takes a batch of addresses, four bytes each, and answers with a JSON list of as many: all
// of them or an error.
func (l *locator) locate(w http.ResponseWriter, r *http.Request) {
	batch, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<12))
	if err != nil || len(batch)%net.IPv4len != 0 {
		http.Error(w, "POST addresses, four bytes each", http.StatusBadRequest)
		return
	}
	var answers []geoip.Answer
	err = l.database.use(func(reader *maxminddb.Reader) (err error) {
		answers, err = lookUp(reader, batch)
		return err
	})
	if err != nil {
		l.failures.Add(1)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	l.lookups.Add(uint64(len(answers)))
	_ = json.NewEncoder(w).Encode(answers) // the client may have left
}

// lookUp looks up a batch. The reader was not made for a file that changes under it: what it finds
// there may make it panic, which is an error like another.
func lookUp(reader *maxminddb.Reader, batch []byte) (answers []geoip.Answer, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the reader panicked: %v\n%s", cause, debug.Stack())
		}
	}()
	for ; len(batch) > 0; batch = batch[net.IPv4len:] {
		var record geoip.Record
		ip := net.IP(batch[:net.IPv4len])
		if err := reader.Lookup(ip, &record); err != nil {
			return nil, fmt.Errorf("look up %s (%#x): %w", ip, binary.BigEndian.Uint32(ip), err)
		}
		answers = append(answers, record.Answer())
	}
	return answers, nil
}

func (l *locator) count(p page) {
	p.counter("lookups_total", "Addresses that were looked up.", l.lookups.Load())
	p.counter("lookup_failures_total", "Batches without an answer.", l.failures.Load())
	l.database.count(p)
}
