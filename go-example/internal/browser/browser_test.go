package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	name    = `<title id="name">a picture</title>`
	end     = ` text-anchor="end"`
	picture = `<svg role="img" aria-labelledby="name" height="40" width="100%">` + name +
		`<text x="0" y="13">left</text><text x="100%" y="13"` + end + `>right</text></svg>`
)

// TestLook shows that a good page has no problems, and that each flaw is one.
func TestLook(t *testing.T) {
	browser := ForTest(t)
	without := func(what string) string { return strings.ReplaceAll(picture, what, "") }
	upon := strings.ReplaceAll(picture, "</svg>", `<text x="5" y="15">upon</text></svg>`)
	for name, page := range map[string]struct{ body, problem string }{
		"good":        {"<p>text</p>" + picture, ""},
		"too wide":    {`<div style="width: 500px">text</div>`, "pixels wide, not 390: DIV"},
		"network":     {`<img alt="" src="http://192.0.2.1/x">`, "asks for http://192.0.2.1/x"},
		"file beside": {`<img alt="" src="beside.png">`, "beside.png"},
		"console":     {`<script>console.error("a flaw")</script>`, "a flaw"},
		"exception":   {`<script>missing()</script>`, "missing is not defined"},
		"nameless":    {without(name), "a picture without a name"},
		"overlap":     {upon, `"left" lies upon "upon"`},
		"sticks out":  {without(end), `"right" sticks out`},
		"faint":       {`<p style="color: #bbb">text</p>`, "contrast 1.9: P"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "page.html")
			html := `<!DOCTYPE html><meta charset="utf-8">` +
				`<meta name="viewport" content="width=device-width">` +
				`<body style="margin: 0">` + page.body
			if err := os.WriteFile(file, []byte(html), 0o600); err != nil {
				t.Fatal(err)
			}
			seen, err := browser.Look(file, View{Width: 390})
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(seen.Problems, "\n")
			shown := len(seen.PNG) > 0 && strings.Contains(seen.Text, "text")
			if page.problem == "" && (all != "" || !shown) {
				t.Errorf("%q, reads %q, %d bytes of picture", all, seen.Text, len(seen.PNG))
			}
			if !strings.Contains(all, page.problem) {
				t.Errorf("not told: %s, but %q", page.problem, all)
			}
		})
	}
}
