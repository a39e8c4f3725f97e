// Package tensorflow reads the variables of TensorFlow: checkpoints of the
// present format (an .index beside .data-00000-of-00001 and its like) and of the
// first one (a single file), and variables dumped to a folder with a manifest.
//
// It owns the layout of the three: LevelDB's tables, the messages in them, the
// checksums. It refuses the graph that stands beside a checkpoint (.meta), tensors
// that are saved in parts, compressed tables, files by path, and writing.
package tensorflow

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"

	"stylenet/internal/formats/floats"
	"stylenet/internal/weights"
)

// Limits of files that anybody may have written. A style network has 48
// variables, and three times as many with its optimiser's.
const (
	maxTable   = 1 << 30 // bytes
	maxTensors = 1 << 14
	maxName    = 1 << 10
	maxRank    = 16
	maxShards  = 1 << 10
)

// FormatError reports a file that is damaged, hostile, or no checkpoint.
type FormatError struct {
	Tensor string // the variable at fault, or ""
	Reason string
}

func (e *FormatError) Error() string {
	return "tensorflow: invalid file: " + ofTensor(e.Tensor) + e.Reason
}

// UnsupportedError reports a valid file that is not read.
type UnsupportedError struct {
	Tensor string // the variable at fault, or ""
	Reason string
}

func (e *UnsupportedError) Error() string {
	return "tensorflow: unsupported: " + ofTensor(e.Tensor) + e.Reason
}

func ofTensor(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("variable %.200q: ", name)
}

func invalid(tensor, format string, args ...any) error {
	return &FormatError{tensor, fmt.Sprintf(format, args...)}
}

// readError tells a damaged file from a disk that fails.
func readError(tensor, what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid(tensor, "%s: the file ends too early: it is truncated, fetch it again", what)
	}
	return fmt.Errorf("tensorflow: %s%s: %w", ofTensor(tensor), what, err)
}

// Sniff tells a checkpoint's table from its last bytes.
func Sniff(end []byte) bool {
	return len(end) >= len(magic) && string(end[len(end)-len(magic):]) == magic
}

// Decode reads a checkpoint: its table of size bytes, which is an .index or a
// whole file of the first format, and the files of numbers beside an .index, of
// which data opens the i-th of n. The tensors come in the order of their names, as
// float32; float32, float16, bfloat16 and float64 are read, other variables are
// left out. All checksums are compared. Errors are a *FormatError, an
// *UnsupportedError, or what table and data returned.
//
// Memory stays within a small multiple of the files' sizes, also for hostile
// ones.
func Decode(table io.ReaderAt, size int64, data func(i, n int) (*io.SectionReader, error)) (*weights.Set, error) {
	d := &decoder{set: &weights.Set{}, data: data}
	if err := readTable(table, size, d.entry); err != nil {
		return nil, err
	}
	if d.read == nil {
		return nil, invalid("", "its table is empty")
	}
	if err := d.load(); err != nil {
		return nil, err
	}
	if d.set.Len() == 0 {
		return nil, invalid("", "it holds no variable of floats")
	}
	return d.set, nil
}

// decoder takes the entries of a table.
type decoder struct {
	set     *weights.Set
	data    func(i, n int) (*io.SectionReader, error)
	read    func(key string, value []byte) error // of the format that the first entry tells
	shards  int
	entries []bundleEntry
	// declared are the variables of the first format.
	declared map[string]variable
}

// variable is what a checkpoint says of a tensor.
type variable struct {
	dtype int64
	shape []int
}

// entry takes the header of a checkpoint, whose key is empty, and then its
// variables.
func (d *decoder) entry(key string, value []byte) error {
	if d.read != nil {
		return d.read(key, value)
	}
	if key != "" {
		return invalid("", "its table does not begin as a checkpoint's does")
	}
	m, err := parse(value)
	if err != nil {
		return err
	}
	if meta, ok := m.message(1); ok { // SavedTensorSlices.meta
		d.read = d.slice
		return d.meta(meta)
	}
	d.read = d.bundle
	if d.shards = int(m.integer(1)); d.shards < 1 || d.shards > maxShards { // BundleHeaderProto
		return invalid("", "it says that it has %d files of numbers", m.integer(1))
	}
	if m.integer(2) != 0 {
		return &UnsupportedError{Reason: "numbers stored in the byte order of a big-endian machine"}
	}
	return nil
}

// The numbers of DataType.
var kinds = map[int64]struct {
	name string
	kind floats.Kind
}{1: {"float32", floats.F32}, 2: {"float64", floats.F64}, 14: {"bfloat16", floats.BF16}, 19: {"float16", floats.F16}}

// elements counts the values of a shape, at most limit.
func elements(name string, shape []int, limit int64) (int, error) {
	n := uint64(1)
	for _, s := range shape {
		hi, lo := bits.Mul64(n, uint64(s))
		if n = lo; hi != 0 || n > uint64(limit) {
			return 0, invalid(name, "shape %v is too large for a file of this size", shape)
		}
	}
	return int(n), nil
}

