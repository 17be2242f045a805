package sigward

import (
	"encoding/json"
	"os"
	"testing"
)

// That the findings are the command's: cli/tests/inside.rs.
func TestAuditIsOfThisProcess(t *testing.T) {
	report, err := Audit()
	if err != nil {
		t.Fatal(err)
	}
	isEmpty := report.Threads == 0 || len(report.Caught) == 0
	if report.PID != os.Getpid() || isEmpty || report.Missing != nil {
		t.Errorf("%+v", report)
	}
	if len(report.Runtimes) != 1 || report.Runtimes[0] != "Go" || report.HasSigward != isWarded {
		t.Errorf("%+v", report)
	}
	if (report.Own != nil) != isWarded {
		t.Errorf("%+v", report.Own)
	}
	if text, err := json.Marshal(report); err != nil || !json.Valid(text) {
		t.Error(err, string(text))
	}
}
