package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The journal: the Rust half writes each order to a mapped file, on a thread of its own.

const (
	ballast  = 256 << 10 // one file that takes space, bytes
	diskBase = 1 << 20   // what is free for the journal at first, bytes
)

// ErrNoMount says that this system does not let us have a small disk to fill.
var ErrNoMount = errors.New("no tmpfs can be mounted here, " +
	"not in a namespace of its own either (unshare -m, unshare -Urm)")

// orderly is a world with a journal and clients that order.
func (o Options) orderly(ctx context.Context, b build,
	command func(w *world) ([]string, error)) (*world, error) {
	w, err := o.stage(ctx, false)
	if err != nil {
		return w, err
	}
	line, err := command(w)
	if err != nil {
		return w, err
	}
	w.orders.note = strings.Repeat("of the finest ", 28)
	return w, w.launch(ctx, b, line)
}

// journaled names what happens in a run with a journal.
func journaled(strike, recovery string) Names {
	return Names{Answered: "orders answered", Failed: "orders without an answer", Strike: strike,
		Signal: "SIGBUS logged", Recovery: recovery}
}

// onSmallDisk is the command that starts the service with a tmpfs of size bytes, that nobody else
// sees and that is gone when the service is: in a mount namespace, of which the service is the only
// process.
func onSmallDisk(ctx context.Context, folder string, size int, service []string) ([]string, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	mount := fmt.Sprintf(`mount -t tmpfs -o size=%d tmpfs "$0" && exec "$@"`, size)
	for _, namespaces := range []string{"-m", "-Urm"} {
		line := []string{"unshare", namespaces, "sh", "-c", mount, folder}
		if exec.CommandContext(ctx, line[0], append(line[1:], "true")...).Run() == nil {
			return append(line, service...), nil
		}
	}
	return nil, ErrNoMount
}

// seen is a path as the service sees it: its file systems may be its own.
func (w *world) seen(path string) string {
	return filepath.Join("/proc", strconv.Itoa(w.service.addresses.PID), "root", path)
}

func runFull(ctx context.Context, o Options, b build) (r Report, err error) {
	var disk, journal string
	w, err := o.orderly(ctx, b, func(w *world) ([]string, error) {
		disk = filepath.Join(w.dir, "disk")
		journal = filepath.Join(disk, "journal.log")
		return onSmallDisk(ctx, disk, diskBase+o.Updates*ballast, w.command(b, "-journal", journal))
	})
	defer w.end()
	if err != nil {
		return r, err
	}
	for n := 0; n < o.Updates; n++ {
		path, content := w.seen(ballastName(disk, n)), bytes.Repeat([]byte{1}, ballast)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return r, err
		}
	}
	w.record.begin(journaled("disk full", "space again, and written"))
	w.orders.start(w.service.addresses.API)
	defer w.orders.stop()
	if b == bareBuild {
		return w.killedBySIGBUS(ctx, func(context.Context) error { return nil }, "the disk")
	}
	full := 0
	for ; full < o.Updates; full++ {
		noSpace := func() int { return w.counter(`journal_losses_total{cause="no_space"}`) }
		if !w.until(ctx, func() bool { return noSpace() > full }) {
			break
		}
		w.record.add(Strike, 1)
		lines := w.counter("journal_lines_total")
		if err := os.Remove(w.seen(ballastName(disk, full))); err != nil {
			return r, err
		}
		if !w.until(ctx, func() bool { return w.counter("journal_lines_total") > lines }) {
			break
		}
		w.record.add(Recovery, 1)
	}
	content := w.settleJournal(ctx, &r, w.seen(journal))
	w.finish(&r)
	if !w.lived(&r) {
		return r, nil
	}
	have := linesOf(content)
	r.Log = append(w.logged("SIGBUS caught", "rust-journal"),
		w.logged("journal ", "No space left on device")...)
	r.line("alive through %s", Times(full, "full disk", "full disks"))
	w.ordersLine(&r)
	r.line("%s of them in the journal", Thousands(len(have)))
	r.line("ENOSPC %s, and on when space was back", times(full))
	r.expect(full == o.Updates, "the disk was full %d times only; the log ends %q",
		full, w.service.logEnd())
	r.expect(len(have) == w.orders.count(),
		"the journal has %d of %d orders", len(have), w.orders.count())
	for _, n := range w.orders.accepted {
		if !have[n] {
			r.expect(false, "order %d is not in the journal", n)
			break
		}
	}
	w.expectLog(&r, full, "error.type=no_space")
	return r, nil
}

func ballastName(disk string, n int) string {
	return filepath.Join(disk, fmt.Sprintf("ballast-%d", n))
}

