// Package browser looks at a page with headless Chromium, for tests: as a phone shows it or a wide
// window, by day or by night. It speaks the browser's own protocol (DevTools), over two pipes.
package browser

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// ForTest starts a Chromium for a test. Where there is none, or none that shows a file (in a
// container or a snap of its own), the test is skipped.
func ForTest(t *testing.T) *Browser {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		b, err := start(path)
		if err != nil {
			t.Skipf("skipped: %s does not start: %v", path, err)
		}
		t.Cleanup(b.end)
		page := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(page, []byte("<title>a page</title>"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Look(page, View{Width: 390}); err != nil {
			t.Skipf("skipped: %s shows no page: %v", path, err)
		}
		return b
	}
	t.Skip("skipped: there is no Chromium to look at pages with")
	return nil
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

// patience is for each answer.
const patience = 2 * time.Minute

//go:embed look.js
var script string

// A Browser is a running one, for one test.
type Browser struct {
	command  *exec.Cmd
	folder   string // of all that it writes
	in       io.WriteCloser
	out      *os.File
	messages *bufio.Reader // in out
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

func start(path string) (b *Browser, err error) {
	folder, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder)
		}
	}()
	// No sandbox: root may have none, containers may not, and the pages are our own.
	b = &Browser{folder: folder, command: exec.Command(path, "--headless", "--no-sandbox",
		"--remote-debugging-pipe", "--user-data-dir="+folder, "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND")}
	b.command.WaitDelay = patience
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
	b.in, b.out, b.messages = in, out, bufio.NewReader(out)
	if err := b.command.Start(); err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return b, nil
}

// end ends it, and removes what it has written.
func (b *Browser) end() {
	if err := b.call("Browser.close", object{}, nil); err != nil {
		_ = b.command.Process.Kill()
	}
	_ = b.in.Close()
	_ = b.out.Close()
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
	} {
		if err := b.call(call.method, call.params, nil); err != nil {
			return err
		}
	}
	var navigated struct{ ErrorText string }
	if err := b.call("Page.navigate", object{"url": page}, &navigated); err != nil {
		return err
	}
	if navigated.ErrorText != "" {
		return errors.New(navigated.ErrorText)
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
		return fmt.Errorf("%s: %w", method, err)
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
	_ = b.out.SetReadDeadline(time.Now().Add(patience))
	text, err := b.messages.ReadBytes(0)
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
