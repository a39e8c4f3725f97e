package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockFile is empty of meaning but for the lock on it and the holder's PID. It
// stays after the lock is released, and Vacate alone removes it.
const lockFile = ".lock"

// errHeld is what openLocked returns when another process holds the lock.
var errHeld = errors.New("held")

// LockedError reports a run directory that another trainer uses.
type LockedError struct {
	Dir string
	PID int // the holder's process, or 0 if it is not known
}

func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("run directory %s is in use by %s: wait for it, stop it, or choose another directory", e.Dir, holder)
}

// Lock takes the run directory, which must exist, for this process alone. A
// directory that is taken gives a *LockedError at once. The system releases
// the lock when the process ends, however it ends.
func Lock(runDir string) (unlock func() error, err error) {
	path := filepath.Join(runDir, lockFile)
	f, err := openLocked(path)
	if errors.Is(err, errHeld) {
		return nil, &LockedError{runDir, holder(path)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock run directory %s: %w", runDir, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock run directory %s: %w", runDir, err)
	}
	return f.Close, nil
}

// Vacate removes the lock file of a directory that this process has unlocked. One
// that another process has locked since stays: that is no error.
func Vacate(runDir string) error {
	path := filepath.Join(runDir, lockFile)
	f, err := openLocked(path)
	if errors.Is(err, errHeld) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = removeLocked(f, path)
	}
	if err != nil {
		return fmt.Errorf("unlock run directory %s: %w", runDir, err)
	}
	return nil
}

// holder returns the PID in a lock file, or 0.
func holder(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
