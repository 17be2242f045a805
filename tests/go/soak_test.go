package hosts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The chaos soak of guarded maps in a Go process (cmd/soak). SIGWARD_SOAK_SECONDS is for how long;
// bare it must die.
func TestSoakOfMaps(t *testing.T) {
	if all := kinds(t); all[len(all)-1] != warded {
		t.Skip("bare, too, it is a program with the package")
	}
	program := once(t, "soak",
		func(path string) error { return buildGo(warded, nil, path, "./cmd/soak") })
	seconds := os.Getenv("SIGWARD_SOAK_SECONDS")
	if seconds == "" {
		seconds = "5"
	}
	for _, k := range kinds(t) {
		t.Run(string(k), func(t *testing.T) {
			// Two file systems: in memory, and where temporary files are.
			inMemory, err := os.MkdirTemp("/dev/shm", "sigward-soak-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(inMemory)
			onDisk := filepath.Join(t.TempDir(), "maps")
			if err := os.Mkdir(onDisk, 0o700); err != nil {
				t.Fatal(err)
			}
			// It ends by itself, and tells where everybody stands if it is stuck.
			output, err := exec.Command(program, seconds, inMemory, onDisk, string(k)).
				CombinedOutput()
			switch said := strings.TrimSpace(string(output)); {
			case k == warded && err != nil:
				t.Errorf("%v\n%.4000s", err, said)
			case k == bare && !killedBy(err, syscall.SIGBUS):
				t.Errorf("bare it must die of SIGBUS: %v\n%.4000s", err, said)
			default:
				t.Log(said)
			}
		})
	}
}
