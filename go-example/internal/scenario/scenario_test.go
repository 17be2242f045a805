package scenario

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFailures is the demo as assertions. It builds the binaries itself; the two archives must be there.
func TestFailures(t *testing.T) {
	ctx := context.Background()
	if err := CheckSIGPIPE(ctx); err != nil {
		t.Fatal(err)
	}
	options := Quick(build(t))
	for _, f := range Failures {
		t.Run(f.Name+"/bare", func(t *testing.T) {
			bare, err := options.RunBare(ctx, f)
			report(t, bare.Problems(), err)
			t.Logf("%s after %v, %d orders lost", bare.Status, bare.After, bare.Lost)
		})
		t.Run(f.Name+"/warded", func(t *testing.T) {
			warded, err := options.RunWarded(ctx, f)
			report(t, warded.Problems(), err)
			t.Logf("%d orders, %d strikes, %d SIGPIPEs swallowed", warded.Answered, warded.Strikes, warded.Swallowed)
		})
	}
}

// TestProblems makes sure that the expectations can fail.
func TestProblems(t *testing.T) {
	if len(Bare{}.Problems()) == 0 {
		t.Error("a bare service that lives is a problem")
	}
	if len(Warded{}.Problems()) == 0 {
		t.Error("a warded run without anything is a problem")
	}
	lost, twice := compare([]uint64{1, 2, 3}, map[uint64]int{1: 1, 3: 2})
	if lost != 1 || twice != 1 {
		t.Errorf("compare: %d lost, %d twice", lost, twice)
	}
}

func report(t *testing.T, problems []string, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

func build(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, args := range map[string][]string{
		"service-bare":   {"-tags", "bare", "../../cmd/service"},
		"service-warded": {"../../cmd/service"},
		"collector":      {"../../cmd/collector"},
	} {
		command := exec.Command("go", append([]string{"build", "-o", filepath.Join(folder, name)}, args...)...)
		command.Stderr = os.Stderr
		if err := command.Run(); err != nil {
			t.Fatalf("build %s: %v", name, err)
		}
	}
	return folder
}
