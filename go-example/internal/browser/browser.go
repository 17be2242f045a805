// Package browser looks at a page with headless Chromium, for tests: as a phone shows it or a wide
// window, by day or by night. It speaks the browser's own protocol (DevTools), over two pipes.
package browser

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Find is the path of a Chromium, empty if there is none.
func Find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// A View is how a page is looked at.
type View struct {
	Width int // in CSS pixels
	Dark  bool
}

// Seen is what came of it.
type Seen struct {
	// Problems are messages of the console, requests for anything but the page, and what look.js
	// finds: what is wider than the view, text upon text, too little contrast, pictures without a
	// name.
	Problems []string
	Text     string // all that can be read
	PNG      []byte // the whole page
}

//go:embed look.js
var script string

// A Browser is a running one, for one test.
type Browser struct {
	command  *exec.Cmd
	folder   string // of all that it writes
	in       io.WriteCloser
	out      *bufio.Reader
	closeOut func() error
	said     bytes.Buffer // on stderr
	calls    int

	// Of the page that is looked at:
	session, page string
	loaded        bool
	problems      []string
}

// Look opens the file, and looks at it.
func (b *Browser) Look(file string, view View) (seen Seen, err error) {
	if file, err = filepath.Abs(file); err != nil {
		return seen, err
	}
	var target struct{ TargetID string }
	if err := b.call("Target.createTarget", object{"url": "about:blank"}, &target); err != nil {
		return seen, err
	}
	defer func() {
		b.session = ""
		closing := b.call("Target.closeTarget", object{"targetId": target.TargetID}, nil)
		err = errors.Join(err, closing)
	}()
	page := (&url.URL{Scheme: "file", Path: file}).String()
	if err := b.open(target.TargetID, page, view); err != nil {
		return seen, err
	}
	var looked struct {
		Result struct {
			Value struct {
				Problems []string
				Text     string
				Height   int
			}
		}
	}
	expression := fmt.Sprintf("(%s)(%d)", script, view.Width)
	evaluate := object{"expression": expression, "returnByValue": true}
	if err := b.call("Runtime.evaluate", evaluate, &looked); err != nil {
		return seen, err
	}
	value := looked.Result.Value
	var shot struct{ Data []byte }
	whole := object{"x": 0, "y": 0, "width": view.Width, "height": value.Height, "scale": 1}
	capture := object{"captureBeyondViewport": true, "clip": whole}
	if err := b.call("Page.captureScreenshot", capture, &shot); err != nil {
		return seen, err
	}
	return Seen{append(b.problems, value.Problems...), value.Text, shot.Data}, nil
}

type object map[string]any

// Start starts the browser at this path; End ends it.
func Start(ctx context.Context, path string) (b *Browser, err error) {
	folder, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder)
		}
	}()
	b = &Browser{folder: folder, command: exec.CommandContext(ctx, path, "--headless",
		"--remote-debugging-pipe", "--user-data-dir="+folder, "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND")}
	if os.Geteuid() == 0 {
		b.command.Args = append(b.command.Args, "--no-sandbox") // it refuses to start otherwise
	}
	b.command.Stderr = &b.said
	b.command.WaitDelay = 10 * time.Second
	its, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer its.Close()
	out, itsOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	defer itsOut.Close()
	b.command.ExtraFiles = []*os.File{its, itsOut} // 3 and 4, as the flag wants
	b.in, b.out, b.closeOut = in, bufio.NewReader(out), out.Close
	if err := b.command.Start(); err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return b, nil
}

// End ends it, and removes what it has written.
func (b *Browser) End() {
	_ = b.call("Browser.close", object{}, nil)
	_ = b.in.Close()
	_ = b.closeOut()
	_ = b.command.Wait()
	_ = os.RemoveAll(b.folder)
}

// open shows the page, and waits until all of it is there.
func (b *Browser) open(target, page string, view View) error {
	var attached struct{ SessionID string }
	attach := object{"targetId": target, "flatten": true}
	if err := b.call("Target.attachToTarget", attach, &attached); err != nil {
		return err
	}
	scheme := "light"
	if view.Dark {
		scheme = "dark"
	}
	b.session, b.page, b.loaded, b.problems = attached.SessionID, page, false, nil
	device := object{
		"width": view.Width, "height": 800, "deviceScaleFactor": 1, "mobile": view.Width < 600,
	}
	media := object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}
	for _, call := range []struct {
		method string
		params object
	}{
		{"Page.enable", nil},
		{"Runtime.enable", nil},
		{"Log.enable", nil},
		{"Network.enable", nil},
		{"Emulation.setDeviceMetricsOverride", device},
		{"Emulation.setEmulatedMedia", media},
		{"Page.navigate", object{"url": page}},
	} {
		if err := b.call(call.method, call.params, nil); err != nil {
			return err
		}
	}
	for !b.loaded {
		if _, err := b.read(); err != nil {
			return err
		}
	}
	return nil
}

type message struct {
	ID        int
	SessionID string
	Method    string
	Params    json.RawMessage
	Result    json.RawMessage
	Error     *struct{ Message string }
}

func (b *Browser) call(method string, params object, result any) error {
	b.calls++
	request := object{"id": b.calls, "method": method, "params": params}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return fmt.Errorf("%s: %w; the browser says %q", method, err, b.said.String())
	}
	for {
		answer, err := b.read()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", method, err)
		case answer.ID != b.calls:
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", method, answer.Error.Message)
		case result == nil:
			return nil
		default:
			return json.Unmarshal(answer.Result, result)
		}
	}
}

// read takes the next message, and notes what events tell.
func (b *Browser) read() (m message, err error) {
	text, err := b.out.ReadBytes(0)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		return m, err
	}
	var event struct {
		Request struct{ URL string }
		Entry   struct{ Level, Text string }
	}
	if m.Params != nil {
		_ = json.Unmarshal(m.Params, &event) // others have other members
	}
	if m.SessionID != b.session {
		return m, nil // another page's, which is closed
	}
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Network.requestWillBeSent":
		if event.Request.URL != b.page {
			b.problems = append(b.problems, "asks for "+event.Request.URL)
		}
	case "Log.entryAdded":
		b.problems = append(b.problems, "the console says: "+event.Entry.Text)
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
		b.problems = append(b.problems, "the console says: "+string(m.Params))
	}
	return m, nil
}
