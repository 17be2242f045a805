//go:build !linux

package sigward

import (
	"errors"
	"os"
)

// Where nothing tells of changes, and nobody knows of writers: the tick looks, and files have to
// settle.

type fileNews struct{ written, concluded bool }

type pathWatch struct{}

func newPathWatch() *pathWatch           { return &pathWatch{} }
func (w *pathWatch) renew(string) error  { return errors.ErrUnsupported }
func (w *pathWatch) read() fileNews      { return fileNews{} }
func (w *pathWatch) take() fileNews      { return fileNews{} }
func (w *pathWatch) isWriting() bool     { return false }
func (w *pathWatch) bell() chan struct{} { return nil }
func (w *pathWatch) close()              {}

func isBeingWritten(*os.File) (writing, known bool) { return false, false }
