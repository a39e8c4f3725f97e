package tensorflow

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"stylenet/internal/formats/floats"
)

// message is a message of protobuf, of which few are read: field by field.
type message []field

type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte // a part of the message
}

// maxFields bounds what a message takes in memory.
const maxFields = 1 << 16

func parse(b []byte) (message, error) {
	var m message
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || len(m) == maxFields {
			return nil, invalid("", "a message in it is broken")
		}
		b = b[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.value = uint64(v)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = -1 // groups, which nobody writes
		}
		if n < 0 {
			return nil, invalid("", "a message in it is broken")
		}
		m, b = append(m, f), b[n:]
	}
	return m, nil
}

func (f field) message() (message, error) {
	if f.kind != protowire.BytesType {
		return nil, invalid("", "a message in it is broken")
	}
	return parse(f.bytes)
}

// find returns the last field of that number, which is the one that counts.
func (m message) find(number protowire.Number) (field, bool) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].number == number {
			return m[i], true
		}
	}
	return field{}, false
}

func (m message) has(number protowire.Number) bool { _, ok := m.find(number); return ok }

func (m message) integer(number protowire.Number) int64 {
	f, _ := m.find(number)
	return int64(f.value)
}

func (m message) fixed(number protowire.Number) uint32 {
	f, _ := m.find(number)
	return uint32(f.value)
}

func (m message) text(number protowire.Number) string {
	f, _ := m.find(number)
	return string(f.bytes)
}

// message returns a field that is a message; a broken one is none.
func (m message) message(number protowire.Number) (message, bool) {
	f, ok := m.find(number)
	if !ok {
		return nil, false
	}
	inner, err := f.message()
	return inner, err == nil
}

// parseShape reads a TensorShapeProto.
func parseShape(name string, m message) ([]int, error) {
	shape := []int{}
	for _, f := range m {
		if f.number != 2 {
			continue
		}
		dim, err := f.message()
		if err != nil {
			return nil, err
		}
		size := dim.integer(1)
		if size < 0 || size > math.MaxInt32 || len(shape) == maxRank {
			return nil, invalid(name, "its shape %v goes on with %d", shape, size)
		}
		shape = append(shape, int(size))
	}
	return shape, nil
}

// numbers reads the n numbers of a TensorProto, which may lie in several fields.
func (m message) numbers(name string, dtype int64, n int) ([]float32, error) {
	values := make([]float32, 0, n)
	add := func(kind floats.Kind, b []byte) {
		count := min(len(b)/kind.Size(), n-len(values))
		at := len(values)
		values = values[:at+count]
		kind.Decode(values[at:], b)
	}
	total := 0
	for _, f := range m {
		switch {
		case f.number == 4: // tensor_content: all as they are in memory
			kind := kinds[dtype].kind
			total += len(f.bytes) / kind.Size()
			add(kind, f.bytes)
		case f.number == 5 && dtype == 1: // float_val
			b := f.bytes
			if f.kind == protowire.Fixed32Type {
				b = binary.LittleEndian.AppendUint32(nil, uint32(f.value))
			}
			total += len(b) / 4
			add(floats.F32, b)
		case f.number == 6 && dtype == 2: // double_val
			b := f.bytes
			if f.kind == protowire.Fixed64Type {
				b = binary.LittleEndian.AppendUint64(nil, f.value)
			}
			total += len(b) / 8
			add(floats.F64, b)
		case f.number == 13: // half_val: 16 bits of half and brain floats
			for b := f.bytes; len(b) > 0; {
				v, size := protowire.ConsumeVarint(b)
				if size < 0 {
					return nil, invalid(name, "its numbers are broken")
				}
				total++
				add(kinds[dtype].kind, binary.LittleEndian.AppendUint16(nil, uint16(v)))
				b = b[size:]
			}
		}
	}
	if total != n {
		return nil, invalid(name, "it has %d numbers, not %d", total, n)
	}
	return values, nil
}
