package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // again after unlock
		unlock, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Lock(dir)
		if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != os.Getpid() {
			t.Errorf("second lock: %v", err)
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
	}

	other, err := Lock(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := other(); err != nil {
		t.Error(err)
	}

	absent := filepath.Join(dir, "absent")
	if _, err := Lock(absent); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "lock run directory "+absent+": ") {
		t.Errorf("absent directory: %v", err)
	}
}

// TestLockOverOldContent: the PID of a longer one that died must not shine
// through.
func TestLockOverOldContent(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, lockFile), []byte("99999999999999\nx"), 0o666); err != nil {
		t.Fatal(err)
	}
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := holder(filepath.Join(dir, lockFile)); got != os.Getpid() {
		t.Errorf("the lock file names process %d, this is %d", got, os.Getpid())
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestOwns(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	mustWrite(t, dir, sample(t, 7, "a"), 1)
	for _, name := range names(t, dir) {
		if !Owns(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"step-00000007.partial", "step-00000007.replaced", ".stylenet-tmp-X"} {
		if !Owns(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"step-7", "holiday.jpg", "latest.txt", ""} {
		if Owns(name) {
			t.Errorf("%s is taken for this package's", name)
		}
	}
}
