package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sigward/sigward/go-example/internal/scenario"
)

// A chart is a run as a picture. What lies along the time is in percent of the width, or in a
// stretched box of 1000 by 100; what lies across it, and text, is in pixels: so the picture is as
// wide as there is room, and its letters are as large as all others.
type chart struct {
	Title, Text string // for those who do not see it
	Height      int
	What, Top   string // what the areas count, and what their box's height means
	Areas       []area
	Lanes       []lane
	Axis, TickY int // y of the line below, and of what is written under it
	Ticks       []tick
	Death       *mark
}

// An area is a stacked number of requests; those further up come first.
type area struct{ Class, Path string }

// A lane has a bar for each time that something happened.
type lane struct {
	Class, Label, Path string
	Y, Bars            int
}

type tick struct {
	X            float64
	Anchor, Text string
}

// A mark is the moment of a death.
type mark struct {
	X, Rest      float64
	Anchor, Text string
	Shift        int
}

const (
	most   = 160 // columns: more cannot be told apart
	plotY  = 20  // y of the areas' box
	plot   = 72  // its height
	laneY  = 37  // what a lane takes
	barsY  = 20  // its bars, below its label
	footer = 22  // the axis
)

// charts draws both runs on the same scales.
func charts(f Failure) (both [2]chart) {
	length := max(f.Bare.Timeline.Length(), f.Warded.Timeline.Length(), scenario.Bucket)
	merged := 1
	for int(length/scenario.Bucket)/merged > most {
		merged++
	}
	s := scale{length: length, column: time.Duration(merged) * scenario.Bucket}
	for _, t := range []scenario.Timeline{f.Bare.Timeline, f.Warded.Timeline} {
		for _, sum := range s.stack(t, scenario.Failed) {
			s.peak = max(s.peak, sum)
		}
	}
	both[0] = s.draw(f.Name+", without sigward", f.Bare.Timeline)
	both[1] = s.draw(f.Name+", with sigward", f.Warded.Timeline)
	return both
}

type scale struct {
	length, column time.Duration
	peak           int // requests in one column
}

// columns are the counts of a series, for each column.
func (s scale) columns(counts []int) []int {
	columns := make([]int, int((s.length+s.column-1)/s.column))
	for n, count := range counts {
		if at := int(time.Duration(n) * scenario.Bucket / s.column); at < len(columns) {
			columns[at] += count
		}
	}
	return columns
}

// stack is the sum of the series of requests up to a kind.
func (s scale) stack(t scenario.Timeline, up scenario.Kind) []int {
	sums := s.columns(nil)
	for _, series := range t.Series {
		if series.Kind <= up {
			for n, count := range s.columns(series.Counts) {
				sums[n] += count
			}
		}
	}
	return sums
}

// x is a moment in parts of the whole.
func (s scale) x(at time.Duration, whole float64) float64 {
	return math.Round(float64(at)/float64(s.length)*whole*100) / 100
}

var classes = [...]string{"answered", "stale", "failed", "strike", "signal", "recovery"}

func (s scale) draw(title string, t scenario.Timeline) chart {
	c := chart{Title: title, Axis: plotY + plot}
	rate := time.Duration(s.peak) * time.Second / s.column
	c.Top = fmt.Sprintf("at most %s/s", scenario.Thousands(int(rate)))
	if len(t.Series) > 0 {
		c.What = t.Series[0].Name
	}
	said := []string{fmt.Sprintf("%.1f seconds", t.Length().Seconds())}
	for n := len(t.Series) - 1; n >= 0; n-- { // those further up are drawn first
		if series := t.Series[n]; series.Kind <= scenario.Failed && series.Total() > 0 {
			path := s.outline(s.stack(t, series.Kind))
			c.Areas = append(c.Areas, area{classes[series.Kind], path})
		}
	}
	for _, series := range t.Series {
		total := scenario.Thousands(series.Total())
		said = append(said, series.Name+": "+total)
		if series.Kind > scenario.Failed && series.Total() > 0 {
			c.Lanes = append(c.Lanes, lane{
				Class: classes[series.Kind], Y: c.Axis + 15, Bars: c.Axis + barsY,
				Label: total + " × " + series.Name, Path: s.bars(series.Counts),
			})
			c.Axis += laneY
		}
	}
	c.Axis += 6
	c.TickY, c.Height = c.Axis+15, c.Axis+footer
	c.Ticks = s.ticks()
	if t.Death > 0 {
		text := fmt.Sprintf("dead after %s", seconds(t.Death))
		c.Death = &mark{X: s.x(t.Death, 100), Anchor: "start", Shift: 14, Text: text}
		c.Death.Rest = 100 - c.Death.X
		if c.Death.X > 55 {
			c.Death.Anchor, c.Death.Shift = "end", -14
		}
		said = append(said, text)
	}
	c.Text = strings.Join(said, "; ") + "."
	return c
}

// outline is the area below the columns.
func (s scale) outline(columns []int) string {
	path, height := &strings.Builder{}, 0
	path.WriteString("M0 100")
	for n, count := range columns {
		if count != height {
			x := s.x(time.Duration(n)*s.column, 1000)
			fmt.Fprintf(path, "H%gV%.4g", x, 100-100*float64(count)/float64(s.peak))
			height = count
		}
	}
	path.WriteString("H1000V100Z")
	return path.String()
}

// bars has one for each column that counts something, of at least a third of the height.
func (s scale) bars(counts []int) string {
	columns := s.columns(counts)
	highest := 1
	for _, count := range columns {
		highest = max(highest, count)
	}
	path, width := &strings.Builder{}, min(max(s.x(s.column, 1000)*0.7, 2), 8)
	for n, count := range columns {
		if count > 0 {
			top := 66 - 66*float64(count)/float64(highest)
			x := s.x(time.Duration(n)*s.column, 1000)
			fmt.Fprintf(path, "M%g 100V%.4gh%.4gV100Z", x, top, width)
		}
	}
	return path.String()
}

// ticks are at most six, at round numbers of seconds.
func (s scale) ticks() (ticks []tick) {
	step := 10 * time.Millisecond
	for n := 0; s.length/step > 6; n++ {
		step = step * []time.Duration{20, 25, 20}[n%3] / 10 // 10, 20, 50, 100 …
	}
	for at := time.Duration(0); at <= s.length; at += step {
		t := tick{X: s.x(at, 100), Anchor: "middle", Text: seconds(at)}
		if at == 0 {
			t.Anchor = "start"
		} else if t.X > 92 {
			t.Anchor = "end"
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// seconds has two digits at most behind the point.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%g s", math.Round(d.Seconds()*100)/100)
}
