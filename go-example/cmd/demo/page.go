package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/sigward/sigward/go-example/internal/report"
	"github.com/sigward/sigward/go-example/internal/scenario"
)

// writeReport writes the rows as a page with pictures.
func writeReport(path string, rows []row, notes []string, began time.Time) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pageOf(rows, notes, began).Write(file); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

func pageOf(rows []row, notes []string, began time.Time) report.Page {
	p := report.Page{Good: true, Verdict: "As expected: " + expected, Notes: notes}
	totals := map[scenario.Kind]int{}
	deaths, lived, problems := 0, 0, 0
	for _, r := range rows {
		p.Failures = append(p.Failures, report.Failure{
			Name: r.name, What: strings.Join(r.failure[1:], ", "),
			Bare: runOf(r.bare, nil), Warded: runOf(r.warded, r.log),
		})
		if r.bare.end.Timeline.Death > 0 {
			deaths++
		}
		if r.warded.end.Timeline.Death == 0 {
			lived++
		}
		problems += len(r.bare.problems) + len(r.warded.problems)
		for _, series := range r.warded.end.Timeline.Series {
			totals[series.Kind] += series.Total()
		}
	}
	if problems > 0 {
		cases := scenario.Times(problems, "case", "cases")
		p.Good, p.Verdict = false, "Not as expected, in "+cases+": see below."
	}
	answered := totals[scenario.Answered] + totals[scenario.Stale]
	fact := func(what, format string, numbers ...any) {
		p.Facts = append(p.Facts, report.Fact{Number: fmt.Sprintf(format, numbers...), What: what})
	}
	fact("bare services died", "%d of %d", deaths, len(rows))
	fact("warded ones lived", "%d of %d", lived, len(rows))
	fact("requests and look-ups answered by the warded ones", "%s", number(answered))
	fact("signals that became errors there", "%s", number(totals[scenario.Signal]))
	kernel, _ := exec.Command("uname", "-srm").Output()
	p.Machine = fmt.Sprintf("Made %s in %.0f s, on %s with %s and %s.",
		began.Format("2006-01-02 15:04 MST"), time.Since(began).Seconds(),
		strings.TrimSpace(string(kernel)),
		scenario.Times(runtime.NumCPU(), "processor", "processors"), runtime.Version())
	return p
}

func runOf(o outcome, log []string) report.Run {
	return report.Run{
		Lines: o.cell, Why: o.end.Why, Log: log, Problems: o.problems, Timeline: o.end.Timeline,
	}
}
