package formats

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stylenet/internal/formats/tensorflow"
)

const (
	indexSuffix  = ".index"
	manifestName = "manifest.json"
	// stateName is the file in which TensorFlow names its newest checkpoint.
	stateName = "checkpoint"
)

// maxNames bounds how many names of a folder are looked at.
const maxNames = 1 << 14

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// indexOf is the index that a checkpoint's other files lie beside, or "".
func indexOf(path string) string {
	if prefix, ok := strings.CutSuffix(path, ".meta"); ok {
		return prefix + indexSuffix
	}
	if at := regexp.MustCompile(`\.data-\d{5}-of-\d{5}$`).FindStringIndex(path); at != nil {
		return path[:at[0]] + indexSuffix
	}
	return ""
}

// neighbours opens the files of numbers beside a file.
type neighbours struct {
	path  string
	files []*os.File
}

// shard opens the i-th of n files beside a checkpoint's index.
func (b *neighbours) shard(i, n int) (*io.SectionReader, error) {
	f, err := os.Open(fmt.Sprintf("%s.data-%05d-of-%05d", strings.TrimSuffix(b.path, indexSuffix), i, n))
	if err != nil {
		return nil, fmt.Errorf("its numbers: %w", err)
	}
	return b.section(f)
}

// file opens a file in the same folder, or below it.
func (b *neighbours) file(location string) (*io.SectionReader, error) {
	f, err := os.OpenInRoot(filepath.Dir(b.path), filepath.FromSlash(location))
	if err != nil {
		return nil, err
	}
	return b.section(f)
}

func (b *neighbours) section(f *os.File) (*io.SectionReader, error) {
	b.files = append(b.files, f)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", f.Name())
	}
	return io.NewSectionReader(f, 0, info.Size()), nil
}

func (b *neighbours) close() (err error) {
	for _, f := range b.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// IsFolder says that path is a folder that Open reads.
func IsFolder(path string) bool {
	_, _, err := contents(path)
	return err == nil
}

// contents finds what is read in a folder: a manifest, or a checkpoint.
func contents(dir string) (name string, dump bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxNames)
	if err != nil && err != io.EOF {
		return "", false, err
	}
	// Names as they are: a file system may take MANIFEST.json for the same.
	if slices.Contains(names, manifestName) {
		return manifestName, true, nil
	}
	if slices.Contains(names, stateName) && exists(filepath.Join(dir, stateName)) {
		name, err := newest(filepath.Join(dir, stateName))
		return name, false, err
	}
	for _, n := range names {
		if !strings.HasSuffix(n, indexSuffix) {
			continue
		}
		if name != "" {
			return "", false, fmt.Errorf("%s: it holds several checkpoints, %s and %s: name one of them", dir, min(n, name), max(n, name))
		}
		name = n
	}
	if name == "" {
		return "", false, fmt.Errorf("%s: it is a folder that holds no model: neither a checkpoint of TensorFlow nor variables with a %s", dir, manifestName)
	}
	return name, false, nil
}

var statePath = regexp.MustCompile(`(?m)^model_checkpoint_path:\s*("(?:[^"\\]|\\.)*")\s*$`)

// newest reads the name of the newest checkpoint. Its folder may have moved
// since.
func newest(path string) (string, error) {
	text, err := readSmall(path, 1<<20)
	if err != nil {
		return "", err
	}
	if found := statePath.FindSubmatch(text); found != nil {
		if name, err := strconv.Unquote(string(found[1])); err == nil {
			if base := filepath.Base(filepath.FromSlash(name)); filepath.IsLocal(base) && base != "." {
				return base, nil
			}
		}
	}
	return "", fmt.Errorf("%s: it names no checkpoint (model_checkpoint_path)", path)
}

func openFolder(dir string) (*File, error) {
	name, dump, err := contents(dir)
	if err != nil {
		return nil, err // names the folder
	}
	path := filepath.Join(dir, name)
	if !dump {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s: not a regular file", path)
		}
		return Open(path)
	}
	manifest, err := readSmall(path, tensorflow.MaxManifest)
	if err != nil {
		return nil, err
	}
	set, err := tensorflow.DecodeDump(manifest, func(name string) (io.ReadCloser, int64, error) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s: not a regular file", f.Name())
		}
		if err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		return f, info.Size(), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &File{Format: TensorFlow, Tensors: set}, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: it has more than %d bytes", path, limit)
	}
	return b, nil
}
