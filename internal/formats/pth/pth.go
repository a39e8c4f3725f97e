// Package pth reads the tensors of PyTorch files: a state_dict that
// torch.save wrote, in the zip format of PyTorch 1.6 and later or in the
// legacy format before it. It writes the former.
//
// It owns the layout of both containers and the few calls of a pickle that
// build tensors. It refuses every other call by its name, so that a file can
// build tensors and nothing else; whole pickled models, TorchScript and the
// tar files of 2016; and files by path.
package pth

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/types"

	"stylenet/internal/weights"
)

const (
	// maxPickle bounds the bytes of all pickles of a file. VGG-19's take
	// about 5 KB; the numbers lie outside the pickles.
	maxPickle = 16 << 20
	maxRank   = 64
	// maxText and maxTexts bound what stands beside a state_dict, in bytes each.
	maxText  = 1 << 12
	maxTexts = 64
)

// FormatError reports a file that is damaged, hostile, or no state_dict.
type FormatError struct {
	Tensor string // the tensor at fault, or ""
	Reason string
}

func (e *FormatError) Error() string {
	return "pytorch: invalid file: " + ofTensor(e.Tensor) + e.Reason
}

// UnsupportedError reports a valid PyTorch file that this package does not
// read.
type UnsupportedError struct {
	Tensor string // the tensor at fault, or ""
	Reason string
}

func (e *UnsupportedError) Error() string {
	return "pytorch: unsupported: " + ofTensor(e.Tensor) + e.Reason
}

func ofTensor(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("tensor %.200q: ", name)
}

func invalid(format string, args ...any) error {
	return &FormatError{Reason: fmt.Sprintf(format, args...)}
}

// readError tells a damaged file from a disk that fails.
func readError(tensor, what string, err error) error {
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		return unsupported
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{tensor, what + ": the file ends too early: it is truncated, fetch it again"}
	case errors.Is(err, zip.ErrFormat), errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrAlgorithm):
		return &FormatError{tensor, fmt.Sprintf("%s: %v: it is truncated or damaged, fetch it again", what, err)}
	}
	return fmt.Errorf("pytorch: %s%s: %w", ofTensor(tensor), what, err)
}

// Decode reads a whole file of size bytes: a state_dict, or a dict that holds
// one, under "state_dict", "model_state_dict" or any other name. The tensors come in the order of
// the state_dict, as float32, row-major whatever their strides; float32, float16,
// bfloat16 and float64 are read, integers and booleans are left out. The map is
// what the dict around the state_dict says in numbers and texts, nil where there
// is none. Errors are a *FormatError, an *UnsupportedError, or what r returned.
//
// Memory stays within a small multiple of size, also for hostile files.
func Decode(r io.ReaderAt, size int64) (*weights.Set, map[string]string, error) {
	// A hostile zip file makes archive/zip seek outside of the file, negative
	// offsets included; a section answers that with io.EOF.
	r = io.NewSectionReader(r, 0, size)
	// 262 bytes reach the magic of a tar header.
	start := make([]byte, min(max(size, 0), 262))
	if _, err := r.ReadAt(start, 0); err != nil && err != io.EOF {
		return nil, nil, readError("", "reading the first bytes", err)
	}
	var state any
	var err error
	switch {
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		state, err = loadZip(r, size)
	case len(start) == 262 && bytes.HasSuffix(start, []byte("ustar")):
		err = &UnsupportedError{Reason: "a tar file of PyTorch before 0.1.10: load it with a newer PyTorch and torch.save its state_dict"}
	case len(start) > 0 && start[0] == 0x80:
		state, err = loadLegacy(r, size)
	default:
		err = invalid("it is neither a zip file nor a pickle: torch.save did not write it")
	}
	if err != nil {
		return nil, nil, err
	}
	entries, ok := items(state)
	if !ok {
		return nil, nil, invalid("it holds no state_dict: write it with torch.save(model.state_dict(), path)")
	}
	entries, metadata, err := unwrap(entries)
	if err != nil {
		return nil, nil, err
	}
	set, err := collect(entries, size)
	if err != nil {
		return nil, nil, err
	}
	return set, metadata, nil
}

