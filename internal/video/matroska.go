package video

import (
	"encoding/binary"
	"io"
	"math/big"
)

// Frames go to ffmpeg as a Matroska stream (RFC 9559) of uncompressed pictures,
// which is the simplest container that holds a time for each.

// matroska writes such a stream.
type matroska struct {
	w io.Writer
}

// start writes what stands before the frames: RGB of 8 bits, times in ns. frame
// is how long a frame lasts, in ns, 0 where that is not known.
func (m *matroska) start(width, height int, frame uint64) error {
	video := element(0xE0, join(unsigned(0xB0, uint64(width)), unsigned(0xBA, uint64(height)), element(0x2EB524, []byte{'R', 'G', 'B', 24})))
	entry := join(unsigned(0xD7, 1), unsigned(0x73C5, 1), unsigned(0x83, 1), element(0x22B59C, []byte("und")), element(0x86, []byte("V_UNCOMPRESSED")), video)
	if frame > 0 {
		entry = append(entry, unsigned(0x23E383, frame)...)
	}
	app := []byte("stylenet")
	_, err := m.w.Write(join(
		element(0x1A45DFA3, join(unsigned(0x4286, 1), unsigned(0x42F7, 1), unsigned(0x42F2, 4), unsigned(0x42F3, 8),
			element(0x4282, []byte("matroska")), unsigned(0x4287, 4), unsigned(0x4285, 2))),
		[]byte{0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, // a segment without an end
		element(0x1549A966, join(unsigned(0x2AD7B1, 1), element(0x4D80, app), element(0x5741, app))),
		element(0x1654AE6B, element(0xAE, entry)),
	))
	return err
}

// frame writes a picture that is seen at a time, in ns, as a cluster of its own.
func (m *matroska) frame(ns uint64, pix []byte) error {
	time := unsigned(0xE7, ns)
	block := sized([]byte{0xA3}, uint64(4+len(pix)))
	head := sized([]byte{0x1F, 0x43, 0xB6, 0x75}, uint64(len(time)+len(block)+4+len(pix)))
	head = append(append(append(head, time...), block...), 0x81, 0, 0, 0x80) // track 1, at the cluster's time, a key frame
	if _, err := m.w.Write(head); err != nil {
		return err
	}
	_, err := m.w.Write(pix)
	return err
}

// element is an element of EBML.
func element(id uint32, content []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	for b[0] == 0 {
		b = b[1:]
	}
	return append(sized(b, uint64(len(content))), content...)
}

// sized appends a length, in 8 bytes.
func sized(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, 1<<56|n) }

func unsigned(id uint32, v uint64) []byte {
	return element(id, binary.BigEndian.AppendUint64(nil, v))
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// scaled is v·by, rounded, whatever the sizes on the way.
func scaled(v int64, by Rational) int64 {
	n := new(big.Int).Mul(big.NewInt(v), big.NewInt(by.Num))
	d := big.NewInt(by.Den)
	half := new(big.Int).Rsh(d, 1)
	if n.Sign() < 0 {
		half.Neg(half)
	}
	return n.Quo(n.Add(n, half), d).Int64()
}
