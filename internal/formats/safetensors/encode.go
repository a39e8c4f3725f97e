package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"stylenet/internal/weights"
)

// Encode writes the set as one file, its numbers rounded to dtype (F32, F16
// or BF16; to nearest, ties to even), its tensors in the order of the set.
// Equal arguments give equal bytes. A finite value that dtype cannot hold, a
// name or text that is not UTF-8, and a header beyond the format's limit are
// errors; w may then hold part of a file.
func Encode(w io.Writer, set *weights.Set, metadata map[string]string, dtype DType) error {
	kind, ok := dtype.kind()
	if !ok || dtype != F32 && dtype != F16 && dtype != BF16 {
		return fmt.Errorf("safetensors: cannot write number type %q: use %s, %s or %s", dtype, F32, F16, BF16)
	}
	header, err := makeHeader(set, metadata, dtype, kind.Size())
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("safetensors: writing the header: %w", err)
	}
	var buf []byte
	for _, t := range set.Tensors() {
		for rest := t.Data; len(rest) > 0; {
			part := rest[:min(len(rest), 1<<16)]
			buf = kind.Encode(buf[:0], part)
			if i := kind.Overflow(part, buf); i >= 0 {
				return fmt.Errorf("safetensors: tensor %q: the value %g is beyond the range of %s: write F32", t.Name, part[i], dtype)
			}
			if _, err := w.Write(buf); err != nil {
				return fmt.Errorf("safetensors: tensor %q: writing its data: %w", t.Name, err)
			}
			rest = rest[len(part):]
		}
	}
	return nil
}

// makeHeader returns the length, the JSON and its padding. The JSON is put
// together by hand because a Go map would lose the order of the tensors.
func makeHeader(set *weights.Set, metadata map[string]string, dtype DType, size int) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	comma := byte('{')
	if len(metadata) > 0 {
		for k, v := range metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, fmt.Errorf("safetensors: metadata %q is not UTF-8", k)
			}
		}
		fmt.Fprintf(&b, `{"%s":%s`, metadataKey, marshal(metadata))
		comma = ','
	}
	offset := 0
	for _, t := range set.Tensors() {
		switch {
		case t.Name == metadataKey, len(t.Name) > maxName, !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("safetensors: tensor %q: the format does not allow this name", shorten(t.Name))
		case len(t.Shape) > maxRank:
			return nil, fmt.Errorf("safetensors: tensor %q: %d dimensions are too many, the limit is %d", t.Name, len(t.Shape), maxRank)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{} // a scalar is [], not null
		}
		end := offset + len(t.Data)*size
		fmt.Fprintf(&b, `%c%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, comma, marshal(t.Name), dtype, marshal(shape), offset, end)
		comma, offset = ',', end
	}
	if comma == '{' {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	header := b.Bytes()
	if len(header)-8 > maxHeader {
		return nil, fmt.Errorf("safetensors: the header has %d bytes, the limit is %d: shorten the metadata", len(header)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, nil
}

// marshal is json.Marshal for strings, lists of numbers and maps of strings,
// which cannot fail. encoding/json sorts the keys of a map.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
