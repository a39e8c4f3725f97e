package pth

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unicode/utf8"

	"stylenet/internal/formats/floats"
	"stylenet/internal/weights"
)

const (
	// folder is what all records of a file lie in. PyTorch takes any name.
	folder = "archive/"
	// alignment is that of a storage's bytes in the file, which lets PyTorch map
	// them.
	alignment = 64
)

// Encode writes the set as torch.save writes a state_dict of tensors on the CPU:
// an OrderedDict in the zip format of PyTorch 1.6, whose pickle makes no calls but
// those that torch.load allows with weights_only=True. Numbers are rounded to kind
// (floats.F32, F16 or BF16; to nearest, ties to even), tensors come in the order of
// the set. Equal arguments give equal bytes.
//
// A finite value that kind cannot hold and a name that is not UTF-8 are errors; w
// may then hold part of a file.
func Encode(w io.Writer, set *weights.Set, kind floats.Kind) error {
	pickle, err := stateDict(set, kind)
	if err != nil {
		return err
	}
	z := &zipWriter{w: &counter{w: w}}
	z.zip = zip.NewWriter(z.w)
	z.record("data.pkl", pickle)
	z.record("byteorder", []byte("little"))
	for i, t := range set.Tensors() {
		raw := kind.Encode(make([]byte, 0, kind.Size()*len(t.Data)), t.Data)
		if k := kind.Overflow(t.Data, raw); k >= 0 {
			return fmt.Errorf("pytorch: tensor %q: the value %g is beyond the range of %s: write float32", t.Name, t.Data[k], kind)
		}
		z.record(fmt.Sprintf("data/%d", i), raw)
	}
	z.record("version", []byte("3\n"))
	if z.err == nil {
		z.err = z.zip.Close()
	}
	if z.err != nil {
		return fmt.Errorf("pytorch: writing the file: %w", z.err)
	}
	return nil
}

// storageName is PyTorch's class of a storage of such numbers.
func storageName(kind floats.Kind) (string, bool) {
	for _, name := range []string{"FloatStorage", "HalfStorage", "BFloat16Storage"} {
		if t, _ := storageTypeOf(name); t.kind == kind {
			return name, true
		}
	}
	return "", false
}

// stateDict is the pickle of an OrderedDict of tensors, storage i being that of
// tensor i.
func stateDict(set *weights.Set, kind floats.Kind) ([]byte, error) {
	class, ok := storageName(kind)
	if !ok {
		return nil, fmt.Errorf("pytorch: cannot write numbers of %s", kind)
	}
	var p pickler
	p.WriteString("\x80\x02") // protocol 2
	p.orderedDict()
	p.WriteByte('(')
	for i, t := range set.Tensors() {
		if !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("pytorch: tensor %q: its name is not UTF-8", t.Name)
		}
		p.text(t.Name)
		p.global("torch._utils", "_rebuild_tensor_v2")
		p.WriteByte('(')
		// The storage, which an unpickler asks its owner for: it lies beside.
		p.WriteByte('(')
		p.text("storage")
		p.global("torch", class)
		p.text(fmt.Sprint(i))
		p.text("cpu")
		p.integer(len(t.Data))
		p.WriteString("tQ")
		p.integer(0) // the tensor's first value
		strides := make([]int, len(t.Shape))
		step := 1
		for d := len(strides) - 1; d >= 0; d-- {
			strides[d] = step
			step *= t.Shape[d]
		}
		p.integers(t.Shape)
		p.integers(strides)
		p.WriteByte(0x89) // it needs no gradient
		p.orderedDict()   // no hooks
		p.WriteString("tR")
	}
	p.WriteString("u.")
	return p.Bytes(), nil
}

// pickler appends opcodes of the pickle protocol 2.
type pickler struct{ bytes.Buffer }

func (p *pickler) global(module, name string) { fmt.Fprintf(p, "c%s\n%s\n", module, name) }

func (p *pickler) orderedDict() {
	p.global("collections", "OrderedDict")
	p.WriteString(")R")
}

func (p *pickler) text(s string) {
	p.WriteByte('X')
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
}

func (p *pickler) integer(n int) {
	if n <= math.MaxInt32 {
		p.WriteByte('J')
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
		return
	}
	p.WriteString("\x8a\x08") // LONG1 of 8 bytes
	p.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func (p *pickler) integers(values []int) {
	p.WriteByte('(')
	for _, v := range values {
		p.integer(v)
	}
	p.WriteByte('t')
}

// zipWriter appends records that are stored as they are, each aligned. The first
// error stays.
type zipWriter struct {
	zip *zip.Writer
	w   *counter
	err error
}

func (z *zipWriter) record(name string, data []byte) {
	if z.err != nil {
		return
	}
	if z.err = z.zip.Flush(); z.err != nil {
		return
	}
	h := &zip.FileHeader{
		Name: folder + name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data),
		CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data)),
	}
	// A local header has 30 bytes besides the name. The extra field that fills up
	// has a header of 4, with the tag that PyTorch gives it.
	const local, tag = 30, 4
	fill := int((alignment - (z.w.n+local+int64(len(h.Name))+tag)%alignment) % alignment)
	h.Extra = append(binary.LittleEndian.AppendUint16([]byte("FB"), uint16(fill)), bytes.Repeat([]byte("Z"), fill)...)
	w, err := z.zip.CreateRaw(h)
	if err == nil {
		_, err = w.Write(data)
	}
	z.err = err
}

// counter counts the bytes that have been written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
