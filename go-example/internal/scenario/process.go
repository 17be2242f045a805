package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// CheckSignals makes sure that children of this process start with SIGPIPE and SIGBUS at their
// default and not blocked. The Go runtime's own handler becomes SIG_DFL in a child, even when this
// process inherited SIG_IGN. But a parent can block a signal, and then no child would ever die of
// it. /proc is read by a child that is not a Go program: a Go child would show what its runtime has
// made of it.
func CheckSignals(ctx context.Context) error {
	status, err := exec.CommandContext(ctx, "cat", "/proc/self/status").Output()
	if err != nil {
		return fmt.Errorf("look at the signals of a child: %w", err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		if name != "SigIgn" && name != "SigBlk" {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return err
		}
		for _, signal := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGBUS} {
			if set&(1<<(signal-1)) != 0 {
				return fmt.Errorf(
					"children start with %v in %s: start this program without that", signal, name)
			}
		}
	}
	return nil
}

// Status is how a process ended; the zero value says that it has not.
type Status struct {
	Ended bool
	Wait  syscall.WaitStatus
}

func (s Status) killedBy(signal syscall.Signal) bool {
	return s.Ended && s.Wait.Signaled() && s.Wait.Signal() == signal
}

func (s Status) exited(code int) bool {
	return s.Ended && s.Wait.Exited() && s.Wait.ExitStatus() == code
}

// String says it as a shell would.
func (s Status) String() string {
	switch {
	case !s.Ended:
		return "still alive"
	case s.killedBy(syscall.SIGPIPE):
		return "killed by SIGPIPE (141)"
	case s.killedBy(syscall.SIGBUS):
		return "killed by SIGBUS (135)"
	case s.Wait.Signaled():
		return fmt.Sprintf("killed: %s (%d)", s.Wait.Signal(), 128+int(s.Wait.Signal()))
	default:
		return fmt.Sprintf("exited (%d)", s.Wait.ExitStatus())
	}
}

// A transcript is what a child writes while it is read here.
type transcript struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.text.Write(p)
}

// String is all of it; the last line may be half there while the child lives.
func (t *transcript) String() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.text.String()
}

// lines are the whole lines.
func (t *transcript) lines() []string {
	lines := strings.Split(t.String(), "\n")
	return lines[:len(lines)-1] // what comes after the last newline is nothing, or half a line
}

// A process is a child with its first line of output read: it is ready.
type process struct {
	command *exec.Cmd
	watched bool // the command is a watcher, and the program that is meant is its child
	ready   string
	errors  transcript
	done    chan struct{} // closed at the end; then ended and status may be read
	ended   time.Time
	status  Status
}

func startProcess(ctx context.Context, name string, args ...string) (*process, error) {
	return (&process{command: exec.Command(name, args...)}).start(ctx)
}

func (p *process) start(ctx context.Context) (*process, error) {
	p.done = make(chan struct{})
	p.command.Stderr = &p.errors
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p.command.Stdout = input
	err = p.command.Start()
	_ = input.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait()
		p.ended = time.Now()
		wait, _ := p.command.ProcessState.Sys().(syscall.WaitStatus)
		p.status = Status{Ended: true, Wait: wait}
		close(p.done)
	}()
	deadline := time.Now().Add(patience)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	_ = output.SetReadDeadline(deadline)
	if p.ready, err = firstLine(output); err != nil {
		p.kill()
		return nil, fmt.Errorf("%s does not start (%s): %w: %s",
			p.command.Path, p.status, err, p.errors.String())
	}
	return p, nil
}

func firstLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[0])
	}
}

// stop sends a signal and waits for the end. A watcher hands SIGTERM on.
func (p *process) stop(signal syscall.Signal) {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.kill()
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
	}
}

// kill ends the process, and a watcher's child with it.
func (p *process) kill() {
	select {
	case <-p.done:
		return // the number may be another's by now
	default:
	}
	if p.watched {
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	}
	_ = p.command.Process.Kill()
	<-p.done
}

// exitedWithin waits at most limit, and says whether the process has ended.
func (p *process) exitedWithin(ctx context.Context, limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	default:
	}
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
	case <-ctx.Done():
	}
	return false
}

// A service is a running service, where it listens, and its number.
type service struct {
	*process
	addresses struct {
		API, Downloads string
		PID            int
	}
}

func startService(ctx context.Context, watched bool, command []string) (*service, error) {
	p := &process{command: exec.Command(command[0], command[1:]...), watched: watched}
	if watched { // a group of its own, which can be ended as a whole
		p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if _, err := p.start(ctx); err != nil {
		return nil, err
	}
	s := &service{process: p}
	if err := json.Unmarshal([]byte(p.ready), &s.addresses); err != nil {
		p.kill()
		return nil, fmt.Errorf("%s says %q: %w", command[0], p.ready, err)
	}
	return s, nil
}

// logEnd is the end of its log, for the report of something that was not as expected.
func (s *service) logEnd() string { return last(s.errors.String(), 2000) }

// metrics are the counters of /metrics by name. One request may fail on a machine with much else to
// do; a service that has ended answers none.
func (s *service) metrics() (metrics map[string]uint64, err error) {
	for try := 0; try < 5; try++ {
		metrics, err = s.metricsOnce()
		if err == nil || s.exitedWithin(context.Background(), 100*time.Millisecond) {
			break
		}
	}
	return metrics, err
}

var metricsClient = &http.Client{Timeout: patience}

func (s *service) metricsOnce() (map[string]uint64, error) {
	response, err := metricsClient.Get("http://" + s.addresses.API + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	metrics := map[string]uint64{}
	for _, line := range strings.Split(string(text), "\n") {
		name, value, _ := strings.Cut(line, " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			metrics[name] = uint64(n)
		}
	}
	return metrics, nil
}
