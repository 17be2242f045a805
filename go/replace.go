package sigward

import (
	"os"
	"syscall"
)

// ReplaceFile copies the contents of source over destination at once: as `cp source destination`,
// but at every moment, also after a crash, destination is the old file or the new one, whole, and
// whoever has the old one open or mapped keeps it. source stays. A missing destination is made.
// (Where a file system is a program, on FUSE, its rename may not be at once: who opens destination
// meanwhile may find nothing there.)
//
// The new file has mode, owner and (on Linux) extended attributes, access control lists among them,
// of the one it replaces, but no privilege: set-user-ID, set-group-ID and file capabilities were
// given to the old contents (Replacement.KeepPrivileges). Where there was none, permissions are
// those of source less the umask, and its owner and the user's own attributes come along as far as
// they may be given. A symbolic link is followed: what it names is replaced, unless it is one of
// /proc to a file that has no name here (ENOENT). Other hard links to the old file keep the old
// contents. A process that is killed leaves at worst one hidden file, .sigward-*, which the next
// replacement of the same file removes, unless somebody works on it or it is another user's.
//
// Beside others: `cp new live` writes over the old file, for all its names and under whoever has it
// mapped, and a crash leaves half of it; `cp -p` the same, with the source's owner, mode and times;
// `install` unlinks live first, so that for a while there is none, or half of one, and its mode is
// 0755; rename(2) of a file written elsewhere is as whole, but has that file's attributes, and
// without fsync(2) a power failure may leave the name without the bytes.
//
// On failure the old file is untouched and nothing is left behind, except with ErrUnsynced.
// errors.Is sees that, ErrSourceChanged, ErrNoSpace, and the errno: EFBIG beyond RLIMIT_FSIZE (on
// Linux without SIGXFSZ), EISDIR and ENODEV for a directory, pipe, socket or device, EPERM where
// the owner cannot be kept, EBUSY where something is mounted on destination, and whatever open(2)
// says.
func ReplaceFile(source, destination string) error {
	from, errno := openSource(source)
	if errno != 0 {
		return pathError("replace", source, errno, nil)
	}
	defer from.Close()
	given, errno := attributesOf(from)
	if errno != 0 {
		return pathError("replace", source, errno, nil)
	}
	r, err := createReplacement(destination, given.permissions())
	if err != nil {
		return err
	}
	defer r.Abort()
	if r.attributes == nil {
		r.source = given
	}
	before, errno := steadyNow(from)
	if errno == 0 && !cloneContents(r.file, from) {
		if before, errno = settled(from, false); errno == 0 {
			errno = withinLimit(func() syscall.Errno {
				return errnoIn(copyContents(r.file, from, before.size))
			})
		}
	}
	if errno != 0 {
		return pathError("replace", destination, errno, nil)
	}
	if after, errno := steadyNow(from); errno != 0 || !after.equal(before) {
		return pathError("replace", source, syscall.ESTALE, ErrSourceChanged)
	}
	return r.Commit()
}

// Replacement is a file that is being written to take the place of another at Commit. Aborted, or
// if the process ends before, nothing has happened. Not for several goroutines at once.
type Replacement struct {
	file       *os.File
	path       string
	target     *target
	hidden     string // the new file's name, "" while it has none
	attributes *attributes
	source     *attributes // of the file that is copied, where there is none to replace
	privileges bool
}

// CreateReplacement begins a new file for path, in the same folder; readers of path see nothing of
// it. A file that was not there gets the permissions rw-rw-rw- less the umask. Its errors are those
// of ReplaceFile.
func CreateReplacement(path string) (*Replacement, error) { return createReplacement(path, 0o666) }

// createReplacement: mode, less the umask, is for a file that is not there.
func createReplacement(path string, mode uint32) (*Replacement, error) {
	target, errno := findTarget(path)
	if errno != 0 {
		return nil, pathError("replace", path, errno, nil)
	}
	r := &Replacement{path: path, target: target}
	r.attributes, errno = target.attributes()
	if errno == 0 {
		// Nobody may read what the old file's mode would not let them.
		if r.attributes != nil {
			mode = 0o600
		}
		r.file, r.hidden, errno = target.temporary(mode)
	}
	if errno != 0 {
		target.close()
		return nil, pathError("replace", path, errno, nil)
	}
	return r, nil
}

// Write writes to the end of what was written; EFBIG beyond RLIMIT_FSIZE, on Linux without SIGXFSZ.
func (r *Replacement) Write(p []byte) (n int, err error) {
	if r.file == nil {
		return 0, closedError("write", r.path)
	}
	withinLimit(func() syscall.Errno {
		n, err = r.file.Write(p)
		return errnoIn(err)
	})
	return n, err
}

// KeepPrivileges lets the new file have set-user-ID, set-group-ID and file capabilities of the one
// that it replaces: whoever calls it answers for the new contents.
func (r *Replacement) KeepPrivileges() { r.privileges = true }

// File is the new file, for whoever wants to seek, reserve or map. Do not close it. Writing to it
// is Go's own writing: beyond RLIMIT_FSIZE it ends the C host of a Go library by SIGXFSZ, which
// Write does not.
func (r *Replacement) File() *os.File { return r.file }

// Commit makes the new file take the place of the old one; both it and its folder are on the disk
// then. The Replacement is at its end, whatever comes back.
func (r *Replacement) Commit() error {
	if r.file == nil {
		return closedError("replace", r.path)
	}
	defer r.Abort()
	// The old file may have been replaced meanwhile, or its mode changed.
	now, errno := r.target.attributes()
	if now != nil {
		r.attributes = now
	}
	switch {
	case errno != 0:
	case r.attributes != nil:
		errno = r.attributes.give(r.file, r.privileges)
	case r.source != nil:
		errno = r.source.giveToNew(r.file)
	}
	if errno == 0 {
		errno = errnoIn(r.file.Sync())
	}
	if errno == 0 {
		errno = r.publish()
	}
	if errno != 0 {
		return pathError("replace", r.path, errno, nil)
	}
	return pathError("replace", r.path, r.target.sync(r.file), ErrUnsynced)
}

// Abort gives the new file up; nothing has happened. After Commit it does nothing.
func (r *Replacement) Abort() error {
	if r.file == nil {
		return nil
	}
	if r.hidden != "" {
		r.target.remove(r.hidden)
	}
	err := r.file.Close()
	r.target.close()
	r.file = nil
	return err
}