// reopen lets the Go half begin the journal anew.
func (w *world) reopen(ctx context.Context) error {
	w.record.add(Strike, 1)
	url := "http://" + w.service.addresses.API + "/reopen"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func runReopened(ctx context.Context, o Options, b build) (r Report, err error) {
	var journal string
	w, err := o.orderly(ctx, b, func(w *world) ([]string, error) {
		journal = filepath.Join(w.dir, "journal.log")
		return w.command(b, "-journal", journal), nil
	})
	defer w.end()
	if err != nil {
		return r, err
	}
	w.record.begin(journaled("opened with O_TRUNC", "written anew"))
	w.orders.start(w.service.addresses.API)
	defer w.orders.stop()
	if b == bareBuild {
		return w.killedBySIGBUS(ctx, w.reopen, "reopen")
	}
	cut, unmet := 0, 0
	for cut < o.Updates && unmet < 20 {
		if err := w.reopen(ctx); err != nil && !w.service.exitedWithin(ctx, time.Second) {
			return r, err
		}
		noticed := func() bool { return w.counter(`journal_losses_total{cause="cut"}`) > cut }
		if !w.untilWithin(ctx, 5*time.Second, noticed) {
			// A file that was cut just before its writer made it longer has what length the writer
			// wants: nothing is met then.
			unmet++
			continue
		}
		cut++
		// The loss is told before it is dealt with: a file that is cut again until then is cut
		// once.
		lines := w.counter("journal_lines_total")
		if !w.until(ctx, func() bool { return w.counter("journal_lines_total") > lines }) {
			break
		}
		w.record.add(Recovery, 1)
		w.service.exitedWithin(ctx, interval/10)
	}
	since := w.counter("events_accepted_total") // what comes after that has nobody cut off
	w.until(ctx, func() bool { return w.orders.last() > uint64(since) })
	w.service.exitedWithin(ctx, interval)
	content := w.settleJournal(ctx, &r, journal)
	w.finish(&r)
	if !w.lived(&r) {
		return r, nil
	}
	have := linesOf(content)
	r.Log = append(w.logged("SIGBUS caught", "rust-journal"),
		w.logged("journal ", "the file was cut")...)
	r.line("alive through %s", Times(cut, "reopen", "reopens"))
	w.ordersLine(&r)
	r.line("journal begun anew %s, and complete since", times(cut))
	r.expect(cut == o.Updates, "%d of %d reopens were noticed, %d not; the log ends %q",
		cut, o.Updates, unmet, w.service.logEnd())
	missing := 0
	for _, n := range w.orders.accepted {
		if n > uint64(since) && !have[n] {
			missing++
		}
	}
	r.expect(missing == 0,
		"%d orders accepted after the last reopen are not in the journal", missing)
	r.expect(uint64(since) < w.orders.last(),
		"nothing was ordered after the last reopen: the run proves nothing")
	w.expectLog(&r, cut, "error.type=truncated")
	return r, nil
}

// settleJournal lets the orders end and the journal catch up, and reads it.
func (w *world) settleJournal(ctx context.Context, r *Report, path string) []byte {
	w.orders.stop()
	w.until(ctx, func() bool { return w.counter("journal_lines_total") == w.orders.count() })
	lines := w.counter("journal_lines_total")
	r.expect(lines == w.orders.count(),
		"the journal took %d lines of %d orders", lines, w.orders.count())
	content, err := os.ReadFile(path)
	r.expect(err == nil, "read the journal: %v", err)
	return content
}

// linesOf are the numbers of the lines of a journal. After the last one there are zeros.
func linesOf(content []byte) map[uint64]bool {
	have := map[uint64]bool{}
	for _, line := range bytes.Split(bytes.TrimRight(content, "\x00"), []byte("\n")) {
		number, rest, _ := bytes.Cut(line, []byte(" "))
		n, err := strconv.ParseUint(string(number), 10, 64)
		if err == nil && bytes.HasSuffix(rest, []byte(`finest "}}`)) {
			have[n] = true
		}
	}
	return have
}

func (w *world) ordersLine(r *Report) {
	o := &w.orders
	r.line("%s of %s orders answered", Thousands(o.count()), Thousands(o.count()+o.failed))
	r.expect(o.failed == 0, "%d orders failed, the first with: %v", o.failed, o.mishap)
}

// expectLog wants each trouble to be told twice, by sigward and by the Rust half, with file, offset
// and thread.
func (w *world) expectLog(r *Report, troubles int, cause string) {
	caught, told := 0, 0
	for _, line := range r.Log {
		switch {
		case strings.Contains(line, "SIGBUS caught"):
			caught++
			met := strings.Contains(line, "journal.log") && strings.Contains(line, cause) &&
				strings.Contains(line, "sigward.access=write") &&
				strings.Contains(line, "sigward.offset=")
			r.expect(met, "this line does not tell file, offset and cause: %s", line)
		default:
			told++
			met := strings.Contains(line, "journal.log: offset ") &&
				strings.Contains(line, "met by thread rust-journal")
			r.expect(met, "this line does not tell file, offset and thread: %s", line)
		}
	}
	r.expect(caught >= troubles && told >= troubles,
		"%d troubles, but %d and %d lines in the log, which ends %q",
		troubles, caught, told, w.service.logEnd())
}

// killedBySIGBUS strikes until the bare service is dead.
func (w *world) killedBySIGBUS(
	ctx context.Context, strike func(context.Context) error, what string,
) (r Report, err error) {
	strikes := 0
	counted := func(ctx context.Context) error { strikes++; return strike(ctx) }
	after, err := w.struck(ctx, counted, interval/10)
	if err != nil {
		return r, err
	}
	w.finish(&r)
	w.orders.stop()
	r.line("%s", r.Status)
	r.line("nothing on stderr")
	if said := w.service.errors.String(); said != "" {
		r.Lines[1] = "with words on stderr"
		r.expect(false, "the bare service must die silently, but wrote %q", last(said, 400))
	}
	if what == "reopen" {
		r.line("%d ms and %s later", after.Milliseconds(), Times(strikes, "reopen", "reopens"))
	}
	r.line("after %s orders", Thousands(w.orders.count()))
	r.expect(r.Status.killedBy(syscall.SIGBUS),
		"the bare service must die of SIGBUS, but: %s, after %s and %d orders; stderr %q",
		r.Status, Times(strikes, "strike", "strikes"), w.orders.count(), w.service.logEnd())
	r.Problems = append(r.Problems, r.unexplained("died of SIGBUS", "journal.log")...)
	return r, nil
}
