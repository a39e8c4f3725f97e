package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"stylenet/internal/formats/onnx/onnxpb"
)

// maxExternal bounds the bytes of all files beside one.
const maxExternal = maxFile

// external reads the numbers of initialisers that lie in files beside the model,
// as PyTorch's exporter writes them, and returns how many bytes there were.
func external(p *onnxpb.GraphProto, open func(location string) (*io.SectionReader, error)) (read int64, err error) {
	files := map[string]*io.SectionReader{}
	unread := int64(0) // bytes that tensors may still take: they could all name the same
	for _, t := range p.GetInitializer() {
		if !isExternal(t) || open == nil {
			continue
		}
		e, err := extentOf(t)
		if err != nil {
			return 0, err
		}
		f := files[e.location]
		if f == nil {
			if f, err = open(e.location); err != nil {
				return 0, fmt.Errorf("onnx: tensor %.200q lies in another file: %w", t.GetName(), err)
			}
			files[e.location] = f
			unread += f.Size()
		}
		if e.offset > f.Size() || e.length > f.Size()-e.offset {
			return 0, invalid("tensor %.200q lies at bytes %d to %d of %.200q, which has %d: it is truncated, or another model's", t.GetName(), e.offset, e.offset+e.length, e.location, f.Size())
		}
		if unread -= e.length; unread < 0 {
			return 0, invalid("its tensors are together larger than the files that they lie in: they overlap")
		}
		if read += e.length; read > maxExternal {
			return 0, unsupported("its tensors have more than %d MiB", maxExternal>>20)
		}
		raw := make([]byte, e.length)
		if _, err := io.ReadFull(io.NewSectionReader(f, e.offset, e.length), raw); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return 0, invalid("tensor %.200q: %.200q ends too early: it is truncated, fetch it again", t.GetName(), e.location)
			}
			return 0, fmt.Errorf("onnx: tensor %.200q: %w", t.GetName(), err)
		}
		t.RawData, t.ExternalData, t.DataLocation = raw, nil, nil
	}
	return read, nil
}

func isExternal(p *onnxpb.TensorProto) bool {
	return len(p.GetExternalData()) > 0 || p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL
}

// extent is where a tensor lies in another file.
type extent struct {
	location       string
	offset, length int64
}

func extentOf(t *onnxpb.TensorProto) (p extent, err error) {
	dims := make([]int, len(t.GetDims()))
	for i, d := range t.GetDims() {
		dims[i] = int(min(max(d, -1), maxElements+1))
	}
	dtype := onnxpb.TensorProto_DataType(t.GetDataType())
	size := integerBytes(dtype)
	if isFloat(dtype) {
		size = floatKind(dtype).Size()
	}
	n := elements(dims)
	if n < 0 || size == 0 || len(dims) > maxRank {
		return p, invalid("tensor %.200q of %s has the shape %v", t.GetName(), typeName(dtype), clip(t.GetDims()))
	}
	p.length = int64(n) * int64(size)
	for _, e := range t.GetExternalData() {
		switch e.GetKey() {
		case "location":
			p.location = e.GetValue()
		case "offset", "length":
			v, err := strconv.ParseInt(e.GetValue(), 10, 64)
			if err != nil || v < 0 {
				return p, invalid("tensor %.200q has the %s %.40q in another file", t.GetName(), e.GetKey(), e.GetValue())
			}
			if e.GetKey() == "offset" {
				p.offset = v
			} else if v != p.length {
				return p, invalid("tensor %.200q has the shape %v, %d bytes, but takes %d of another file", t.GetName(), dims, p.length, v)
			}
		}
	}
	if !fs.ValidPath(p.location) || p.location == "." || len(p.location) > 1<<10 {
		return p, invalid("tensor %.200q lies in the file %.200q, which is not in the model's folder", t.GetName(), p.location)
	}
	return p, nil
}
