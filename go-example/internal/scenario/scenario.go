// Package scenario runs the failures that this example is about, each against the bare and the
// warded service, and says what came of it: peers that go away (Failures), and mapped files that
// change (MapFailures). The demo prints the outcomes, the tests assert them; both use the same
// Problems.
//
// Everything is real: child processes, loopback connections, signals. A bare run is there to prove
// the failure. If the bare service ever stops dying, that is a problem too: the warded run beside
// it would prove nothing any more.
package scenario

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// A Failure is one way in which a peer of the Rust half goes away.
type Failure struct {
	Name  string
	Peer  Peer
	Write string // what the Rust half is doing on the broken connection
}

// A Peer is who goes away.
type Peer int

const (
	CollectorTCP Peer = iota
	CollectorTLS
	Downloader
)

// names are those of what happens in a run.
func (f Failure) names() Names {
	strike := "collector upgraded"
	if f.Peer == Downloader {
		strike = "client gave up"
	}
	return Names{Answered: "orders answered", Failed: "orders without an answer", Strike: strike,
		Signal: "SIGPIPE logged"}
}

// Failures are the three that FramedWrite, rustls and hyper have in store for a Go service.
var Failures = []Failure{
	{"collector upgraded, plain TCP", CollectorTCP, "tokio-util FramedWrite, flush"},
	{"collector upgraded, TLS", CollectorTLS, "rustls over the same TcpStream"},
	{"clients give up a download", Downloader, "hyper below axum, 8 MiB"},
}

// Options say where the binaries are and how much to do.
type Options struct {
	// Bin: folder with service-bare, service-warded and collector.
	Bin string
	// Generations: of the GeoIP database, from WriteGenerations; for MapFailures.
	Generations []string
	// Watcher: path of the command `sigward`, to watch bare services with; empty for none.
	Watcher  string
	Upgrades int                              // collector upgrades in a warded run
	Requests int                              // requests that a warded run answers at least
	Leavers  int                              // clients that give up in a warded run
	Updates  int                              // updates of a mapped file in a warded run
	Progress func(format string, args ...any) // may be nil
}

// Full is what the demo does.
func Full(bin string) Options {
	return Options{Bin: bin, Upgrades: 16, Requests: 6000, Leavers: 200, Updates: 40}
}

// Quick is the same, less often.
func Quick(bin string) Options {
	return Options{Bin: bin, Upgrades: 6, Requests: 2000, Leavers: 80, Updates: 8}
}

const (
	clients  = 8                      // that send orders at the same time
	interval = 250 * time.Millisecond // between two upgrades
	patience = 2 * time.Minute        // for whatever must come: a start, an answer, a death
)

// A world is the processes and files of one run.
type world struct {
	Options
	failure   Failure
	dir       string
	record    recorder
	watched   bool // the service
	collector *collector
	service   *service
	orders    orders
	leavers   leavers
}

func (o Options) world(ctx context.Context, f Failure, b build) (*world, error) {
	w, err := o.stage(ctx, f.Peer == CollectorTLS)
	if err != nil {
		return w, err
	}
	w.failure = f
	return w, w.launch(ctx, b, w.command(b))
}

// stage is a world with everything but the service. It must be ended also when it comes with an
// error.
func (o Options) stage(ctx context.Context, tls bool) (*world, error) {
	dir, err := os.MkdirTemp("", "go-example-")
	if err != nil {
		return nil, err
	}
	w := &world{Options: o, dir: dir}
	w.orders.record = &w.record
	w.collector = &collector{
		binary: filepath.Join(o.Bin, "collector"),
		store:  filepath.Join(dir, "events.log"),
	}
	if tls {
		w.collector.certificate = filepath.Join(dir, "certificate.pem")
		w.collector.key = filepath.Join(dir, "key.pem")
		if err := writeCertificate(w.collector.certificate, w.collector.key); err != nil {
			return w, err
		}
	}
	if w.collector.address, err = freePort(); err != nil {
		return w, err
	}
	return w, w.collector.start(ctx)
}

// A build of the service.
type build string

const (
	bareBuild   build = "service-bare"
	wardedBuild build = "service-warded"
)

// command starts the service, with some more arguments.
func (w *world) command(b build, more ...string) []string {
	line := []string{filepath.Join(w.Bin, string(b)), "-collector", w.collector.address}
	if w.collector.certificate != "" {
		line = append(line, "-certificate", w.collector.certificate)
	}
	return append(line, more...)
}

// end stops what still runs and removes the files.
func (w *world) end() {
	if w == nil {
		return
	}
	if w.service != nil {
		w.service.kill()
	}
	w.collector.kill()
	_ = os.RemoveAll(w.dir)
}

// strike makes the failure happen once.
func (w *world) strike(ctx context.Context) error {
	w.record.add(Strike, 1)
	if w.failure.Peer == Downloader {
		return w.leavers.leave(ctx, w.service.addresses.Downloads)
	}
	return w.collector.upgrade(ctx)
}

// strikes counts them.
func (w *world) strikes() int { return w.collector.upgrades + w.leavers.curls + w.leavers.hangUps }

// pause is the time between two strikes.
func (w *world) pause() time.Duration {
	if w.failure.Peer == Downloader {
		return time.Millisecond
	}
	return interval
}

func (o Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(format, args...)
	}
}
