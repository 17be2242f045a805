// Package guard is what the programs have in common whose libraries map files themselves: bare nobody guards those maps, warded
// they are adopted.
package guard

// A Guard tells whether what was just read from a map can be trusted.
type Guard interface {
	Err() error           // nil while nothing is lost
	Rescan() (int, error) // after the library has mapped anew; how many maps there are
	Heal() error          // after the file is whole again
	Close() error
}

// Nothing guards nothing.
type Nothing struct{}

func (Nothing) Err() error           { return nil }
func (Nothing) Rescan() (int, error) { return 1, nil }
func (Nothing) Heal() error          { return nil }
func (Nothing) Close() error         { return nil }
