package atomicfile_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"stylenet/internal/atomicfile"
)

// temps counts the temporary files below dir.
func temps(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && atomicfile.IsTemp(d.Name()) {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// leave makes what a killed process leaves behind, long ago.
func leave(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, ".stylenet-tmp-DEAD")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	return path
}

// A sweep takes what is dead, at any depth, and nothing else: above all not a
// file that is being written.
func TestSweep(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	for _, sub := range []string{"", "a/b", "c"} {
		leave(t, filepath.Join(dir, sub))
	}
	hidden, outside := leave(t, filepath.Join(dir, ".hidden")), leave(t, elsewhere)
	if err := os.Symlink(elsewhere, filepath.Join(dir, "link")); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	kept := filepath.Join(dir, "a", "photo.png")
	if err := os.WriteFile(kept, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	err := atomicfile.Write(filepath.Join(dir, "a", "new.png"), 0o666, func(w io.Writer) error {
		if err := atomicfile.Sweep(t.Context(), dir); err != nil {
			return err
		}
		if n := temps(t, dir); n != 2 { // the hidden one, and that of this write
			t.Errorf("%d temporary files are left, want 2", n)
		}
		return text("new")(w)
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a", "new.png")); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	for _, path := range []string{hidden, outside, kept} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if n := temps(t, dir); n != 1 {
		t.Errorf("%d temporary files are left", n)
	}
}

// Sweeps at any moment of a write do not disturb it.
func TestSweepBesideWrites(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var sweeping sync.WaitGroup
	for range 2 {
		sweeping.Go(func() {
			for ctx.Err() == nil {
				if err := atomicfile.Sweep(ctx, dir); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	long := strings.Repeat("x", 1<<17) // more than the buffer
	for range 40 {
		if err := atomicfile.Write(filepath.Join(dir, "a.txt"), 0o666, text(long)); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	sweeping.Wait()
	holds(t, dir, map[string]string{"a.txt": long})
}

func TestSweepErrors(t *testing.T) {
	dir := t.TempDir()
	if err := atomicfile.Sweep(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	dead := leave(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := atomicfile.Sweep(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dead); err != nil {
		t.Error(err)
	}
}
