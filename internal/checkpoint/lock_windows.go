package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const errorSharingViolation = syscall.Errno(32) // ERROR_SHARING_VIOLATION

// openLocked opens path with an exclusive lock, which closing it releases. The
// lock is the open file itself: others may read it, for the PID, but whoever
// asks to write it is refused.
func openLocked(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, syscall.FILE_SHARE_READ,
		nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errorSharingViolation) {
		return nil, errHeld
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// removeLocked releases the lock and removes its file, which fails where another
// process has opened it in between.
func removeLocked(f *os.File, path string) error {
	err := f.Close()
	if gone := os.Remove(path); gone != nil && !errors.Is(gone, errorSharingViolation) && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