// bundleEntry is a variable of the present format.
type bundleEntry struct {
	name string
	variable
	shard        int
	offset, size int64
	sum          uint32
}

// bundle takes a BundleEntryProto.
func (d *decoder) bundle(key string, value []byte) error {
	m, err := parse(value)
	if err != nil {
		return err
	}
	e := bundleEntry{name: key, shard: int(m.integer(3)), offset: m.integer(4), size: m.integer(5), sum: m.fixed(6)}
	if e.dtype = m.integer(1); kinds[e.dtype].name == "" {
		return nil // a counter, a text
	}
	if shape, ok := m.message(2); ok {
		if e.shape, err = parseShape(key, shape); err != nil {
			return err
		}
	}
	if m.has(7) {
		return &UnsupportedError{key, "it is saved in several parts"}
	}
	if e.shard < 0 || e.shard >= d.shards || e.offset < 0 || e.size < 0 || len(d.entries) == maxTensors {
		return invalid(key, "its place is byte %d of file %d, of %d files", e.offset, e.shard, d.shards)
	}
	d.entries = append(d.entries, e)
	return nil
}

// load reads the numbers of the present format, in the order in which they lie.
func (d *decoder) load() error {
	files := map[int]*io.SectionReader{}
	unread := int64(0) // bytes that variables may still take: they could all name the same
	values := make([][]float32, len(d.entries))
	for i, e := range d.entries {
		f := files[e.shard]
		if f == nil {
			var err error
			if f, err = d.data(e.shard, d.shards); err != nil {
				return err
			}
			files[e.shard] = f
			unread += f.Size()
		}
		kind := kinds[e.dtype].kind
		n, err := elements(e.name, e.shape, f.Size())
		if err != nil {
			return err
		}
		if int64(n)*int64(kind.Size()) != e.size {
			return invalid(e.name, "shape %v of %s does not fit its %d bytes", e.shape, kinds[e.dtype].name, e.size)
		}
		if e.offset > f.Size() || e.size > f.Size()-e.offset {
			return invalid(e.name, "its numbers lie at bytes %d to %d, but the file has %d: it is truncated, fetch it again", e.offset, e.offset+e.size, f.Size())
		}
		if unread -= e.size; unread < 0 {
			return invalid(e.name, "the variables together are larger than the files: they overlap")
		}
		values[i] = make([]float32, n)
		sum := crc32.New(castagnoli())
		if err := kind.Read(io.TeeReader(io.NewSectionReader(f, e.offset, e.size), sum), values[i]); err != nil {
			return readError(e.name, "reading its numbers", err)
		}
		if masked(sum.Sum32()) != e.sum {
			return invalid(e.name, "the checksum of its numbers is not that of the index: the file is damaged, fetch it again")
		}
	}
	for i, e := range d.entries {
		if err := d.set.Add(e.name, e.shape, values[i]); err != nil {
			return invalid("", "%v", err)
		}
	}
	return nil
}

// meta takes a SavedTensorSliceMeta.
func (d *decoder) meta(m message) error {
	d.declared = map[string]variable{}
	for _, f := range m {
		if f.number != 1 {
			continue
		}
		tensor, err := f.message()
		if err != nil {
			return err
		}
		name := tensor.text(1)
		v := variable{dtype: tensor.integer(3)}
		if shape, ok := tensor.message(2); ok {
			if v.shape, err = parseShape(name, shape); err != nil {
				return err
			}
		}
		if len(name) > maxName || len(d.declared) == maxTensors {
			return invalid("", "it declares %d variables, one of them with a name of %d bytes", len(d.declared), len(name))
		}
		if kinds[v.dtype].name == "" {
			continue
		}
		for _, f := range tensor {
			if f.number != 4 {
				continue
			}
			if slice, err := f.message(); err != nil || partial(slice) {
				return &UnsupportedError{name, "it is saved in several parts"}
			}
		}
		d.declared[name] = v
	}
	return nil
}

// partial says that a TensorSliceProto is not a whole tensor.
func partial(slice message) bool {
	for _, f := range slice {
		if extent, err := f.message(); err != nil || f.number == 1 && len(extent) > 0 {
			return true
		}
	}
	return false
}

// slice takes a SavedTensorSlices with the numbers of a variable.
func (d *decoder) slice(_ string, value []byte) error {
	m, err := parse(value)
	if err != nil {
		return err
	}
	saved, _ := m.message(2)
	name := saved.text(1)
	v, ok := d.declared[name]
	if !ok {
		return nil // a counter, a text
	}
	data, _ := saved.message(3)
	n, err := elements(name, v.shape, int64(len(value)))
	if err != nil {
		return err
	}
	values, err := data.numbers(name, v.dtype, n)
	if err != nil {
		return err
	}
	if err := d.set.Add(name, slices.Clone(v.shape), values); err != nil {
		return invalid("", "%v", err)
	}
	return nil
}
