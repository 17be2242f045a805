// Package report draws the outcome of the demo as one HTML page: a single file, which loads
// nothing, runs no script, and has its pictures inside.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"unicode"

	"github.com/sigward/sigward/go-example/internal/scenario"
)

// A Page is what the report shows. No text of it is trusted to be HTML.
type Page struct {
	Good     bool   // all was as expected
	Verdict  string // in a sentence
	Facts    []Fact // of the whole, a few
	Failures []Failure
	Notes    []string // what was left out, and why
	Machine  string   // where and when it was
}

// A Fact is a number with its unit, and what it counts.
type Fact struct{ Number, What string }

// A Failure is one thing that happens, without sigward and with it.
type Failure struct {
	Name, What   string
	Bare, Warded Run
}

// A Run is what came of one build of the service.
type Run struct {
	Lines    []string // the first is the message
	Why      string   // what `sigward watch` said of the end; may be empty
	Log      []string // lines of the service's log
	Problems []string // what was not as expected
	Timeline scenario.Timeline
}

//go:embed page.html
var source string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"panels": panels, "first": first, "rest": rest,
}).Parse(source))

// Write writes the page.
func (p Page) Write(w io.Writer) error {
	var text bytes.Buffer
	if err := page.Execute(&text, p); err != nil {
		return err
	}
	_, err := io.WriteString(w, printable(text.String()))
	return err
}

// printable replaces what no HTML may have: logs may hold any byte.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
}

// A panel is a run on the page.
type panel struct {
	ID, Title, Class string
	Run              Run
	Chart            chart
}

func panels(n int, f Failure) (both [2]panel) {
	charts := charts(f)
	for at, run := range []Run{f.Bare, f.Warded} {
		title := []string{"without sigward", "with sigward"}[at]
		class := []string{"harmed", "lived"}[at]
		if run.Timeline.Death > 0 || len(run.Problems) > 0 {
			class = "died"
		}
		both[at] = panel{fmt.Sprintf("run-%d-%d", n, at), title, class, run, charts[at]}
	}
	return both
}

func first(lines []string) string {
	if len(lines) == 0 {
		return "nothing to tell"
	}
	return lines[0]
}

func rest(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return lines[1:]
}
