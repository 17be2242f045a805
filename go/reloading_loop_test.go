//go:build linux

package sigward

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A look finds the file as it was served, and its writer writes before it is opened: what is there
// then is another state, and is taken.
func TestReloadingWrittenInTheMidstOfALook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	var taken []string
	accept := func(f *Frozen, settled bool) (func(), error) {
		data, err := f.Bytes()
		taken = append(taken, string(data))
		return func() {}, err
	}
	l := newReloadLoop(path, ReloadOptions{WaitWriter: 1}, accept)
	l.watch = newPathWatch()
	defer l.watch.close()
	for _, text := range []string{"half", " of it"} {
		seen := seenAt(path)
		_, err := file.WriteString(text)
		must(t, err)
		for limit := time.Now().Add(reloadPatience); ; {
			_, _, err, _ := l.attempt(&seen, func() {})
			if err == nil {
				break
			}
			if !errors.Is(err, ErrBeingWritten) || time.Now().After(limit) {
				t.Fatal(err)
			}
		}
		if have := fmt.Sprint(taken); !strings.HasSuffix(have, text+"]") {
			t.Errorf("%q is not taken: %s", text, have)
		}
		l.concluded = seen
	}
}
