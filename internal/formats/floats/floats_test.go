package floats

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
)

// TestF16 holds every half precision number against its definition,
// (-1)^s · 2^(e-15) · (1 + f/1024), and checks that it comes back.
func TestF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		e, f := int(h>>10)&31, float64(h&1023)
		want := math.Ldexp(1+f/1024, e-15)
		switch {
		case e == 0:
			want = math.Ldexp(f, -24)
		case e == 31 && f == 0:
			want = math.Inf(1)
		case e == 31:
			want = math.NaN()
		}
		if h&0x8000 != 0 {
			want = -want
		}
		got := FromF16(h)
		if math.IsNaN(want) {
			if got == got || ToF16(got) != h|0x200 {
				t.Fatalf("%#04x: NaN became %g and %#04x", h, got, ToF16(got))
			}
			continue
		}
		if float64(got) != want || math.Signbit(float64(got)) != math.Signbit(want) {
			t.Fatalf("%#04x is %g, want %g", h, got, want)
		}
		if back := ToF16(got); back != h {
			t.Fatalf("%#04x came back as %#04x", h, back)
		}
	}
}

// TestToF16Rounding checks the middle between each two neighbours and the
// float32 numbers just beside it.
func TestToF16Rounding(t *testing.T) {
	for i := range 0x7c00 - 1 {
		low, high := FromF16(uint16(i)), FromF16(uint16(i+1))
		middle := (low + high) / 2 // exact: float32 has 13 more bits
		even := uint16(i + i&1)
		check := func(f float32, want uint16) {
			if got := ToF16(f); got != want {
				t.Fatalf("%g became %#04x, want %#04x", f, got, want)
			}
			if got := ToF16(-f); got != want|0x8000 {
				t.Fatalf("%g became %#04x, want %#04x", -f, got, want|0x8000)
			}
		}
		check(middle, even)
		check(math.Nextafter32(middle, 0), uint16(i))
		check(math.Nextafter32(middle, 1e9), uint16(i+1))
	}
	for f, want := range map[float32]uint16{
		65519.99: 0x7bff, 65520: 0x7c00, math.MaxFloat32: 0x7c00,
		1e-30: 0, float32(math.Inf(1)): 0x7c00,
	} {
		if got := ToF16(f); got != want {
			t.Errorf("%g became %#04x, want %#04x", f, got, want)
		}
	}
}

func TestBF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := FromBF16(h)
		if f != f {
			if got := ToBF16(f); got != h|0x40 {
				t.Fatalf("NaN %#04x became %#04x", h, got)
			}
			continue
		}
		if got := ToBF16(f); got != h {
			t.Fatalf("%#04x is %g and came back as %#04x", h, f, got)
		}
		if b := math.Float32bits(f); !math.IsInf(float64(f), 0) {
			if got := ToBF16(math.Float32frombits(b | 0x8000)); got != h+h&1 {
				t.Fatalf("the middle above %#04x became %#04x", h, got)
			}
			if got := ToBF16(math.Float32frombits(b | 0x7fff)); got != h {
				t.Fatalf("below the middle above %#04x became %#04x", h, got)
			}
			if got := ToBF16(math.Float32frombits(b | 0x8001)); got != h+1 {
				t.Fatalf("beyond the middle above %#04x became %#04x", h, got)
			}
		}
	}
}

func TestEncodeDecode(t *testing.T) {
	values := make([]float32, 1<<17+3) // more than one window of Read
	for i := range values {
		values[i] = float32(i%251) - 125
	}
	for _, k := range []Kind{F32, F16, BF16, F64} {
		raw := k.Encode(nil, values)
		if len(raw) != len(values)*k.Size() {
			t.Fatalf("kind %s: %d bytes", k, len(raw))
		}
		got := make([]float32, len(values))
		if err := k.Read(bytes.NewReader(raw), got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != values[i] {
				t.Fatalf("kind %s: value %d is %g, want %g", k, i, got[i], values[i])
			}
		}
		for _, short := range [][]byte{raw[:len(raw)-1], raw[:1<<18], nil} {
			if err := k.Read(bytes.NewReader(short), got); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("kind %s, %d of %d bytes: %v", k, len(short), len(raw), err)
			}
		}
	}
}

func TestOverflow(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		kind   Kind
		values []float32
		want   int
	}{
		{F16, []float32{1, inf, -inf, float32(math.NaN()), 65519}, -1},
		{F16, []float32{1, inf, -65520}, 2},
		{BF16, []float32{3e38, math.MaxFloat32}, 1},
		{F32, []float32{math.MaxFloat32}, -1},
		{F64, []float32{math.MaxFloat32}, -1},
	} {
		if got := c.kind.Overflow(c.values, c.kind.Encode(nil, c.values)); got != c.want {
			t.Errorf("%s of %v: %d, want %d", c.kind, c.values, got, c.want)
		}
	}
}
