//go:build unix

package atomicfile

import (
	"os"
	"syscall"
)

// lock locks an open file until it and its duplicates are closed. taken says that
// somebody else has locked it.
func lock(f *os.File) (taken bool, err error) {
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return err == syscall.EWOULDBLOCK, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return false, nil
}

// duplicate is a second descriptor of an open file, which outlives the first one.
func duplicate(f *os.File) (*os.File, error) {
	syscall.ForkLock.RLock() // no child process may get it, and hold the lock on
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: f.Name(), Err: err}
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// hold marks the temporary file at path, which is open as f, as being written,
// until release is called. lost says that a sweep has taken it for one that was
// left behind. Where there are no locks nothing is marked, and nothing swept.
func hold(f *os.File, path string) (release func(), lost bool) {
	// The lock is on f itself: on a share of Windows no other descriptor of a
	// locked file may write to it.
	taken, err := lock(f)
	if err != nil {
		_, gone := os.Stat(path)
		return func() {}, taken || os.IsNotExist(gone)
	}
	held, err := duplicate(f)
	if err != nil { // f has the lock, and loses it when it is closed, shortly before it has its name
		return func() {}, false
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
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if taken, err := lock(f); taken {
		return nil
	} else if err != nil {
		return err
	}
	return os.Remove(path)
}
