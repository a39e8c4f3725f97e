//go:build unix

package atomicfile

import (
	"os"
	"syscall"
)

// lock locks the file at path until what it returns is closed. taken says that
// somebody else has locked it.
func lock(path string) (f *os.File, taken bool, err error) {
	if f, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		return nil, false, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err == syscall.EWOULDBLOCK, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return f, false, nil
}

// hold marks the temporary file at path, which is open as f, as being written,
// until release is called. lost says that a sweep has taken it for one that was
// left behind. Where there are no locks nothing is marked, and nothing swept.
func hold(f *os.File, path string) (release func(), lost bool) {
	held, taken, err := lock(path)
	if err != nil {
		_, gone := os.Stat(path)
		return func() {}, taken || os.IsNotExist(gone)
	}
	release = func() { held.Close() }
	// A sweep may have removed it and let go before the lock was taken.
	mine, err := f.Stat()
	there, gone := os.Stat(path)
	if err == nil && gone == nil && os.SameFile(mine, there) {
		return release, false
	}
	release()
	return func() {}, true
}

// removeDead removes a temporary file unless it is held.
func removeDead(path string) error {
	f, taken, err := lock(path)
	switch {
	case taken:
		return nil
	case err != nil:
		return err
	}
	defer f.Close()
	return os.Remove(path)
}
