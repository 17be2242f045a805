package scenario

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFailures is the demo as assertions. It builds the binaries itself; the two archives must be
// there.
func TestFailures(t *testing.T) {
	ctx := context.Background()
	if err := CheckSignals(ctx); err != nil {
		t.Fatal(err)
	}
	options := Quick(binaries(t))
	for _, f := range Failures {
		t.Run(f.Name+"/bare", func(t *testing.T) {
			bare, err := options.RunBare(ctx, f)
			report(t, bare.Problems(), err)
			t.Logf("%s after %v, %d orders lost", bare.Status, bare.After, bare.Lost)
		})
		t.Run(f.Name+"/warded", func(t *testing.T) {
			warded, err := options.RunWarded(ctx, f)
			report(t, warded.Problems(), err)
			counted(t, warded)
			t.Logf("%d orders, %d strikes, %d SIGPIPEs swallowed",
				warded.Answered, warded.Strikes, warded.Swallowed)
		})
	}
}

// TestMapFailures is the other half of the demo.
func TestMapFailures(t *testing.T) {
	ctx := context.Background()
	options := Quick(binaries(t))
	var err error
	if options.Generations, err = WriteGenerations(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, f := range MapFailures {
		for name, run := range map[string]func(context.Context, Options) (Report, error){
			"bare":   f.RunBare,
			"warded": f.RunWarded,
		} {
			t.Run(f.Name+"/"+name, func(t *testing.T) {
				outcome, err := run(ctx, options)
				if errors.Is(err, ErrNoMount) && os.Getenv("SIGWARD_REQUIRE_ALL") == "" {
					t.Skip(err)
				}
				report(t, outcome.Problems, err)
				t.Log(strings.Join(append(outcome.Lines, outcome.Log...), "\n"))
			})
		}
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

// counted wants the timeline to tell of each request, strike and signal. (At the very end of a run
// there may be one more signal.)
func counted(t *testing.T, w Warded) {
	t.Helper()
	want := map[Kind]int{
		Answered: w.Answered, Failed: w.Failed, Strike: w.Strikes, Signal: w.Swallowed,
	}
	for _, series := range w.Timeline.Series {
		total, more := want[series.Kind], series.Kind == Signal
		if series.Total() < total || series.Total() > total && !more {
			t.Errorf("%s: %d in the timeline, not %d", series.Name, series.Total(), total)
		}
		delete(want, series.Kind)
	}
	if len(want) > 0 || w.Timeline.Death != 0 {
		t.Errorf("not in the timeline: %v; died after %v", want, w.Timeline.Death)
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

func binaries(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, args := range map[string][]string{
		"service-bare":   {"-tags", "bare", "../../cmd/service"},
		"service-warded": {"../../cmd/service"},
		"collector":      {"../../cmd/collector"},
	} {
		output := filepath.Join(folder, name)
		command := exec.Command("go", append([]string{"build", "-o", output}, args...)...)
		command.Stderr = os.Stderr
		if err := command.Run(); err != nil {
			t.Fatalf("build %s: %v", name, err)
		}
	}
	return folder
}
