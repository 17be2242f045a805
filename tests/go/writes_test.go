package hosts

// Nothing that package sigward writes raises SIGXFSZ or SIGPIPE in a C host that hosts Go.

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestHostOfWrites(t *testing.T) {
	if !warded.Wanted() {
		t.Skip("the library is always warded")
	}
	shared := once(t, "writes.so", func(path string) error {
		return buildGo(warded, nil, path, "./cmd/writes", "-buildmode=c-shared")
	})
	hosts := map[string]string{
		"c-archive": once(t, "writes-archive", func(path string) error {
			library := path + ".a"
			err := buildGo(warded, nil, library, "./cmd/writes", "-buildmode=c-archive")
			if err != nil {
				return err
			}
			return buildC(path, "chost/writes.c", library, archive)
		}),
		"c-shared": once(t, "writes-shared", func(path string) error {
			return buildC(path, "chost/writes.c", shared)
		}),
		"c-shared loaded": once(t, "writes-loading", func(path string) error {
			return buildC(path, `-DLOADED_LATE="`+shared+`"`, "chost/writes.c", "-ldl")
		}),
	}
	ends := map[string]string{
		"bare file":           "SIGXFSZ",
		"bare pipe":           "SIGPIPE",
		"writer file":         "EFBIG",
		"writer pipe":         "EPIPE",
		"replace":             "EFBIG",
		"replace sparse":      "EFBIG",
		"replacement":         "EFBIG",
		"reserve":             "EFBIG",
		"reserve behind":      "EFBIG",
		"grow":                "EFBIG",
		"log":                 "EFBIG",
		"log watermark":       "0",
		"log begins":          "EFBIG",
		"log begins in zeros": "EFBIG",
	}
	signals := map[string]syscall.Signal{"SIGXFSZ": syscall.SIGXFSZ, "SIGPIPE": syscall.SIGPIPE}
	for name, host := range hosts {
		for action, want := range ends {
			said, err := exec.Command(launcher(t), "default", host, action, t.TempDir()).Output()
			if signal, dies := signals[want]; dies {
				if !killedBy(err, signal) {
					t.Errorf("%s, %s: %v %q, not %v", name, action, err, said, want)
				}
			} else if err != nil || string(said) != want {
				t.Errorf("%s, %s: %v %q, not %s", name, action, err, said, want)
			}
		}
	}
}
