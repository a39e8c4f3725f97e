// Package formats opens model files of any known format.
//
// It owns the decision, by the bytes of a file and never by its name, which codec
// reads it, and which files beside it belong to it: TensorFlow writes several. It
// refuses the layout of each format, which its codec owns (safetensors, pth, onnx,
// tensorflow), and what the tensors mean.
package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"stylenet/internal/formats/onnx"
	"stylenet/internal/formats/pth"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/formats/tensorflow"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// The names of the formats.
const (
	Safetensors = "safetensors"
	PyTorch     = "pytorch"
	ONNX        = "onnx"
	TensorFlow  = "tensorflow"
)

// File is the content of a model file.
type File struct {
	Format   string            // Safetensors, PyTorch, ONNX or TensorFlow
	Tensors  *weights.Set      // in the order of the file, as float32
	Metadata map[string]string // nil where the format has none
	// Network is what a file of ONNX holds besides tensors, which are its
	// parameters then, and ONNX what else such a file says. Both are nil for
	// formats of tensors alone.
	Network *networks.Network
	ONNX    *onnx.Info
}

// Open reads a whole model file, and with an ONNX file those of its folder that it
// names. Of TensorFlow's files path is any of those of a
// checkpoint, their common beginning, the folder that they lie in, or that of
// dumped variables. Every error names the path. A damaged file gives the
// *FormatError of its codec, a good one that is not read its *UnsupportedError,
// and a file of another kind an *UnknownError.
func Open(path string) (*File, error) {
	if index := indexOf(path); index != "" && exists(index) {
		path = index
	}
	f, err := os.Open(path)
	if index := path + indexSuffix; errors.Is(err, fs.ErrNotExist) && exists(index) {
		path = index
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err // names the path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openFolder(path)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	data := &neighbours{path: path}
	file, err := decode(f, info.Size(), data)
	if err := errors.Join(err, data.close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// sniffed is enough for the magic of a tar header, the deepest one.
const sniffed = 512

// decode reads a file; data opens those beside it.
func decode(r io.ReaderAt, size int64, data *neighbours) (*File, error) {
	start, end := make([]byte, min(size, sniffed)), make([]byte, min(size, 8))
	if _, err := r.ReadAt(start, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if _, err := r.ReadAt(end, size-int64(len(end))); err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case tensorflow.Sniff(end):
		set, err := tensorflow.Decode(r, size, data.shard)
		return &File{Format: TensorFlow, Tensors: set}, err
	case isPyTorch(start):
		set, metadata, err := pth.Decode(r, size)
		return &File{Format: PyTorch, Tensors: set, Metadata: metadata}, err
	case len(start) > 8 && start[8] == '{':
		set, metadata, err := safetensors.Decode(r, size)
		return &File{Format: Safetensors, Tensors: set, Metadata: metadata}, err
	case onnx.Sniff(start, size):
		m, err := onnx.Decode(r, size, data.file)
		if err != nil {
			return nil, err
		}
		return &File{Format: ONNX, Tensors: m.Weights, Metadata: m.Info.Properties, Network: m.Network, ONNX: &m.Info}, nil
	}
	return nil, &UnknownError{Hint: hint(start, data.path)}
}

// isPyTorch also takes the files that pth only names: pickles of others and
// the tar files of 2016.
func isPyTorch(start []byte) bool {
	return bytes.HasPrefix(start, []byte("PK\x03\x04")) ||
		len(start) > 1 && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5 ||
		len(start) >= 262 && string(start[257:262]) == "ustar"
}

// UnknownError reports a file of none of the known formats.
type UnknownError struct {
	Hint string // what the file seems to be and what to do, or ""
}

func (e *UnknownError) Error() string {
	s := "unknown model format: " + Safetensors + ", " + PyTorch + " (.pth, .pt), " + ONNX + " and " + TensorFlow + " (checkpoints) files are known"
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// hint recognises what downloads often leave in place of weights. A file of ONNX
// that is cut off ends within a field, as Sniff finds; its first byte is the tag of
// its version.
func hint(start []byte, path string) string {
	text := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(string(start), "\ufeff")))
	switch {
	case len(start) == 0:
		return "the file is empty"
	case strings.HasPrefix(text, "version https://git-lfs"):
		return "this is a Git LFS pointer, not weights: run git lfs pull"
	case strings.HasPrefix(text, "<!doctype"), strings.HasPrefix(text, "<html"), strings.HasPrefix(text, "<?xml"), strings.HasPrefix(text, "<head"):
		return "this is a web page, not weights: fetch the raw file"
	case strings.HasSuffix(strings.ToLower(path), ".onnx"), start[0] == 0x08:
		return "an ONNX file like this may be truncated: fetch it again"
	}
	return ""
}
