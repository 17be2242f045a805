package hosts

// Expectations are written as the tables that people read.

import "testing"

// check runs every cell of a table whose rows are set-ups and whose columns are actions.
func check(t *testing.T, program, table string) {
	t.Helper()
	for _, c := range cells(t, table) {
		checkCell(t, program, c.Row, c.Column, c.Want)
	}
}

// checkActions is check for a table with an action in each row and a set-up in each column.
func checkActions(t *testing.T, program, table string) {
	t.Helper()
	for _, c := range cells(t, table) {
		checkCell(t, program, c.Column, c.Row, c.Want)
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
