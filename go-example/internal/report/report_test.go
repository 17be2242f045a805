package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigward/sigward/go-example/internal/browser"
	"github.com/sigward/sigward/go-example/internal/scenario"
)

// counts has n buckets, of which each counts something now and then.
func counts(n, every int) []int {
	counts := make([]int, n)
	for at := range counts {
		if at%every == 0 {
			counts[at] = 1 + at%7
		}
	}
	return counts
}

// sample is a page of every part; all of its texts are this one.
func sample(text string, buckets int) Page {
	bare := scenario.Timeline{Death: 270 * time.Millisecond, Series: []scenario.Series{
		{Kind: scenario.Answered, Name: text, Counts: []int{100, 120, 110, 90, 30}},
		{Kind: scenario.Failed, Name: text, Counts: []int{0, 0, 0, 0, 5}},
		{Kind: scenario.Strike, Name: text, Counts: []int{0, 0, 0, 1}},
	}}
	warded := scenario.Timeline{}
	for kind := scenario.Answered; kind <= scenario.Recovery; kind++ {
		series := scenario.Series{Kind: kind, Name: text, Counts: counts(buckets, int(kind)*3+1)}
		warded.Series = append(warded.Series, series)
	}
	lines := []string{text, text}
	return Page{
		Verdict: text, Notes: lines, Machine: text, Facts: []Fact{{text, text}},
		Failures: []Failure{
			{text, text, Run{lines, text, lines, lines, bare}, Run{lines, "", lines, nil, warded}},
			{text, text, Run{Lines: lines, Timeline: warded}, Run{Lines: lines, Timeline: bare}},
		},
	}
}

func write(t *testing.T, p Page) string {
	t.Helper()
	var text bytes.Buffer
	if err := p.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// parse wants the page to be well-formed XML as well, and returns its elements and its text.
func parse(t *testing.T, page string) (elements map[string]int, text string) {
	t.Helper()
	elements = map[string]int{}
	for decoder := xml.NewDecoder(strings.NewReader(page)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return elements, text
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%.3000s", err, page)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
			for _, attribute := range token.Attr {
				switch attribute.Name.Local {
				case "src", "href", "srcset", "action", "data", "poster":
					t.Errorf("<%s> has %s=%q: a page that loads nothing needs none",
						token.Name.Local, attribute.Name.Local, attribute.Value)
				}
			}
		case xml.CharData:
			text += string(token)
		}
	}
}

func TestOneFileThatLoadsNothing(t *testing.T) {
	page := write(t, sample("a text", 200))
	elements, _ := parse(t, page)
	for _, element := range []string{"script", "link", "img", "iframe", "object", "embed", "use"} {
		if elements[element] > 0 {
			t.Errorf("there is a <%s>", element)
		}
	}
	outside := regexp.MustCompile(`https?:|url\(|@import|javascript:`)
	if found := outside.FindString(page); found != "" {
		t.Errorf("it names %q", found)
	}
	if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("no policy tells the browser to load nothing")
	}
}

// TestHostileText: whatever stands in a log stays text.
func TestHostileText(t *testing.T) {
	good, _ := parse(t, write(t, sample("a text", 200)))
	for _, text := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onload='x`,
		`</title></style></svg><b>`, `]]>`, `{{.Verdict}}`, `&lt;b&gt;`, `<!--`, `javascript:x`,
	} {
		elements, read := parse(t, write(t, sample(text, 200)))
		if !strings.Contains(read, text) {
			t.Errorf("%q cannot be read", text)
		}
		if len(elements) != len(good) || elements["b"] > 0 || elements["p"] != good["p"] {
			t.Errorf("%q has become elements: %v, not %v", text, elements, good)
		}
	}
	_, read := parse(t, write(t, sample("a\x00b\x1b[31mc\xffd\u0085e", 200)))
	if !strings.Contains(read, "a\ufffdb\ufffd[31mc\ufffdd\ufffde") {
		t.Error("bytes that no HTML may have are not replaced")
	}
}

func TestEmpty(t *testing.T) {
	for name, page := range map[string]Page{
		"page": {}, "failure": {Failures: make([]Failure, 3)}, "no counts": sample("a text", 0),
		"dead at once": {Failures: []Failure{{Bare: Run{Timeline: scenario.Timeline{Death: 1}}}}},
	} {
		text := write(t, page)
		parse(t, text)
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%s: a number is none", name)
		}
	}
}

