//go:build !linux || (!amd64 && !arm64)

package sigward

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// target is where the new file goes. Extended attributes are not kept on these systems.
type target struct{ path string }

type attributes struct {
	mode os.FileMode
}

func openSource(path string) (*os.File, syscall.Errno) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errnoIn(err)
	}
	if errno := regular(info); errno != 0 {
		return nil, errno
	}
	f, err := os.Open(path)
	return f, errnoIn(err)
}

func attributesOf(f *os.File) (*attributes, syscall.Errno) {
	info, err := f.Stat()
	if err != nil {
		return nil, errnoIn(err)
	}
	return &attributes{mode: info.Mode()}, 0
}

func cloneContents(*os.File, *os.File) bool { return false }

func copyContents(to, from *os.File, _ int64) error {
	_, err := io.Copy(to, from)
	return err
}

func findTarget(path string) (*target, syscall.Errno) {
	if path == "" {
		return nil, syscall.ENOENT
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	t := &target{path}
	_, errno := t.attributes()
	return t, errno
}

func (t *target) attributes() (*attributes, syscall.Errno) {
	info, err := os.Lstat(t.path)
	if os.IsNotExist(err) {
		return nil, 0
	}
	if err != nil {
		return nil, errnoIn(err)
	}
	return &attributes{mode: info.Mode()}, regular(info)
}

func (a *attributes) give(f *os.File, privileged bool) syscall.Errno {
	kept := os.ModePerm | os.ModeSticky
	if privileged {
		kept |= os.ModeSetuid | os.ModeSetgid
	}
	return errnoIn(f.Chmod(a.mode & kept))
}

func (a *attributes) giveToNew(*os.File) syscall.Errno { return 0 }
func (a *attributes) permissions() uint32              { return uint32(a.mode.Perm()) }

func (t *target) temporary(mode uint32) (*os.File, string, syscall.Errno) {
	name := hiddenName(filepath.Base(t.path), randomNumber())
	f, err := os.OpenFile(filepath.Join(filepath.Dir(t.path), name),
		os.O_RDWR|os.O_CREATE|os.O_EXCL, os.FileMode(mode))
	return f, name, errnoIn(err)
}

func (r *Replacement) publish() syscall.Errno {
	hidden := filepath.Join(filepath.Dir(r.target.path), r.hidden)
	errno := errnoIn(os.Rename(hidden, r.target.path))
	if errno == 0 {
		r.hidden = ""
	}
	return errno
}

func (t *target) sync(*os.File) syscall.Errno {
	folder, err := os.Open(filepath.Dir(t.path))
	if err != nil {
		return errnoIn(err)
	}
	defer folder.Close()
	if errno := errnoIn(folder.Sync()); errno != syscall.EINVAL {
		return errno
	}
	return 0
}

func (t *target) remove(name string) { os.Remove(filepath.Join(filepath.Dir(t.path), name)) }
func (t *target) close()             {}
