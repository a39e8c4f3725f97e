package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// Vacate leaves nothing, but takes nothing from whoever has the lock, or waits
// for it.
func TestVacate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	lock := func() func() error {
		t.Helper()
		unlock, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		return unlock
	}
	unlock := lock()
	if err := Vacate(dir); err != nil {
		t.Error(err)
	}
	if _, err := Lock(dir); err == nil {
		t.Error("the lock of another was removed")
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	mustWrite(t, dir, sample(t, 7, "a"), 1)
	if err := Vacate(dir); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left are %v", got)
	}
	unlock = lock()
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != lockFile {
		t.Errorf("left are %v", got)
	}
	if err := errors.Join(unlock(), Vacate(dir), Vacate(dir), Remove(dir)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Of many that lock and vacate at once, one at a time holds the lock.
func TestVacateRace(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep")
	if err := os.WriteFile(keep, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	var holders, held atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 300 {
				unlock, err := Lock(dir)
				if _, ok := errors.AsType[*LockedError](err); ok {
					continue
				} else if err != nil {
					t.Error(err)
					return
				}
				held.Add(1)
				if holders.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				holders.Add(-1)
				if err := errors.Join(unlock(), Vacate(dir)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if held.Load() == 0 {
		t.Error("nobody ever held it")
	}
}
