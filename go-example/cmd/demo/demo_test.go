package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigward/sigward/go-example/internal/browser"
	"github.com/sigward/sigward/go-example/internal/scenario"
)

const built = "../../bin" // by `make example`

// TestDemo runs the short demo: its table explains each death, its last line names the report, and
// a browser shows that on a phone, by night, and in a wide window.
func TestDemo(t *testing.T) {
	demo := filepath.Join(built, "demo")
	if _, err := os.Stat(demo); err != nil {
		if os.Getenv("SIGWARD_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: `make example` builds it", err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	command := exec.Command(demo, "-quick", "-report", file)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, ": "+file) {
		t.Errorf("the last line does not name the report: %q", last)
	}
	wanted := []string{"dead after", "alive through", "nothing on stderr"}
	if _, err := watcher(context.Background(), built); err != nil {
		t.Logf("skipped: %v", err)
	} else {
		count := func(words string) int { return strings.Count(string(out), words) }
		deaths := count("killed by SIG") + count("crashed: exit status 2")
		told := count("\n  sigward: service-bare (pid ")
		if told != deaths || deaths < 6 {
			t.Errorf("of %d deaths %d are explained:\n%s", deaths, told, out)
		}
		wanted = append(wanted, "sigward watch says", "the peer is gone", "the file was cut to 0")
	}
	t.Run("seen", func(t *testing.T) { see(t, browser.ForTest(t), file, wanted) })
}

func see(t *testing.T, chromium *browser.Browser, file string, wanted []string) {
	for _, view := range []browser.View{{Width: 390}, {Width: 390, Dark: true}, {Width: 1200}} {
		seen, err := chromium.Look(file, view)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range seen.Problems {
			t.Errorf("%+v: %s", view, problem)
		}
		for _, words := range wanted {
			if !strings.Contains(seen.Text, words) {
				t.Errorf("%+v: %q cannot be read: %s", view, words, seen.Text)
			}
		}
	}
}

// TestWithoutWatcher: a demo that cannot explain says so, once.
func TestWithoutWatcher(t *testing.T) {
	path, err := watcher(context.Background(), t.TempDir())
	if path != "" || err == nil || strings.ContainsAny(err.Error(), "\n") {
		t.Errorf("%q, %v", path, err)
	}
}

// TestReportOfProblems: what is not as expected is told on the page as well.
func TestReportOfProblems(t *testing.T) {
	dead := scenario.End{Timeline: scenario.Timeline{Death: 1}}
	rows := []row{{
		name: "one", failure: cell{"one", "what"}, bare: outcome{cell{"dead"}, nil, dead},
		warded: outcome{cell{"dead"}, []string{"it must live"}, dead},
	}}
	page := pageOf(rows, []string{"a note"}, time.Now())
	var text strings.Builder
	if err := page.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{
		"Not as expected, in 1 case", "it must live", "a note",
		"<strong>0 of 1</strong> warded ones lived",
	} {
		if !strings.Contains(text.String(), words) {
			t.Errorf("no %q", words)
		}
	}
	rows[0].warded = outcome{cell: cell{"alive"}}
	if page := pageOf(rows, nil, time.Now()); !page.Good || page.Facts[1].Number != "1 of 1" {
		t.Errorf("%+v", page)
	}
}

func TestWrap(t *testing.T) {
	lines := wrap("some words of a_long_one and more", 10)
	if got := strings.Join(lines, "|"); got != "some words|of|a_long_one|and more" {
		t.Error(got)
	}
	if wrap("", 10) != nil {
		t.Error("of nothing there is no line")
	}
}
