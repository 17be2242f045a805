// Package guard is what the programs have in common whose libraries map files themselves: bare
// nobody guards those maps, warded they are adopted.
package guard

// A Guard tells whether what was just read from a map can be trusted.
type Guard interface {
	Err() error  // nil while nothing is lost
	Count() int  // how many mappings the library has
	Heal() error // after the file is whole again
	Close() error
}

// Nothing guards nothing.
type Nothing struct{}

func (Nothing) Err() error   { return nil }
func (Nothing) Count() int   { return 1 }
func (Nothing) Heal() error  { return nil }
func (Nothing) Close() error { return nil }