// unwrap finds the state_dict among what a training script saved with it, and
// what is said there in numbers and texts.
func unwrap(outer []types.DictEntry) (entries []types.DictEntry, metadata map[string]string, err error) {
	var names []string // of dicts of tensors
	for _, e := range outer {
		inner, ok := items(e.Value)
		if !ok {
			continue
		}
		if e.Key == "state_dict" || e.Key == "model_state_dict" {
			entries, names = inner, nil
			break
		}
		if hasTensors(inner) {
			name, _ := e.Key.(string) // other keys may hold themselves
			entries, names = inner, append(names, fmt.Sprintf("%.40q", name))
		}
	}
	switch {
	case entries == nil || names != nil && hasTensors(outer):
		return outer, nil, nil
	case len(names) > 1:
		return nil, nil, invalid("it holds several state_dicts (%s): save one of them under \"state_dict\"", strings.Join(names[:min(len(names), 5)], ", "))
	}
	for _, e := range outer {
		key, ok := e.Key.(string)
		if !ok || len(key) > maxText {
			continue
		}
		var text string
		switch v := e.Value.(type) {
		case string:
			text = v
		case int, float64, bool:
			text = fmt.Sprint(v)
		default:
			continue
		}
		if metadata == nil {
			metadata = map[string]string{}
		}
		if len(text) <= maxText && len(metadata) < maxTexts {
			metadata[key] = text
		}
	}
	return entries, metadata, nil
}

// hasTensors says that a dict itself holds tensors.
func hasTensors(entries []types.DictEntry) bool {
	return slices.ContainsFunc(entries, func(e types.DictEntry) bool { _, ok := e.Value.(*tensor); return ok })
}

// collect turns the entries of a state_dict into a set.
func collect(entries []types.DictEntry, size int64) (*weights.Set, error) {
	// A broadcast tensor may be larger than its bytes, but not by much.
	l := &loader{unread: size, budget: 4*size + 1<<20}
	set := &weights.Set{}
	skipped := 0
	for _, e := range entries {
		t, ok := e.Value.(*tensor)
		if !ok {
			continue // a counter, a version, a nested dict of settings
		}
		name, ok := e.Key.(string)
		if !ok {
			return nil, invalid("a tensor has a key of type %T, not a name", e.Key)
		}
		if t.storage == nil {
			return nil, &FormatError{name, "a parameter without data"}
		}
		if !t.storage.float {
			if !t.storage.integer {
				return nil, &UnsupportedError{name, "numbers of type " + t.storage.name + ": convert it with .float()"}
			}
			skipped++
			continue
		}
		values, err := l.values(name, t)
		if err != nil {
			return nil, err
		}
		if err := set.Add(name, t.shape, values); err != nil {
			return nil, &FormatError{Reason: err.Error()}
		}
	}
	if set.Len() == 0 {
		return nil, invalid("its top level holds %d entries but no float tensor (%d integer ones): write it with torch.save(model.state_dict(), path)", len(entries), skipped)
	}
	return set, nil
}

// items returns the entries of a dict in order, or false for other values.
func items(v any) ([]types.DictEntry, bool) {
	switch d := v.(type) {
	case *types.Dict:
		return *d, true
	case *types.OrderedDict:
		var list []types.DictEntry
		for e := d.List.Front(); e != nil; e = e.Next() {
			entry := e.Value.(*types.OrderedDictEntry)
			list = append(list, types.DictEntry{Key: entry.Key, Value: entry.Value})
		}
		return list, true
	}
	return nil, false
}

// loader reads storages and counts what they cost, since a small file can
// name the same bytes many times.
type loader struct {
	unread int64 // bytes that storages may still take
	budget int64 // values that tensors may still take
}

