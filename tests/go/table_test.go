package hosts

// Expectations are written as the tables that people read.

import (
	"strings"
	"testing"
)

type cell struct{ row, column, want string }

// cells reads a table. Its first line names the columns, each further line a row.
func cells(t *testing.T, table string) []cell {
	t.Helper()
	var list []cell
	var columns []string
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		fields := strings.Split(line, "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if columns == nil {
			columns = fields
			continue
		}
		if len(fields) != len(columns) {
			t.Fatalf("%d fields, not %d: %s", len(fields), len(columns), line)
		}
		for i := 1; i < len(fields); i++ {
			list = append(list, cell{fields[0], columns[i], fields[i]})
		}
	}
	if len(list) == 0 {
		t.Fatal("an empty table")
	}
	return list
}

// check runs every cell of a table whose rows are set-ups and whose columns are actions.
func check(t *testing.T, program, table string) {
	t.Helper()
	for _, c := range cells(t, table) {
		checkCell(t, program, c.row, c.column, c.want)
	}
}

// checkActions is check for a table with an action in each row and a set-up in each column.
func checkActions(t *testing.T, program, table string) {
	t.Helper()
	for _, c := range cells(t, table) {
		checkCell(t, program, c.column, c.row, c.want)
	}
}

func checkCell(t *testing.T, program, setup, action, want string) {
	t.Helper()
	t.Run(setup+"/"+action, func(t *testing.T) {
		t.Parallel()
		if have := fate(t, program, setup, action); have != want {
			t.Errorf("set-up %q, action %q: have %q, want %q", setup, action, have, want)
		}
	})
}
