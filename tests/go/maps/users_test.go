package maps

// Libraries that map their file themselves: bbolt and SQLite. Their file is truncated under them.

import "testing"

func TestBolt(t *testing.T) {
	for what, want := range map[string]string{
		"end":  "lost, healed, written on, lost again, opened again",
		"all":  "lost, opened again",
		"open": "lost while it was opened, opened again",
	} {
		what, want := what, want
		t.Run("bare/"+what, func(t *testing.T) {
			if have := run(t, program(t, bare, "bolt", nil), what).fate(); have != "† fault" {
				t.Errorf("bare it must die of the fault: %s", have)
			}
		})
		t.Run("warded/"+what, func(t *testing.T) {
			if have := run(t, program(t, warded, "bolt", nil), what).fate(); have != want {
				t.Error(have)
			}
		})
	}
}

func TestSQLite(t *testing.T) {
	for when, want := range map[string]string{
		"during":  "lost, healed, written on",
		"between": "lost, healed, grown, lost again",
	} {
		when, want := when, want
		t.Run("bare/"+when, func(t *testing.T) {
			if have := run(t, program(t, bare, "sqlite", nil), when).fate(); have != "† in cgo" {
				t.Errorf("bare it must die in SQLite: %s", have)
			}
		})
		t.Run("warded/"+when, func(t *testing.T) {
			if have := run(t, program(t, warded, "sqlite", nil), when).fate(); have != want {
				t.Error(have)
			}
		})
	}
}