// values returns a tensor's values in row-major order.
func (l *loader) values(name string, t *tensor) ([]float32, error) {
	n, err := t.elements(name, l.budget)
	if err != nil {
		return nil, err
	}
	l.budget -= int64(n)
	if n == 0 {
		return []float32{}, nil
	}
	s := t.storage
	if s.values == nil {
		if s.values, err = l.load(name, s); err != nil {
			return nil, err
		}
	}
	if n == len(s.values) && t.rowMajor() && !s.given {
		s.given = true // the usual case needs no second copy of a large file
		return s.values, nil
	}
	return gather(s.values[t.offset:], t.shape, t.stride, n), nil
}

func (l *loader) load(name string, s *storage) ([]float32, error) {
	if s.open == nil {
		return nil, &FormatError{name, fmt.Sprintf("its data (storage %.40q) are not in the file: it is truncated, fetch it again", s.key)}
	}
	bytes := int64(s.numel) * int64(s.size)
	if int64(s.numel) > maxElements || bytes != s.bytes {
		return nil, &FormatError{name, fmt.Sprintf("its storage %.40q declares %d values of %d bytes but has %d bytes", s.key, s.numel, s.size, s.bytes)}
	}
	if l.unread -= bytes; l.unread < 0 {
		return nil, &FormatError{name, "the storages together are larger than the file: they overlap"}
	}
	r, err := s.open()
	if err != nil {
		return nil, readError(name, "reading its data", err)
	}
	values := make([]float32, s.numel)
	if err := s.kind.Read(r, values); err != nil {
		return nil, readError(name, "reading its data", err)
	}
	// Only at the end does a zip file compare the checksum.
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		return nil, readError(name, "reading its data", err)
	}
	return values, nil
}

// maxElements keeps a storage's size in bytes far from overflow.
const maxElements = 1 << 40

// elements checks that a tensor stays inside its storage and returns the
// number of its values, at most limit.
func (t *tensor) elements(name string, limit int64) (int, error) {
	if len(t.shape) != len(t.stride) || len(t.shape) > maxRank {
		return 0, &FormatError{name, fmt.Sprintf("shape %v and stride %v do not fit", t.shape, t.stride)}
	}
	if slices.Contains(t.shape, 0) {
		return 0, nil
	}
	n, last := uint64(1), uint64(t.offset)
	for i, d := range t.shape {
		var hi, step, carry uint64
		if hi, n = bits.Mul64(n, uint64(d)); hi != 0 || n > uint64(limit) {
			return 0, &FormatError{name, fmt.Sprintf("shape %v is too large for a file of this size", t.shape)}
		}
		hi, step = bits.Mul64(uint64(d-1), uint64(t.stride[i]))
		if last, carry = bits.Add64(last, step, 0); hi != 0 || carry != 0 {
			last = 1<<64 - 1
			break
		}
	}
	if last >= uint64(t.end) {
		return 0, &FormatError{name, fmt.Sprintf("shape %v, stride %v at offset %d leave its storage of %d values", t.shape, t.stride, t.offset, t.end)}
	}
	return int(n), nil
}

// rowMajor reports whether the values lie in the order of the shape.
func (t *tensor) rowMajor() bool {
	step := 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.stride[i] != step {
			return false
		}
		step *= t.shape[i]
	}
	return true
}

// gather copies n values out of src in row-major order. All indices were
// checked.
func gather(src []float32, shape, stride []int, n int) []float32 {
	dst := make([]float32, 0, n)
	if len(shape) == 0 {
		return append(dst, src[0])
	}
	inner := len(shape) - 1
	index := make([]int, inner)
	at := 0
	for {
		if stride[inner] == 1 {
			dst = append(dst, src[at:at+shape[inner]]...)
		} else {
			for i := range shape[inner] {
				dst = append(dst, src[at+i*stride[inner]])
			}
		}
		axis := inner - 1
		for ; axis >= 0; axis-- {
			index[axis]++
			at += stride[axis]
			if index[axis] < shape[axis] {
				break
			}
			at -= index[axis] * stride[axis]
			index[axis] = 0
		}
		if axis < 0 {
			return dst
		}
	}
}
