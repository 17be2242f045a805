package scenario

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Bare services are started by `sigward watch`, where that is allowed: it changes nothing in them,
// and says in one line what they died of.

// CheckWatcher says why the command `sigward` at this path cannot watch programs here, nil if it
// can.
func CheckWatcher(ctx context.Context, path string) error {
	said, err := exec.CommandContext(ctx, path, "watch", "--", "true").CombinedOutput()
	var exit *exec.ExitError
	if said = bytes.TrimSpace(said); errors.As(err, &exit) && len(said) > 0 {
		return errors.New(string(said))
	}
	return err
}

// An End is how the service ended, and what happened until then.
type End struct {
	Status   Status
	Watched  bool
	Why      string // what `sigward watch` said of the end
	Timeline Timeline
}

// launch starts the service; a bare one is watched if there is somebody who can.
func (w *world) launch(ctx context.Context, b build, command []string) (err error) {
	w.watched = b == bareBuild && w.Watcher != ""
	if w.watched {
		command = append([]string{w.Watcher, "watch", "-o", w.said(), "--"}, command...)
	}
	w.service, err = startService(ctx, w.watched, command)
	return err
}

// said is the file that the watcher writes to.
func (w *world) said() string { return filepath.Join(w.dir, "watcher-said.txt") }

// ended tells of a service that has ended.
func (w *world) ended() (e End) {
	e = End{Status: w.service.status, Watched: w.watched}
	if w.watched {
		// The watcher exits as the service did: with 128 and the signal's number.
		said, _ := os.ReadFile(w.said())
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		e.Why = strings.NewReplacer(w.dir, "…", w.Bin+"/", "").Replace(lines[len(lines)-1])
		signal := e.Status.Wait.ExitStatus() - 128
		if signal > 0 && strings.Contains(e.Why, ") died of ") {
			e.Status.Wait = syscall.WaitStatus(signal)
		}
	}
	w.record.addLogged(w.service.errors.lines())
	e.Timeline = w.record.timeline(w.service.ended, !e.Status.exited(0))
	return e
}

// unexplained are the words that the watcher should have said and did not, as a problem.
func (e End) unexplained(words ...string) (problems []string) {
	for _, word := range words {
		if e.Watched && !strings.Contains(e.Why, word) {
			return []string{"sigward watch must say " + word + " of the end, but: " + e.Why}
		}
	}
	return nil
}
