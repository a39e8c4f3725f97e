package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"

	"stylenet/internal/formats/floats"
	"stylenet/internal/weights"
)

// entry is one tensor as the header describes it. Offsets count bytes from
// the end of the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end uint64
}

// Decode reads a whole file of size bytes. The tensors come in the order of
// their data, as float32; the map is the header's __metadata__, nil where
// there is none. Errors are a *FormatError, an *UnsupportedError, or what r
// returned. Nothing is allocated that the file does not have bytes for.
func Decode(r io.ReaderAt, size int64) (*weights.Set, map[string]string, error) {
	var length [8]byte
	if size < int64(len(length)) {
		return nil, nil, invalid("", "%d bytes are too few for a header", size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, nil, readError("", "the header's length", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader {
		return nil, nil, invalid("", "the header claims %d bytes, the limit is %d", n, maxHeader)
	}
	if n > uint64(size)-8 {
		return nil, nil, invalid("", "the header claims %d bytes, the file has %d: it is truncated or no safetensors file", n, size-8)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, 8, int64(n)), header); err != nil {
		return nil, nil, readError("", "the header", err)
	}
	entries, metadata, err := parseHeader(header)
	if err != nil {
		return nil, nil, err
	}
	data := io.NewSectionReader(r, 8+int64(n), size-8-int64(n))
	if err := checkLayout(entries, uint64(data.Size())); err != nil {
		return nil, nil, err
	}
	set := &weights.Set{}
	for _, e := range entries {
		kind, _ := e.dtype.kind()
		values := make([]float32, (e.end-e.begin)/uint64(kind.Size()))
		// The layout has no gaps, so data stands at e.begin.
		if err := kind.Read(data, values); err != nil {
			return nil, nil, readError(e.name, "its data", err)
		}
		if err := set.Add(e.name, e.shape, values); err != nil {
			return nil, nil, invalid("", "%v", err)
		}
	}
	return set, metadata, nil
}

// checkLayout sorts the entries by offset and checks that each covers exactly
// its shape, and that together they cover the size bytes of data once.
func checkLayout(entries []entry, size uint64) error {
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var at uint64
	for _, e := range entries {
		kind, ok := e.dtype.kind()
		if !ok {
			return &UnsupportedError{Tensor: e.name, DType: e.dtype}
		}
		if e.end < e.begin {
			return invalid(e.name, "its data ends at %d, before its begin at %d", e.end, e.begin)
		}
		want, ok := byteLength(e.shape, kind)
		if !ok || want != e.end-e.begin {
			return invalid(e.name, "shape %v of %s does not fit the %d bytes from %d to %d", e.shape, e.dtype, e.end-e.begin, e.begin, e.end)
		}
		if e.begin < at {
			return invalid(e.name, "its data begins at %d, inside the tensor before it, which ends at %d", e.begin, at)
		}
		if e.begin > at {
			return invalid(e.name, "its data begins at %d, a gap after the tensor before it, which ends at %d", e.begin, at)
		}
		if e.end > size {
			return invalid(e.name, "its data ends at byte %d, the file holds %d: it is truncated, fetch it again", e.end, size)
		}
		at = e.end
	}
	if at != size {
		return invalid("", "%d bytes after the last tensor belong to none", size-at)
	}
	return nil
}

// byteLength returns the bytes that a shape needs, or false on overflow.
func byteLength(shape []int, kind floats.Kind) (uint64, bool) {
	n := uint64(kind.Size())
	for _, d := range shape {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 {
			return 0, false
		}
		n = lo
	}
	return n, true
}

// parseHeader reads the header token by token, since encoding/json alone
// would accept duplicate keys, unknown keys and other spellings of keys.
func parseHeader(header []byte) ([]entry, map[string]string, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, invalid("", "the header does not begin with '{': this is no safetensors file")
	}
	if !utf8.Valid(header) {
		return nil, nil, invalid("", "the header is not UTF-8")
	}
	p := &parser{json.NewDecoder(bytes.NewReader(header))}
	p.UseNumber()
	var entries []entry
	var metadata map[string]string
	err := p.object("", "the header", func(key string) error {
		if key == metadataKey {
			metadata = make(map[string]string)
			return p.object("", metadataKey, func(key string) (err error) {
				metadata[key], err = p.text("", "the metadata's "+strconv.Quote(shorten(key)))
				return err
			})
		}
		if key == "" || len(key) > maxName {
			return invalid("", "a tensor's name has %d bytes, allowed are 1 to %d", len(key), maxName)
		}
		e, err := p.entry(key)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if len(bytes.Trim(header[p.InputOffset():], " ")) > 0 {
		return nil, nil, invalid("", "the header goes on after its closing '}'")
	}
	return entries, metadata, nil
}

// shorten bounds what a key can put into an error message.
func shorten(key string) string {
	if len(key) > maxName {
		return key[:maxName] + "…"
	}
	return key
}

type parser struct{ *json.Decoder }

// next returns the next token, or a FormatError.
func (p *parser) next(tensor, what string) (json.Token, error) {
	t, err := p.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, invalid(tensor, "%s is broken JSON: %v", what, err)
	}
	return t, nil
}

// object reads an object and calls value for each key, to read its value.
func (p *parser) object(tensor, what string, value func(key string) error) error {
	t, err := p.next(tensor, what)
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return invalid(tensor, "%s must be a JSON object", what)
	}
	seen := make(map[string]bool)
	for p.More() {
		t, err := p.next(tensor, what)
		if err != nil {
			return err
		}
		key := t.(string) // Token refuses any other key
		if seen[key] {
			return invalid(tensor, "key %q appears twice in %s", shorten(key), what)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	_, err = p.next(tensor, what)
	return err
}

func (p *parser) text(tensor, what string) (string, error) {
	t, err := p.next(tensor, what)
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", invalid(tensor, "%s must be a string", what)
	}
	return s, nil
}

// numbers reads an array of at most limit unsigned integers.
func (p *parser) numbers(tensor, what string, limit int) ([]uint64, error) {
	t, err := p.next(tensor, what)
	if err != nil {
		return nil, err
	}
	if t != json.Delim('[') {
		return nil, invalid(tensor, "%s must be an array", what)
	}
	list := []uint64{}
	for p.More() {
		if len(list) == limit {
			return nil, invalid(tensor, "%s has more than %d numbers", what, limit)
		}
		t, err := p.next(tensor, what)
		if err != nil {
			return nil, err
		}
		n, _ := t.(json.Number)
		u, err := strconv.ParseUint(n.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, invalid(tensor, "%s must hold unsigned integers of at most %d bits", what, strconv.IntSize-1)
		}
		list = append(list, u)
	}
	_, err = p.next(tensor, what)
	return list, err
}

// entry reads {"dtype": …, "shape": […], "data_offsets": [begin, end]}.
func (p *parser) entry(name string) (entry, error) {
	e := entry{name: name}
	keys := 0
	err := p.object(name, "its entry", func(key string) error {
		keys++
		switch key {
		case "dtype":
			s, err := p.text(name, key)
			if len(s) > maxName {
				return invalid(name, "dtype has %d characters", len(s))
			}
			e.dtype = DType(s)
			return err
		case "shape":
			shape, err := p.numbers(name, key, maxRank)
			e.shape = make([]int, len(shape))
			for i, d := range shape {
				e.shape[i] = int(d)
			}
			return err
		case "data_offsets":
			offsets, err := p.numbers(name, key, 2)
			if err != nil {
				return err
			}
			if len(offsets) != 2 {
				return invalid(name, "data_offsets must be two numbers, begin and end")
			}
			e.begin, e.end = offsets[0], offsets[1]
			return nil
		}
		return invalid(name, "unknown key %q", shorten(key))
	})
	if err == nil && keys != 3 {
		err = invalid(name, "its entry needs dtype, shape and data_offsets")
	}
	return e, err
}
