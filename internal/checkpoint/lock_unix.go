//go:build unix

package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openLocked opens path with an exclusive lock, which closing it releases.
func openLocked(path string) (*os.File, error) {
	for {
		f, err := lockOnce(path)
		if err != nil {
			return nil, err
		}
		// Its last holder may have removed the file before the lock was there: a
		// lock on what has no name keeps nobody out.
		named, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.Close()
			return nil, err
		}
		locked, err := f.Stat()
		if err == nil && named != nil && os.SameFile(named, locked) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// removeLocked removes a locked file and releases the lock.
func removeLocked(f *os.File, path string) error {
	return errors.Join(os.Remove(path), f.Close())
}

func lockOnce(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errHeld
	}
	return nil, &os.PathError{Op: "flock", Path: path, Err: err}
}
