// Package floats converts float32 to and from the number types of model
// files: IEEE 754 half precision (F16), bfloat16 (BF16), single (F32) and
// double (F64) precision, stored little-endian.
//
// It owns the bit layouts and the rounding. It refuses files and names: a
// codec maps its own type names to a Kind.
package floats

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Kind is a number type of a model file.
type Kind int

// The number types.
const (
	F32 Kind = iota
	F16
	BF16
	F64
)

// String names the type as PyTorch does.
func (k Kind) String() string {
	switch k {
	case F16:
		return "float16"
	case BF16:
		return "bfloat16"
	case F64:
		return "float64"
	default:
		return "float32"
	}
}

// Size returns the bytes of one number.
func (k Kind) Size() int {
	switch k {
	case F16, BF16:
		return 2
	case F64:
		return 8
	default:
		return 4
	}
}

// Decode fills dst with the numbers in the first len(dst)·k.Size() bytes of
// src. A double beyond float32's range becomes an infinity.
func (k Kind) Decode(dst []float32, src []byte) {
	switch k {
	case F16:
		for i := range dst {
			dst[i] = FromF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = FromBF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	default:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	}
}

// Encode appends the numbers of src to dst, rounded to the nearest number of
// kind k, ties to even, and returns the longer slice. A finite number that k
// cannot hold becomes an infinity.
func (k Kind) Encode(dst []byte, src []float32) []byte {
	for _, f := range src {
		switch k {
		case F16:
			dst = binary.LittleEndian.AppendUint16(dst, ToF16(f))
		case BF16:
			dst = binary.LittleEndian.AppendUint16(dst, ToBF16(f))
		case F64:
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(f)))
		default:
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f))
		}
	}
	return dst
}

// Overflow returns the index of the first finite number of src that has become an
// infinity in encoded, which Encode made of src, or −1.
func (k Kind) Overflow(src []float32, encoded []byte) int {
	if k.Size() > 2 {
		return -1 // it holds every float32
	}
	var back [1]float32
	for i, f := range src {
		k.Decode(back[:], encoded[i*k.Size():])
		if math.IsInf(float64(back[0]), 0) && f != back[0] {
			return i
		}
	}
	return -1
}

// Read fills dst with len(dst) numbers of kind k from r. A reader that ends
// early gives io.ErrUnexpectedEOF.
func (k Kind) Read(r io.Reader, dst []float32) error {
	// A window keeps the raw copy of a large tensor out of memory.
	buf := make([]byte, min(len(dst)*k.Size(), 1<<18))
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/k.Size())
		b := buf[:n*k.Size()]
		if _, err := io.ReadFull(r, b); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading %d values: %w", len(dst), err)
		}
		k.Decode(dst[:n], b)
		dst = dst[n:]
	}
	return nil
}

// FromF16 returns the value of a half precision number. It is exact.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h) & 0x3ff
	switch exp {
	case 0: // zero or subnormal: frac · 2^-24, exact in float32
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// ToF16 returns the half precision number nearest to f, ties to even. Numbers
// of magnitude 65520 and more become infinities; NaN stays NaN.
func ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // keep the payload's top bits, and NaN a quiet NaN
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x477ff000: // 65520, half way beyond the largest number
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: a multiple of 2^-24
		// Scaling by a power of two is exact, so one rounding remains.
		f := math.Float32frombits(b) * (1 << 24)
		return sign | uint16(math.RoundToEven(float64(f)))
	}
	b += 0xfff + b>>13&1
	return sign | uint16(b>>13-(127-15)<<10)
}

// FromBF16 returns the value of a bfloat16 number. It is exact.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// ToBF16 returns the bfloat16 number nearest to f, ties to even. Numbers
// beyond its range become infinities; NaN stays NaN.
func ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
