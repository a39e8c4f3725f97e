package tensorflow

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A table (https://github.com/google/leveldb/blob/main/doc/table_format.md) is a
// list of blocks, an index of them, and a footer. A block is a list of entries,
// each of which shares the beginning of its key with the one before.
const (
	magic      = "\x57\xfb\x80\x8b\x24\x75\x47\xdb"
	footerSize = 48
	// trailerSize is that of the type and the checksum behind each block.
	trailerSize = 5
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// masked is how a checksum is stored, so that files of checksums have others.
func masked(sum uint32) uint32 { return (sum>>15 | sum<<17) + 0xa282ead8 }

// readTable calls visit for each entry of a table of size bytes, in order. It
// holds one block at a time.
func readTable(r io.ReaderAt, size int64, visit func(key string, value []byte) error) error {
	if size > maxTable {
		return &UnsupportedError{Reason: "a table of more than 1 GiB"}
	}
	if size < footerSize {
		return invalid("", "%d bytes are too few for a table", size)
	}
	footer := make([]byte, footerSize)
	if _, err := r.ReadAt(footer, size-footerSize); err != nil {
		return readError("", "reading the end of its table", err)
	}
	if !Sniff(footer) {
		return invalid("", "it does not end as a table does: it is truncated or no checkpoint")
	}
	rest := footer
	if _, ok := handle(&rest); !ok { // the index of meta blocks, which are not written
		return invalid("", "the footer of its table is broken")
	}
	at, ok := handle(&rest)
	if !ok {
		return invalid("", "the footer of its table is broken")
	}
	t := &table{r: r, size: size - footerSize}
	index, err := t.block(at)
	if err != nil {
		return err
	}
	// Blocks that follow each other are together no larger than the file.
	next, seen := int64(0), 0
	counted := func(key string, value []byte) error {
		if seen++; seen > 2*maxTensors {
			return &UnsupportedError{Reason: "a table of many thousand entries"}
		}
		return visit(key, value)
	}
	return entries(index, func(_ string, value []byte) error {
		at, ok := handle(&value)
		if !ok || at.offset < next {
			return invalid("", "the index of its table is broken")
		}
		next = at.offset + at.size
		b, err := t.block(at)
		if err != nil {
			return err
		}
		return entries(b, counted)
	})
}

type table struct {
	r    io.ReaderAt
	size int64 // without the footer
}

// place is where a block lies.
type place struct{ offset, size int64 }

// handle takes a place off the front of b.
func handle(b *[]byte) (p place, ok bool) {
	for _, to := range []*int64{&p.offset, &p.size} {
		v, n := binary.Uvarint(*b)
		if n <= 0 || v > maxTable {
			return p, false
		}
		*to, *b = int64(v), (*b)[n:]
	}
	return p, true
}

func (t *table) block(p place) ([]byte, error) {
	if p.offset > t.size-trailerSize || p.size > t.size-trailerSize-p.offset {
		return nil, invalid("", "a block of its table lies at bytes %d to %d, but the file has %d", p.offset, p.offset+p.size, t.size+footerSize)
	}
	b := make([]byte, p.size+trailerSize)
	if _, err := t.r.ReadAt(b, p.offset); err != nil {
		return nil, readError("", "reading a block of its table", err)
	}
	sum := binary.LittleEndian.Uint32(b[p.size+1:])
	if masked(crc32.Checksum(b[:p.size+1], castagnoli())) != sum {
		return nil, invalid("", "the checksum of a block of its table is wrong: the file is damaged, fetch it again")
	}
	if b[p.size] != 0 {
		return nil, &UnsupportedError{Reason: "its table is compressed, which TensorFlow's own are not"}
	}
	return b[:p.size], nil
}

// entries calls visit for each entry of a block. Values are parts of the block.
func entries(b []byte, visit func(key string, value []byte) error) error {
	broken := invalid("", "a block of its table is broken")
	if len(b) < 4 {
		return broken
	}
	// The places where keys are whole end a block; who reads all needs none.
	restarts := int64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	if restarts > int64(len(b)-4)/4 {
		return broken
	}
	b = b[:int64(len(b))-4-4*restarts]
	var key []byte
	for len(b) > 0 {
		var lengths [3]uint64 // of the shared part of the key, the rest of it, the value
		for i := range lengths {
			v, n := binary.Uvarint(b)
			if n <= 0 {
				return broken
			}
			lengths[i], b = v, b[n:]
		}
		shared, more, value := lengths[0], lengths[1], lengths[2]
		if shared > uint64(len(key)) || more > maxName || shared+more > 2*maxName || more > uint64(len(b)) || value > uint64(len(b))-more {
			return broken
		}
		next := append(key[:shared:shared], b[:more]...)
		if bytes.Compare(next, key) <= 0 && key != nil {
			return invalid("", "the entries of its table are not in order")
		}
		key = next
		if err := visit(string(key), b[more:more+value]); err != nil {
			return err
		}
		b = b[more+value:]
	}
	return nil
}
