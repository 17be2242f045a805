//go:build !bare

// The GeoIP database of the warded build with -geoip-mapped: maxminddb on a guarded map of the live
// file. It takes no memory of its own; the price is that look-ups have no answer while somebody
// writes over the file. Strict: whoever updates the file should replace it, but may as well
// overwrite it, and an answer must come from one generation and not from two.

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang"

	sigward "github.com/sigward/sigward/go"
)

// A mappedDatabase is a guarded map and a reader on it, which go together: they are exchanged while
// nobody uses them.
type mappedDatabase struct {
	logger *slog.Logger

	using  sync.RWMutex
	file   *sigward.Map
	reader *maxminddb.Reader // nil while the file is no database

	// It was logged that look-ups have no answer, and that is not over.
	lossTold, staleTold atomic.Bool

	lost, stale, renewed, noticed atomic.Uint64
}

func openMapped(path string, logger *slog.Logger) (*mappedDatabase, error) {
	file, err := sigward.OpenWith(path, sigward.Options{Strict: true})
	if err != nil {
		return nil, err
	}
	d := &mappedDatabase{logger: logger, file: file}
	if err := d.read(); err != nil {
		return nil, err
	}
	go d.notice()
	return d, nil
}

// use lets someone look things up. What they found counts only if the map was what it was mapped
// from all the time. If not, the file is mapped anew and they try once more.
func (d *mappedDatabase) use(use func(*maxminddb.Reader) error) error {
	err := d.try(use)
	if err == nil {
		return nil
	}
	d.blame(err)
	var loss *sigward.MapError // and not what the reader made of the zeros
	if errors.As(err, &loss) {
		told := &d.staleTold
		if errors.Is(loss, sigward.ErrLost) {
			told = &d.lossTold
		}
		if told.CompareAndSwap(false, true) {
			d.logger.Warn("GeoIP data", "error", loss)
		}
	}
	if err := d.renew(); err != nil {
		return err
	}
	return d.try(use)
}

var errNoDatabase = errors.New("the file is no database just now")

func (d *mappedDatabase) try(use func(*maxminddb.Reader) error) error {
	d.using.RLock()
	defer d.using.RUnlock()
	if d.reader == nil {
		return errNoDatabase
	}
	return d.file.Do(func([]byte) error { return use(d.reader) })
}

// renew maps what the path names now. In the midst of a copy there is nothing that could be read;
// then the next look-up tries again.
func (d *mappedDatabase) renew() error {
	d.using.Lock()
	defer d.using.Unlock()
	if d.reader != nil && d.file.Verify() == nil {
		return nil // somebody else was faster
	}
	d.reader = nil
	if err := d.file.Refresh(); err != nil {
		return err
	}
	return d.read()
}

func (d *mappedDatabase) read() error {
	err := d.file.Do(func(data []byte) (err error) {
		// It keeps data, which Do lends for this call only: good until the next Refresh, and then
		// there is a new reader.
		d.reader, err = maxminddb.FromBytes(data)
		return err
	})
	if err != nil {
		d.reader = nil
		return fmt.Errorf("%w: %w", errNoDatabase, err)
	}
	d.renewed.Add(1)
	if lost, stale := d.lossTold.Swap(false), d.staleTold.Swap(false); lost || stale {
		d.logger.Info("GeoIP data mapped anew", "bytes", d.file.Len())
	}
	return nil
}

// notice looks for a new file also while nobody asks anything.
func (d *mappedDatabase) notice() {
	for range time.Tick(100 * time.Millisecond) {
		d.using.RLock()
		err := d.file.Verify()
		d.using.RUnlock()
		if err != nil && d.renew() == nil {
			d.noticed.Add(1)
		}
	}
}

func (d *mappedDatabase) blame(err error) {
	switch {
	case errors.Is(err, sigward.ErrLost):
		d.lost.Add(1)
	case errors.Is(err, sigward.ErrStale):
		d.stale.Add(1)
	}
}

func (d *mappedDatabase) count(p page) {
	p.counter("database_lost_total", "Look-ups that met lost bytes.", d.lost.Load())
	p.counter("database_stale_total", "Look-ups that met another file.", d.stale.Load())
	p.counter("database_renewed_total", "How often the file was mapped.", d.renewed.Load())
	p.counter("database_noticed_total", "New files found by looking.", d.noticed.Load())
}