// TestManyPoints: the longest run with something in each bucket makes no more than a short one.
func TestManyPoints(t *testing.T) {
	short, long := write(t, sample("a text", 100)), write(t, sample("a text", 15*60*20))
	parse(t, long)
	if len(long) > 100_000 || len(long) > 4*len(short) {
		t.Errorf("%d bytes, %d of a short run", len(long), len(short))
	}
	total := scenario.Series{Counts: counts(15*60*20, 10)}.Total()
	if want := scenario.Thousands(total) + " × a text"; !strings.Contains(long, want) {
		t.Errorf("nothing is left out of the count: no %q", want)
	}
}

// TestGeometry: what happened is drawn when it happened.
func TestGeometry(t *testing.T) {
	f := Failure{Name: "a failure"}
	f.Bare.Timeline = scenario.Timeline{Death: 500 * time.Millisecond, Series: []scenario.Series{
		{Kind: scenario.Answered, Name: "orders", Counts: []int{50, 0, 0, 25}},
	}}
	f.Warded.Timeline.Series = []scenario.Series{
		{Kind: scenario.Answered, Name: "orders", Counts: append(make([]int, 39), 100)},
		{Kind: scenario.Signal, Name: "signals", Counts: []int{0, 0, 0, 0, 2, 0, 0, 0, 1}},
	}
	both := charts(f)
	bare, warded := both[0], both[1]
	// 40 buckets of 50 ms are 1000 units: 25 each. The highest of both runs is the whole height.
	if path := bare.Areas[0].Path; path != "M0 100H0V50H25V100H75V75H100V100H1000V100Z" {
		t.Errorf("the bare area is %s", path)
	}
	if path := warded.Areas[0].Path; path != "M0 100H975V0H1000V100Z" {
		t.Errorf("the warded area is %s", path)
	}
	lane := warded.Lanes[0]
	if lane.Path != "M100 100V0h8V100ZM200 100V33h8V100Z" || lane.Label != "3 × signals" {
		t.Errorf("the lane is %+v", lane)
	}
	want := mark{X: 25, Rest: 75, Anchor: "start", Shift: 14, Text: "dead after 0.5 s"}
	if bare.Death == nil || *bare.Death != want || warded.Death != nil {
		t.Errorf("the death is %+v", bare.Death)
	}
	if bare.Top != "at most 2,000/s" {
		t.Errorf("100 in 50 ms are not %q", bare.Top)
	}
	if want := "0.5 seconds; orders: 75; dead after 0.5 s."; bare.Text != want {
		t.Errorf("in words: %q, not %q", bare.Text, want)
	}
}

func TestTicks(t *testing.T) {
	for length := scenario.Bucket; length < 15*time.Minute; length += length/7 + 1 {
		ticks := scale{length: length}.ticks()
		if len(ticks) < 2 || len(ticks) > 7 {
			t.Errorf("%d ticks in %v", len(ticks), length)
		}
		for _, tick := range ticks {
			if len(tick.Text) > 6 || tick.X > 100 {
				t.Errorf("%+v in %v", tick, length)
			}
		}
	}
}

// TestSeen looks at the page on a phone and in a wide window.
func TestSeen(t *testing.T) {
	chromium := browser.ForTest(t)
	long := strings.Repeat("a_word_without_any_space", 9) + " and more"
	for name, page := range map[string]Page{
		"many": sample("a text", 15*60*20), "few": sample("a text", 9), "long": sample(long, 90),
	} {
		if name == "long" { // names of series are ours, and short
			names := []string{"look-ups answered", "file overwritten or replaced"}
			for _, f := range page.Failures {
				for _, run := range []Run{f.Bare, f.Warded} {
					for n := range run.Timeline.Series {
						run.Timeline.Series[n].Name = names[min(n, 1)]
					}
				}
			}
		}
		file := filepath.Join(t.TempDir(), "report.html")
		if err := os.WriteFile(file, []byte(write(t, page)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, view := range []browser.View{
			{Width: 390}, {Width: 390, Dark: true}, {Width: 1200}, {Width: 320},
		} {
			seen, err := chromium.Look(file, view)
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range seen.Problems {
				t.Errorf("%s, %+v: %s", name, view, problem)
			}
			if !strings.Contains(seen.Text, "sigward watch says") {
				t.Errorf("%s, %+v reads %q", name, view, seen.Text)
			}
		}
	}
}
