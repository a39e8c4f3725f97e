package metadata

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// byteOrder is that of a TIFF structure.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// tiff is a TIFF structure (TIFF 6.0, section 2): a TIFF file, or EXIF.
type tiff struct {
	b     []byte
	order byteOrder
}

// openTIFF returns the structure and the offset of its first directory.
func openTIFF(b []byte) (t tiff, first uint32, ok bool) {
	if len(b) < 8 {
		return tiff{}, 0, false
	}
	switch string(b[:4]) {
	case "II*\x00":
		t = tiff{b, binary.LittleEndian}
	case "MM\x00*":
		t = tiff{b, binary.BigEndian}
	default:
		return tiff{}, 0, false
	}
	return t, t.order.Uint32(b[4:]), true
}

// field is one entry of a directory as it stands in a file.
type field struct {
	tag, kind uint16
	count     uint32
	at        int    // offset of the value
	value     []byte // in the file's byte order
}

// fields calls f for the fields of the directory at an offset, until it returns
// false. Those whose values are not in the file are left out.
func (t tiff) fields(at uint32, f func(field) bool) {
	if int64(at)+2 > int64(len(t.b)) {
		return
	}
	n := int(t.order.Uint16(t.b[at:]))
	for pos := int(at) + 2; n > 0 && pos+12 <= len(t.b); n, pos = n-1, pos+12 {
		e := t.b[pos:]
		v := field{tag: t.order.Uint16(e), kind: t.order.Uint16(e[2:]), count: t.order.Uint32(e[4:]), at: pos + 8}
		size := kindSize(v.kind) * int64(v.count)
		if size > 4 {
			v.at = int(t.order.Uint32(e[8:]))
		}
		if size == 0 || int64(v.at)+size > int64(len(t.b)) {
			continue
		}
		v.value = t.b[v.at : v.at+int(size)]
		if !f(v) {
			return
		}
	}
}

// The kinds of values that are named here.
const (
	kindShort     = 3
	kindLong      = 4
	kindRational  = 5
	kindUndefined = 7
	kindIFD       = 13
)

// kindSize is the size in bytes of one value, 0 of a kind that is not known.
func kindSize(kind uint16) int64 {
	switch kind {
	case 1, 2, 6, kindUndefined:
		return 1
	case kindShort, 8:
		return 2
	case kindLong, 9, 11, kindIFD:
		return 4
	case kindRational, 10, 12:
		return 8
	}
	return 0
}

// number returns the value of a field of one SHORT, LONG or offset.
func (t tiff) number(f field) (v uint32, ok bool) {
	switch {
	case f.count != 1:
		return 0, false
	case f.kind == kindShort:
		return uint32(t.order.Uint16(f.value)), true
	case f.kind == kindLong, f.kind == kindIFD:
		return t.order.Uint32(f.value), true
	}
	return 0, false
}

// entry is a field of a directory that is to be written.
type entry struct {
	tag, kind uint16
	count     uint32
	value     []byte // in the byte order of the structure; nil where there is a dir
	pin       int    // the offset that the value has to stand at, or 0
	dir       directory
}

// directory is a list of entries, one for each tag.
type directory []entry

// get returns the entry of a tag, or nil.
func (d directory) get(tag uint16) *entry {
	if i := slices.IndexFunc(d, func(e entry) bool { return e.tag == tag }); i >= 0 {
		return &d[i]
	}
	return nil
}

// writer lays a structure out.
type writer struct {
	order         byteOrder
	next          int // the first free offset
	pinAt, pinEnd int // what is not free behind it
	values        []placed
}

type placed struct {
	at    int
	value []byte
}

// encode returns the structure whose first directory is root. A value that is
// pinned stands at its offset; there may be one.
func (d directory) encode(order byteOrder) []byte {
	w := &writer{order: order, next: 8}
	w.findPin(d)
	first := w.place(d)
	b := make([]byte, max(w.next, w.pinEnd))
	head := append([]byte(nil), "II*\x00"...)
	if order == byteOrder(binary.BigEndian) {
		head = append(head[:0], "MM\x00*"...)
	}
	copy(b, order.AppendUint32(head, uint32(first)))
	for _, v := range w.values {
		copy(b[v.at:], v.value)
	}
	return b
}

func (w *writer) findPin(d directory) {
	for _, e := range d {
		if e.pin > 0 {
			w.pinAt, w.pinEnd = e.pin, e.pin+len(e.value)
		}
		w.findPin(e.dir)
	}
}

// alloc finds room for n bytes, at an even offset as TIFF asks.
func (w *writer) alloc(n int) int {
	at := w.next + w.next%2
	if at < w.pinEnd && at+n > w.pinAt {
		at = w.pinEnd + w.pinEnd%2
	}
	w.next = at + n
	return at
}

// place puts a directory and what it points to in their places.
func (w *writer) place(d directory) int {
	d = slices.Clone(d)
	slices.SortFunc(d, func(a, b entry) int { return cmp.Compare(a.tag, b.tag) })
	at := w.alloc(2 + 12*len(d) + 4)
	table := w.order.AppendUint16(nil, uint16(len(d)))
	for _, e := range d {
		if e.dir != nil {
			e.kind, e.count, e.value = kindLong, 1, w.order.AppendUint32(nil, uint32(w.place(e.dir)))
		}
		table = w.order.AppendUint16(table, e.tag)
		table = w.order.AppendUint16(table, e.kind)
		table = w.order.AppendUint32(table, e.count)
		if len(e.value) <= 4 {
			table = append(table, e.value...)
			table = append(table, make([]byte, 4-len(e.value))...)
			continue
		}
		to := e.pin
		if to == 0 {
			to = w.alloc(len(e.value))
		}
		w.values = append(w.values, placed{to, e.value})
		table = w.order.AppendUint32(table, uint32(to))
	}
	// No directory follows: that of the thumbnail.
	w.values = append(w.values, placed{at, w.order.AppendUint32(table, 0)})
	return at
}
