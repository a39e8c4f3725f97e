package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"stylenet/internal/formats/safetensors"
	"stylenet/internal/weights"
)

// manifestFormat changes when a reader of this version could misread a
// checkpoint.
const manifestFormat = 1

// Limits on files that carry no checksum, in bytes.
const (
	maxManifest = 1 << 16
	maxLatest   = 256
)

type manifest struct {
	Format int       `json:"format"`
	Files  []fileSum `json:"files"` // as dataFiles
}

type fileSum struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // lower-case hexadecimal
}

// encode returns the only spelling of a manifest that readManifest accepts.
func (m manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// fileError is a fault of one file of a checkpoint.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return e.path + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// Latest returns the newest checkpoint in dir (RUN/checkpoints) that passes
// its checksums: the one that the file latest names or, if that is damaged,
// the one before it, and so on. Each damaged one that was passed over is a
// warning. A checkpoint of a later step than latest names is the last resort.
//
// A directory that is empty or does not exist gives ErrNone, one with nothing
// but damaged checkpoints another error. Latest changes nothing on the disk
// and may run while another process writes.
func Latest(dir string) (*Snapshot, []Warning, error) {
	names, warnings, err := list(dir)
	for {
		if err != nil {
			return nil, nil, err
		}
		before := identities(dir, names)
		for _, name := range names {
			s, err := Read(filepath.Join(dir, name))
			if err == nil {
				return s, warnings, nil
			}
			w := Warning{filepath.Join(dir, name), err}
			if f, ok := errors.AsType[*fileError](err); ok {
				w = Warning{f.path, f.err}
			}
			warnings = append(warnings, w)
		}
		// A trainer at work may have pruned each of them before it was read, or
		// written the same step anew.
		fault := warnings[len(warnings)-len(names)]
		var fresh []Warning
		names, fresh, err = list(dir)
		if slices.EqualFunc(before, identities(dir, names), identity.same) {
			return nil, warnings, fmt.Errorf("no usable checkpoint in %s: each of the %d there is damaged, the newest in %s", dir, len(names), fault)
		}
		warnings = fresh
	}
}

// identity tells a directory from another one of its name.
type identity struct {
	name string
	info fs.FileInfo // nil for none
}

func identities(dir string, names []string) []identity {
	ids := make([]identity, len(names))
	for i, name := range names {
		ids[i].name = name
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			ids[i].info = info
		}
	}
	return ids
}

func (a identity) same(b identity) bool {
	if a.name != b.name || (a.info == nil) != (b.info == nil) {
		return false
	}
	return a.info == nil || os.SameFile(a.info, b.info) && a.info.ModTime().Equal(b.info.ModTime())
}

// Read returns the checkpoint in one directory, such as
// RUN/checkpoints/step-00001000. Whatever differs from what was written is an
// error that names the file.
func Read(dir string) (*Snapshot, error) {
	sums, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	for _, sum := range sums {
		path := filepath.Join(dir, sum.Name)
		if err := s.readFile(path, sum); err != nil {
			return nil, &fileError{path, err}
		}
	}
	if step, _, ok := parseName(filepath.Base(dir)); ok && step != s.Step {
		return nil, &fileError{filepath.Join(dir, stateFile), fmt.Errorf("it is of step %d, not of the step in the directory's name", s.Step)}
	}
	return s, nil
}

// readFile checks one file and takes in what it holds.
func (s *Snapshot) readFile(path string, sum fileSum) error {
	if err := sum.checkSize(path); err != nil {
		return err
	}
	b, err := readFile(path, sum.Size)
	if err != nil {
		return err
	}
	if got := hexSum(b); got != sum.SHA256 {
		return fmt.Errorf("it is damaged: its SHA-256 is %s, %s says %s", got, manifestFile, sum.SHA256)
	}
	switch sum.Name {
	case modelFile:
		s.Model, s.Metadata, err = decode(b)
	case optimizerFile:
		s.Optimizer, _, err = decode(b)
	case stateFile:
		err = json.Unmarshal(b, s)
		if err == nil && s.State != nil {
			var compact bytes.Buffer
			err = json.Compact(&compact, s.State)
			s.State = compact.Bytes()
		}
	}
	return err
}

func decode(b []byte) (*weights.Set, map[string]string, error) {
	return safetensors.Decode(bytes.NewReader(b), int64(len(b)))
}

// complete reports whether the files of a checkpoint exist in the size that
// its manifest says. It is the cheap part of what Read checks.
func complete(dir string) bool {
	sums, err := readManifest(dir)
	if err != nil {
		return false
	}
	for _, sum := range sums {
		if sum.checkSize(filepath.Join(dir, sum.Name)) != nil {
			return false
		}
	}
	return true
}

func readManifest(dir string) ([]fileSum, error) {
	path := filepath.Join(dir, manifestFile)
	b, err := readFile(path, maxManifest)
	if err != nil {
		return nil, &fileError{path, err}
	}
	sums, err := parseManifest(b)
	if err != nil {
		return nil, &fileError{path, err}
	}
	return sums, nil
}

func parseManifest(b []byte) ([]fileSum, error) {
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("its format is %d, this stylenet reads %d: read it with the stylenet that wrote it", m.Format, manifestFormat)
	}
	// Nothing sums the manifest itself, so it must be spelled as it was
	// written. Its values are checked against the files.
	canonical, err := m.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b, canonical) || len(m.Files) != len(dataFiles) {
		return nil, errors.New("it is damaged: it differs from what stylenet writes")
	}
	for i, f := range m.Files {
		if f.Name != dataFiles[i] {
			return nil, fmt.Errorf("it is damaged: it lists %q in place of %s", f.Name, dataFiles[i])
		}
	}
	return m.Files, nil
}

func (f fileSum) checkSize(path string) error {
	info, err := stat(path)
	if err == nil && info.Size() != f.Size {
		return fmt.Errorf("it is damaged: it has %d bytes, %s says %d", info.Size(), manifestFile, f.Size)
	}
	return err
}

// readFile reads a file of at most limit bytes. Errors do not name it.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("it is damaged: it has %d bytes, more than %d", info.Size(), limit)
	}
	b, err := os.ReadFile(path)
	return b, bare(err)
}

// stat refuses all but regular files, as reading a pipe would wait for ever.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return info, bare(err)
}

// bare strips the operation and the path from an error of package os, where
// the caller names the path.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
