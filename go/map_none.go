//go:build !unix

package sigward

import "syscall"

// backend is nothing: on this system Open fails with ENOTSUP.
type backend struct{}

// identity is nothing either.
type identity struct{}

func (*identity) changed() bool { return true }
func (*identity) close()        {}

func newMapping(string, Options) (*mapping, syscall.Errno) { return nil, syscall.ENOTSUP }

func (c *mapping) copyOut(p []byte, off int) int    { return copy(p, c.data[off:]) }
func (c *mapping) copyIn(p []byte, off int) int     { return copy(c.data[off:], p) }
func (c *mapping) run(fn func([]byte) error) error  { return fn(c.data) }
func (c *mapping) status() (Fault, bool)            { return Fault{}, false }
func (c *mapping) measure() (Fault, bool)           { return Fault{}, false }
func (c *mapping) verify(string) syscall.Errno      { return syscall.ENOTSUP }
func (c *mapping) populate() syscall.Errno          { return syscall.ENOTSUP }
func (c *mapping) flush() syscall.Errno             { return syscall.ENOTSUP }
func (c *mapping) succeed([]*mapping) syscall.Errno { return syscall.ENOTSUP }
func (g *ground) end(bool)                          {}

func (c *mapping) grow(int64, bool) (*mapping, syscall.Errno) { return nil, syscall.ENOTSUP }
func (c *mapping) follow() (*mapping, syscall.Errno)          { return nil, syscall.ENOTSUP }

// ThreadCheck is a *ThreadError: nothing is guarded on this system.
func ThreadCheck() error { return &ThreadError{Unguarded: true} }
