// Package order keeps memory accesses in the order in which they are written.
//
// The handler of a fault stores the map's poison word first and changes the page after that. So a
// reader that looks at the poison word after the data cannot miss a change that it read from.
// Compilers keep a plain access before an atomic load; processors need to be told, and sync/atomic
// cannot say it: its loads are acquire, which holds back what comes later and not what came before.
//
// It is a package of its own because a package with C in it may have no Go assembly.
package order
