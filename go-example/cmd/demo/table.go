package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/sigward/sigward/go-example/internal/scenario"
)

// A row is one failure, and what came of it.
type row struct {
	name         string
	failure      cell
	bare, warded outcome
	log          []string // of the warded service
}

type outcome struct {
	cell     cell
	problems []string // the expectations that it does not meet
	end      scenario.End
}

// A cell is some lines; the first is the message.
type cell []string

// peerRow is about a peer that went away.
func peerRow(f scenario.Failure, bare scenario.Bare, warded scenario.Warded) row {
	r := row{name: f.Name, failure: cell{f.Name, f.Write}}
	r.bare = outcome{bareCell(f, bare), bare.Problems(), bare.End}
	r.warded = outcome{wardedCell(f, warded), warded.Problems(), warded.End}
	if len(warded.Lines) > 0 {
		r.log = []string{warded.Lines[0].Text}
	}
	return r
}

// mapRow is about a mapped file that changed. It shows the first and the last line of the log:
// sigward's and the service's.
func mapRow(f scenario.MapFailure, bare, warded scenario.Report) row {
	r := row{name: f.Name, failure: cell{f.Name, f.What}}
	r.bare = outcome{bare.Lines, bare.Problems, bare.End}
	r.warded = outcome{warded.Lines, warded.Problems, warded.End}
	if len(warded.Log) > 0 {
		r.log = []string{warded.Log[0], warded.Log[len(warded.Log)-1]}
	}
	return r
}

// A style is the parameters of an escape sequence "select graphic rendition".
type style string

const (
	plain style = ""
	bold  style = "1"
	dim   style = "2"
	red   style = "1;31"
	green style = "1;32"

	yellow style = "33"
)

// paint returns what puts text into a style: on a terminal, unless NO_COLOR is set.
func paint(file *os.File) func(style, string) string {
	status, err := file.Stat()
	terminal := err == nil && status.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return func(s style, text string) string {
		if !terminal || os.Getenv("NO_COLOR") != "" || s == plain {
			return text
		}
		return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
	}
}

// show prints the table, some log lines and what was not as expected; it returns whether all was.
func show(out *os.File, rows []row) bool {
	color := paint(out)
	fmt.Fprintln(out, "\nOne Go service with a Rust half, peers that go away, mapped files"+
		" that change; the same source built twice.")
	fmt.Fprintln(out)
	table := [][3]cell{{{"what happens"}, {"without sigward"}, {"with sigward"}}}
	styles, below := [][3]style{{bold, bold, bold}}, []string{""}
	for _, r := range rows {
		table = append(table, [3]cell{r.failure, r.bare.cell, r.warded.cell})
		bare, warded := verdict(r.bare.problems, red), verdict(r.warded.problems, green)
		styles = append(styles, [3]style{bold, bare, warded})
		below = append(below, r.bare.end.Why)
	}
	printTable(out, color, table, styles, below)

	fmt.Fprintln(out, color(bold, "From the log of the warded service"))
	for _, r := range rows {
		for _, line := range r.log {
			fmt.Fprintln(out, "  "+color(dim, line))
		}
	}
	fmt.Fprintln(out)
	return conclude(out, color, rows)
}

// verdict is the style of an outcome that is as expected, or that of one that is not.
func verdict(problems []string, expected style) style {
	if len(problems) > 0 {
		return "7;31"
	}
	return expected
}

func bareCell(f scenario.Failure, b scenario.Bare) cell {
	if !b.Status.Ended {
		return cell{b.Status.String(), fmt.Sprintf("after %s", strikes(f, b.Strikes))}
	}
	silence := "nothing on stderr"
	if b.Stderr != "" {
		silence = "with words on stderr"
	}
	return cell{
		b.Status.String(),
		silence,
		fmt.Sprintf("%d ms and %s later", b.After.Milliseconds(), strikes(f, b.Strikes)),
		fmt.Sprintf("accepted orders lost with it: %s", number(b.Lost)),
	}
}

func wardedCell(f scenario.Failure, w scenario.Warded) cell {
	state := "alive through "
	if w.Status.Wait != 0 {
		state = w.Status.String() + " after "
	}
	return cell{
		state + strikes(f, w.Strikes),
		fmt.Sprintf("%s of %s orders answered", number(w.Answered), number(w.Answered+w.Failed)),
		fmt.Sprintf("%s events acknowledged, %s lost, %s twice",
			number(w.Acknowledged), number(w.Lost), number(w.Twice)),
		fmt.Sprintf("%s resent, %s BrokenPipe errors in Rust",
			number(w.Resent), number(w.BrokenPipe)),
		fmt.Sprintf("%s SIGPIPEs swallowed and logged", number(w.Swallowed)),
	}
}

func strikes(f scenario.Failure, count int) string {
	unit := "upgrade"
	if f.Peer == scenario.Downloader {
		unit = "leaver"
	}
	if count != 1 {
		unit += "s"
	}
	return number(count) + " " + unit
}

func printTable(out io.Writer, color func(style, string) string, table [][3]cell, styles [][3]style,
	below []string) {
	var widths [3]int
	for _, cells := range table {
		for column, c := range cells {
			for _, line := range c {
				widths[column] = max(widths[column], utf8.RuneCountInString(line))
			}
		}
	}
	rule := "  "
	for _, width := range widths {
		rule += strings.Repeat("─", width) + "  "
	}
	for n, cells := range table {
		for line := 0; line < max(len(cells[0]), len(cells[1]), len(cells[2])); line++ {
			text := "  "
			for column, c := range cells {
				content, s := "", plain
				if line < len(c) {
					content = c[line]
				}
				if line == 0 {
					s = styles[n][column]
				} else if column == 0 {
					s = dim
				}
				padding := strings.Repeat(" ", widths[column]-utf8.RuneCountInString(content)+2)
				if content != "" {
					content = color(s, content)
				}
				text += content + padding
			}
			fmt.Fprintln(out, strings.TrimRight(text, " "))
		}
		for _, line := range wrap(below[n], utf8.RuneCountInString(rule)-4) {
			fmt.Fprintln(out, "  "+color(yellow, line))
		}
		fmt.Fprintln(out, color(dim, strings.TrimRight(rule, " ")))
	}
	fmt.Fprintln(out)
}

// wrap breaks a text between words into lines of at most width, where the words let it.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line+" "+word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// expected is what the demo is about.
const expected = "the bare services died, of SIGPIPE and SIGBUS, or went on with stale data; the" +
	" warded ones lived, lost no order, gave no wrong answer, and said what had happened."

func conclude(out io.Writer, color func(style, string) string, rows []row) bool {
	good := true
	for _, r := range rows {
		for _, problem := range append(r.bare.problems, r.warded.problems...) {
			good = false
			fmt.Fprintf(out, "%s %s: %s\n", color(red, "NOT AS EXPECTED"), r.name, problem)
		}
	}
	if good {
		fmt.Fprintln(out, color(green, "As expected: ")+expected)
	}
	return good
}

var number = scenario.Thousands
