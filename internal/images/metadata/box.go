package metadata

import (
	"encoding/binary"
	"errors"
	"slices"
)

// box is one box of ISO/IEC 14496-12: a length, a type of four letters, and its
// content.
type box struct {
	kind    string
	content []byte
	at      int // offset of the content in what was split
}

// maxBoxes is how many boxes in a row are looked at. The longest row of a picture
// is that of its items, of which a grid has one for each tile.
const maxBoxes = 1 << 12

// boxes splits a sequence of boxes. It ends at the first one that is broken.
func boxes(b []byte) []box {
	var all []box
	for at := 0; len(b)-at >= 8 && len(all) < maxBoxes; {
		head, size := 8, uint64(binary.BigEndian.Uint32(b[at:]))
		switch size {
		case 0: // to the end
			size = uint64(len(b) - at)
		case 1: // a long one
			if len(b)-at < 16 {
				return all
			}
			head, size = 16, binary.BigEndian.Uint64(b[at+8:])
		}
		if size < uint64(head) || size > uint64(len(b)-at) {
			return all
		}
		all = append(all, box{string(b[at+4 : at+8]), b[at+head : at+int(size)], at + head})
		at += int(size)
	}
	return all
}

// first returns the content of the first box of a kind, nil where there is none.
func first(all []box, kind string) []byte {
	if i := slices.IndexFunc(all, func(b box) bool { return b.kind == kind }); i >= 0 {
		return all[i].content
	}
	return nil
}

// appendBox writes a box.
func appendBox(out []byte, kind string, content ...[]byte) []byte {
	size := 8
	for _, c := range content {
		size += len(c)
	}
	out = append(binary.BigEndian.AppendUint32(out, uint32(size)), kind...)
	for _, c := range content {
		out = append(out, c...)
	}
	return out
}

var errBox = errors.New("a box of the AVIF file is too short")

// cursor reads numbers. Past the end it reads zeros and fails.
type cursor struct {
	b   []byte
	bad bool
}

// uint reads a number of n bytes, big-endian.
func (c *cursor) uint(n int) uint64 {
	if n > len(c.b) {
		c.b, c.bad = nil, true
		return 0
	}
	var v uint64
	for _, b := range c.b[:n] {
		v = v<<8 | uint64(b)
	}
	c.b = c.b[n:]
	return v
}

// full reads the version and the flags of a full box.
func (c *cursor) full() (version byte, flags uint32) {
	v := c.uint(4)
	return byte(v >> 24), uint32(v & 0xffffff)
}
