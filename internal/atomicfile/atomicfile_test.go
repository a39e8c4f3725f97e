package atomicfile_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"stylenet/internal/atomicfile"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// holds fails unless dir holds exactly the named files with these contents.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(b)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("directory holds %q, want %q", got, want)
	}
}

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	for _, s := range []string{"first", "", strings.Repeat("long", 100_000)} {
		if err := atomicfile.Write(path, 0o644, text(s)); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, map[string]string{"a.txt": s})
	}
}

func TestFailureKeepsOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	if err := atomicfile.Write(path, 0o644, text("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("encoder broke")
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		// More than the buffer, so that a part is on the disk.
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) || err.Error() != "write "+path+": encoder broke" {
		t.Errorf("error %v", err)
	}
	holds(t, dir, map[string]string{"a.txt": "old"})

	func() {
		defer func() { _ = recover() }()
		_ = atomicfile.Write(path, 0o644, func(io.Writer) error { panic("encoder") })
	}()
	holds(t, dir, map[string]string{"a.txt": "old"})
}

func TestErrorsNameTheTarget(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "none", "a.txt")
	err := atomicfile.Write(missing, 0o644, text("x"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "write "+missing+": ") || strings.Contains(err.Error(), "tmp-") {
		t.Errorf("missing directory: %v", err)
	}
	err = atomicfile.Write(dir, 0o644, text("x"))
	if err == nil || err.Error() != "write "+dir+": is a directory" {
		t.Errorf("directory: %v", err)
	}
}

func TestMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no such modes")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, 0o666, text("x")); err != nil {
		t.Fatal(err)
	}
	mode := func(p string) fs.FileMode {
		i, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		return i.Mode()
	}
	if mode(path) != mode(plain) {
		t.Errorf("new file has mode %v, os.WriteFile gives %v", mode(path), mode(plain))
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, 0o666, text("y")); err != nil {
		t.Fatal(err)
	}
	if mode(path) != 0o640 {
		t.Errorf("mode became %v", mode(path))
	}
}

func TestSymlinkStays(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	target := filepath.Join(elsewhere, "real")
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if err := atomicfile.Write(link, 0o644, text("new")); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Lstat(link); err != nil || i.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", i, err)
	}
	holds(t, elsewhere, map[string]string{"real": "new"})
}

func TestDevice(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/full")
	}
	if err := atomicfile.Write("/dev/null", 0o644, text("x")); err != nil {
		t.Error(err)
	}
	err := atomicfile.Write("/dev/full", 0o644, text("x"))
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != "write /dev/full: no space left on device" {
		t.Errorf("full device: %v", err)
	}
	if i, err := os.Stat("/dev/full"); err != nil || i.Mode()&fs.ModeDevice == 0 {
		t.Errorf("/dev/full was replaced: %v %v", i, err)
	}
}

func TestIsTemp(t *testing.T) {
	dir := t.TempDir()
	err := atomicfile.Write(filepath.Join(dir, "a.txt"), 0o644, func(io.Writer) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(entries) != 1 || !atomicfile.IsTemp(entries[0].Name()) {
			t.Errorf("while writing the directory holds %v", entries)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if atomicfile.IsTemp("a.txt") {
		t.Error("a.txt is no temporary file")
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	undo, err := atomicfile.MkdirAll(deep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(deep); err != nil { // there it was
		t.Fatal(err)
	}
	undo()
	holds(t, dir, nil)

	if undo, err = atomicfile.MkdirAll(deep); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "a", "x"), 0o666, text("x")); err != nil {
		t.Fatal(err)
	}
	undo()
	holds(t, filepath.Join(dir, "a"), map[string]string{"x": "x"})

	if undo, err = atomicfile.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	undo()
	if _, err := os.Stat(dir); err != nil {
		t.Error("a directory that was there is gone")
	}
	if _, err := atomicfile.MkdirAll(filepath.Join(dir, "a", "x", "y", "z")); err == nil {
		t.Error("a directory below a file")
	}
}
