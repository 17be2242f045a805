package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sigward/sigward/go-example/internal/scenario"
)

type row struct {
	failure scenario.Failure
	bare    scenario.Bare
	warded  scenario.Warded
}

// A style is the parameters of an escape sequence "select graphic rendition".
type style string

const (
	plain style = ""
	bold  style = "1"
	dim   style = "2"
	red   style = "1;31"
	green style = "1;32"
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

// A cell is some lines; the first is the message.
type cell []string

// show prints the table, some log lines and what was not as expected; it returns whether all was.
func show(out *os.File, rows []row) bool {
	color := paint(out)
	fmt.Fprintln(out, "\nOne Go service with a Rust half, three peers that go away, the same source built twice.")
	fmt.Fprintln(out)
	table := [][3]cell{{{"what happens"}, {"without sigward"}, {"with sigward"}}}
	styles := [][3]style{{bold, bold, bold}}
	for _, r := range rows {
		table = append(table, [3]cell{{r.failure.Name, r.failure.Write}, r.bareCell(), r.wardedCell()})
		styles = append(styles, [3]style{bold, verdict(r.bare.Problems(), red), verdict(r.warded.Problems(), green)})
	}
	printTable(out, color, table, styles)

	fmt.Fprintln(out, color(bold, "From the log of the warded service"))
	for _, r := range rows {
		for _, line := range r.warded.Lines[:min(2, len(r.warded.Lines))] {
			fmt.Fprintln(out, "  "+color(dim, line.Text))
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

func (r row) bareCell() cell {
	if !r.bare.Status.Ended {
		return cell{r.bare.Status.String(), fmt.Sprintf("after %s", r.strikes(r.bare.Strikes))}
	}
	silence := "nothing on stderr"
	if r.bare.Stderr != "" {
		silence = "with words on stderr"
	}
	return cell{
		r.bare.Status.String(),
		silence,
		fmt.Sprintf("%d ms and %s later", r.bare.After.Milliseconds(), r.strikes(r.bare.Strikes)),
		fmt.Sprintf("accepted orders lost with it: %s", number(r.bare.Lost)),
	}
}

func (r row) wardedCell() cell {
	w := r.warded
	state := "alive through "
	if w.Status.Wait != 0 {
		state = w.Status.String() + " after "
	}
	return cell{
		state + r.strikes(w.Strikes),
		fmt.Sprintf("%s of %s orders answered", number(w.Answered), number(w.Answered+w.Failed)),
		fmt.Sprintf("%s events acknowledged, %s lost, %s twice", number(w.Acknowledged), number(w.Lost), number(w.Twice)),
		fmt.Sprintf("%s resent, %s BrokenPipe errors in Rust", number(w.Resent), number(w.BrokenPipe)),
		fmt.Sprintf("%s SIGPIPEs swallowed and logged", number(w.Swallowed)),
	}
}

func (r row) strikes(count int) string {
	unit := "upgrade"
	if r.failure.Peer == scenario.Downloader {
		unit = "leaver"
	}
	if count != 1 {
		unit += "s"
	}
	return number(count) + " " + unit
}

func printTable(out io.Writer, color func(style, string) string, table [][3]cell, styles [][3]style) {
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
		fmt.Fprintln(out, color(dim, strings.TrimRight(rule, " ")))
	}
	fmt.Fprintln(out)
}

func conclude(out io.Writer, color func(style, string) string, rows []row) bool {
	good := true
	for _, r := range rows {
		for _, problem := range append(r.bare.Problems(), r.warded.Problems()...) {
			good = false
			fmt.Fprintf(out, "%s %s: %s\n", color(red, "NOT AS EXPECTED"), r.failure.Name, problem)
		}
	}
	if good {
		fmt.Fprintln(out, color(green, "As expected:")+
			" each bare service died of SIGPIPE without a word, each warded one answered everything and lost nothing.")
	}
	return good
}

// number writes thousands with a comma.
func number(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
