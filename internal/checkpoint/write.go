package checkpoint

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
)

// Write stores a snapshot as RUN/checkpoints/step-N, where dir is
// RUN/checkpoints, and makes it the latest. A checkpoint of the same step is
// replaced. Then it removes all but the newest keep (at least 1) checkpoints,
// counted back from this one; those of later steps go first.
//
// When Write returns nil, the checkpoint is on the disk. On an error, such as
// a full disk, which names the path, what was written in part is removed and
// every other checkpoint is untouched. Write also removes what a crashed write
// left behind. Only one process may write at a time: see Lock.
func Write(dir string, s *Snapshot, keep int) error {
	return disk{}.write(dir, s, keep)
}

// disk does the steps of a write that can fail.
type disk struct {
	// before, if not nil, is called before each step. An error fails the step.
	// Tests use it to fail and to crash at each one.
	before func(step, path string) error
}

func (d disk) step(step, path string) error {
	if d.before == nil {
		return nil
	}
	return d.before(step, path)
}

func (d disk) write(dir string, s *Snapshot, keep int) (err error) {
	state, err := s.encodeState()
	if err == nil && keep < 1 {
		err = fmt.Errorf("cannot keep %d checkpoints: keep 1 or more", keep)
	}
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", s.Step, err)
	}
	final := filepath.Join(dir, dirName(s.Step))
	defer func() {
		if err != nil {
			err = fmt.Errorf("checkpoint %s: %w", final, err)
		}
	}()

	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := d.tidy(dir); err != nil {
		return err
	}
	if err := d.writePartial(final+partialSuffix, s, state); err != nil {
		return errors.Join(err, d.removeAll(final+partialSuffix))
	}
	if err := d.install(final); err != nil {
		return errors.Join(err, d.removeAll(final+partialSuffix))
	}
	// The parent too: MkdirAll may have made dir.
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		if err := d.syncDir(dir); err != nil {
			return err
		}
	}
	err = atomicfile.Write(filepath.Join(dir, latestFile), 0o666, func(w io.Writer) error {
		if err := d.step("write", latestFile); err != nil {
			return err
		}
		_, err := io.WriteString(w, filepath.Base(final)+"\n")
		return err
	})
	if err != nil {
		return err
	}
	return d.prune(dir, keep)
}

// encodeState returns state.json. It fails on what Read could not give back.
func (s *Snapshot) encodeState() ([]byte, error) {
	switch {
	case s.Step < 0:
		return nil, errors.New("the step is negative")
	case s.Model == nil || s.Optimizer == nil:
		return nil, errors.New("the model or the optimizer is missing")
	case !utf8.ValidString(s.Config) || !utf8.ValidString(s.Version):
		return nil, errors.New("the config or the version is not UTF-8")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", stateFile, err)
	}
	return b.Bytes(), nil
}

// tidy removes what crashed writes left in dir, and puts back a checkpoint
// that was moved aside for one that never came.
func (d disk) tidy(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		_, suffix, ok := parseName(e.Name())
		switch {
		case atomicfile.IsTemp(e.Name()), ok && (suffix == partialSuffix || suffix == trashSuffix):
			err = d.removeAll(path)
		case ok && suffix == replacedSuffix:
			err = d.settle(strings.TrimSuffix(path, replacedSuffix))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settle ends the replacement of a checkpoint: the old one goes if the new one
// is there, and comes back if not.
func (d disk) settle(final string) error {
	_, err := os.Lstat(final)
	if errors.Is(err, fs.ErrNotExist) {
		return d.rename(final+replacedSuffix, final)
	}
	if err != nil {
		return err
	}
	return d.discard(final + replacedSuffix)
}

// writePartial writes and syncs the files of a checkpoint and the directory
// that holds them.
func (d disk) writePartial(dir string, s *Snapshot, state []byte) error {
	if err := d.step("mkdir", dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	m := manifest{Format: manifestFormat}
	for _, name := range dataFiles {
		sum, err := d.writeFile(filepath.Join(dir, name), func(w io.Writer) error {
			switch name {
			case modelFile:
				return safetensors.Encode(w, s.Model, s.Metadata, safetensors.F32)
			case optimizerFile:
				return safetensors.Encode(w, s.Optimizer, nil, safetensors.F32)
			}
			_, err := w.Write(state)
			return err
		})
		if err != nil {
			return err
		}
		m.Files = append(m.Files, sum)
	}
	b, err := m.encode()
	if err != nil {
		return err
	}
	_, err = d.writeFile(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	return d.syncDir(dir)
}

// install renames final.partial to final. A directory cannot be renamed over
// another, so an old one moves aside first; until it is removed, list knows it
// under both names.
func (d disk) install(final string) error {
	err := d.rename(final, final+replacedSuffix)
	replaced := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.rename(final+partialSuffix, final); err != nil {
		if replaced {
			err = errors.Join(err, d.rename(final+replacedSuffix, final))
		}
		return err
	}
	if !replaced {
		return nil
	}
	// The old one may go only when the new name is on the disk.
	if err := d.syncDir(filepath.Dir(final)); err != nil {
		return err
	}
	return d.settle(final)
}

// prune keeps the first keep complete checkpoints in the order of trust, which
// starts at the one that latest names, and incomplete ones between them.
func (d disk) prune(dir string, keep int) error {
	names, _, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch {
		case keep == 0:
			if err := d.discard(path); err != nil {
				return err
			}
		case complete(path):
			keep--
		}
	}
	return nil
}

// discard removes a checkpoint. The rename makes it vanish whole.
func (d disk) discard(path string) error {
	trash := strings.TrimSuffix(path, replacedSuffix) + trashSuffix
	if err := d.rename(path, trash); err != nil {
		return err
	}
	return d.removeAll(trash)
}

// writeFile writes and syncs a new file and returns its sum.
func (d disk) writeFile(path string, write func(io.Writer) error) (fileSum, error) {
	if err := d.step("create", path); err != nil {
		return fileSum{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fileSum{}, err
	}
	defer f.Close() // for the errors below; a second Close does nothing
	out := &sumWriter{disk: d, file: f}
	hash := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(out, hash), 1<<18)
	if err := write(w); err != nil {
		return fileSum{}, err
	}
	if err := w.Flush(); err != nil {
		return fileSum{}, err
	}
	if err := d.step("sync", path); err != nil {
		return fileSum{}, err
	}
	if err := f.Sync(); err != nil {
		return fileSum{}, err
	}
	return fileSum{filepath.Base(path), out.size, hex.EncodeToString(hash.Sum(nil))}, f.Close()
}

// sumWriter writes to a file and counts the bytes.
type sumWriter struct {
	disk disk
	file *os.File
	size int64
}

func (w *sumWriter) Write(p []byte) (int, error) {
	if err := w.disk.step("write", w.file.Name()); err != nil {
		return 0, err
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	return n, err
}

func (d disk) rename(from, to string) error {
	if err := d.step("rename", from); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (d disk) removeAll(path string) error {
	if err := d.step("remove", path); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

func (d disk) syncDir(dir string) error {
	if err := d.step("syncdir", dir); err != nil {
		return err
	}
	return atomicfile.SyncDir(dir)
}
