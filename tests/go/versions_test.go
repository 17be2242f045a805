package hosts

// The same program built and run with each Go that people still use.

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

const (
	allVersions   = "1.21.13 1.22.12 1.23.12 1.24.13 1.25.12 1.26.11 1.27.4"
	shortVersions = "1.26.11 1.27.4" // besides the local one, which every other test uses
)

func TestGoVersions(t *testing.T) {
	list := os.Getenv("SIGWARD_GO_VERSIONS")
	switch {
	case list != "":
	case testing.Short():
		list = shortVersions
	default:
		list = allVersions
	}
	forEachKind(t, func(t *testing.T, k kind) {
		var tested, missing []string
		for _, version := range strings.Fields(list) {
			toolchain := []string{"GOTOOLCHAIN=go" + version}
			t.Run(version, func(t *testing.T) {
				if err := has(version, toolchain); err != nil {
					missing = append(missing, version)
					t.Skipf("go%s cannot be had: %v", version, err)
				}
				program := once(t, "matrix-"+string(k)+"-"+version, func(path string) error {
					return buildGo(k, toolchain, path, "./cmd/matrix")
				})
				check(t, program, core[k])
				tested = append(tested, version)
			})
		}
		t.Logf("%d versions besides %s: %s; missing %d: %s", len(tested), runtime.Version(),
			strings.Join(tested, " "), len(missing), strings.Join(missing, " "))
		if len(tested) == 0 {
			t.Error("no other version could be tested")
		}
	})
}

// has asks for a version's own answer, which downloads it when it is not there yet.
func has(version string, environment []string) error {
	cmd := exec.Command("go", "version")
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(output), "go"+version+" ") {
		return nil
	}
	if err == nil {
		err = exec.ErrNotFound
	}
	return &exec.Error{Name: strings.TrimSpace(string(output)), Err: err}
}
