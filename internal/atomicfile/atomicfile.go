// Package atomicfile replaces files whole: after a crash, a full disk or a
// failed write a path holds its old content or its new content, never a part.
//
// It owns the temporary file, its sync and its rename, the clearing of those that
// killed processes left behind, and directories that are made for outputs and
// taken back where nothing comes of them. It refuses to decide what is written.
package atomicfile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// tempPrefix starts the names of temporary files. The target's name is no part
// of them, so that a target name of the longest length still works.
const tempPrefix = ".stylenet-tmp-"

// Write replaces the file at path by what write writes. Writes are buffered.
//
// A new file gets perm, less the umask; an existing file keeps its mode. A
// symbolic link stays, and the file that it names is replaced. A device or a
// pipe is written to directly, because it cannot be replaced. When Write
// returns nil, the content and its name are on the disk. On an error, which
// names path, an existing file is as it was, unless only the last step, the
// sync of the directory, failed: then the new content is in place and may be
// lost in a power cut.
func Write(path string, perm fs.FileMode, write func(io.Writer) error) error {
	if err := replace(path, perm, write); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// IsTemp reports whether name is that of a temporary file of this package,
// which a killed process left behind.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// SyncDir makes the names in a directory durable. Where directories cannot be
// synced (Windows, some network file systems) it does nothing.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// MkdirAll makes a directory, with the parents that it lacks, for what a caller is
// about to write. undo removes those that it made, as far as they are empty, for a
// caller that then wrote nothing.
func MkdirAll(dir string) (undo func(), err error) {
	var missing []string // the deepest first
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, at)
		if at == filepath.Dir(at) {
			break // a drive that is not there
		}
	}
	undo = func() {
		for _, made := range missing {
			RemoveEmpty(made)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

// RemoveEmpty removes a directory in which nothing is. All else stays, a symbolic
// link to a directory too: that is no error.
func RemoveEmpty(dir string) {
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		_ = os.Remove(dir) // fails where something is in it
	}
}

func replace(path string, perm fs.FileMode, write func(io.Writer) error) (err error) {
	// An error here is a path that does not exist yet, or one that the calls
	// below report.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	old, err := os.Stat(path)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return bare(err)
	case exists && old.IsDir():
		return errors.New("is a directory")
	case exists && !old.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return bare(err)
		}
		return errors.Join(fill(f, write), bare(f.Close()))
	}

	dir := filepath.Dir(path)
	f, temp, release, err := create(dir, perm)
	if err != nil {
		return bare(err)
	}
	defer release()
	defer func() {
		if temp != "" { // not renamed, also when write panics
			f.Close() // does nothing to a closed file; Windows removes no open one
			os.Remove(temp)
		}
	}()
	if err := fill(f, write); err != nil {
		return err
	}
	if exists {
		if err := f.Chmod(old.Mode()); err != nil {
			return bare(err)
		}
	}
	if err := f.Sync(); err != nil {
		return bare(err)
	}
	if err := f.Close(); err != nil {
		return bare(err)
	}
	if err := os.Rename(temp, path); err != nil {
		return bare(err)
	}
	temp = ""
	return bare(SyncDir(dir))
}

// create makes a temporary file in dir that no sweep removes before release is
// called.
func create(dir string, perm fs.FileMode) (f *os.File, temp string, release func(), err error) {
	for {
		temp = filepath.Join(dir, tempPrefix+rand.Text())
		if f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm); err != nil {
			return nil, "", nil, err
		}
		release, lost := hold(f, temp)
		if !lost {
			return f, temp, release, nil
		}
		f.Close() // a sweep removes it
	}
}

func fill(f *os.File, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(bareWriter{f}, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// bareWriter keeps the temporary file's name out of errors.
type bareWriter struct{ f *os.File }

func (w bareWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, bare(err)
}

// bare strips the operation and the path, which name the temporary file, from
// an error of package os.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}
