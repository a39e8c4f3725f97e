package images

import (
	"fmt"
	"image"
	"math"
)

// Mask says for each pixel of a picture how much of one of two pictures it
// takes, from 0 to 1.
type Mask struct {
	w, h   int
	values []float32 // (h, w)
}

// NewMask makes a mask for a picture of w×h pixels of a grey picture, which is
// resized as Resize does: white is 1, black is 0, and so is what is transparent.
// Of colours the luminance counts. Its edges are softened by a Gaussian blur with
// a standard deviation of feather pixels of the picture, at most its long side; 0
// leaves them as they are. The mask takes 4 bytes a pixel.
func NewMask(r Reader, w, h int, feather float64) (*Mask, error) {
	if w < 1 || h < 1 {
		return nil, fmt.Errorf("cannot make a mask for a picture of %d×%d", w, h)
	}
	if !(feather >= 0 && feather <= float64(max(w, h))) { // not a number fails too
		return nil, fmt.Errorf("cannot feather a mask of %d×%d pixels by %v: give 0 to %d", w, h, feather, max(w, h))
	}
	m := &Mask{w, h, make([]float32, w*h)}
	m.read(r)
	if feather > 0 {
		m.blur(feather)
	}
	return m, nil
}

// read resizes the luminance of a picture.
func (m *Mask) read(r Reader) {
	w, h := r.Size()
	grey := greys{w, h, make([]float32, w*h)}
	eachStrip(r, func(rows *Picture, from int) {
		values := grey.values[from*w:]
		for i, v := range Luminance(rows) {
			values[i] = min(clamp(v)/255, 1)
			if rows.Alpha != nil {
				values[i] *= rows.Alpha[i]
			}
		}
	})
	if w == m.w && h == m.h {
		m.values = grey.values
		return
	}
	new(Resampler).resample([][]float32{m.values}, grey, m.w, m.h, image.Rect(0, 0, m.w, m.h), false, false)
}

// greys hands out the lines of one plane.
type greys struct {
	w, h   int
	values []float32
}

func (g greys) size() (int, int) { return g.w, g.h }

func (g greys) row(y, x0, x1 int, dst [][]float32) { copy(dst[0], g.values[y*g.w+x0:y*g.w+x1]) }

// Size returns the width and height.
func (m *Mask) Size() (w, h int) { return m.w, m.h }

// Bytes is the memory that m takes.
func (m *Mask) Bytes() int64 { return 4 * int64(len(m.values)) }

// Rows returns the rows from ≤ y < from+n, (n, w). They share m's memory.
func (m *Mask) Rows(from, n int) []float32 { return m.values[from*m.w : (from+n)*m.w] }

// Mix returns a + k·(b-a), where weights holds k for each pixel: a at 0, b at 1.
// All have the same size. Alpha is a's.
func Mix(a, b *Picture, weights []float32) *Picture {
	out := a.Clone()
	for c := range 3 {
		dst, src := out.Plane(c), b.Plane(c)
		for i, k := range weights {
			dst[i] = (1-k)*dst[i] + k*src[i]
		}
	}
	return out
}

// blur is a Gaussian blur with a standard deviation of sigma pixels, as three
// box filters: it differs from the Gaussian by less than .02, and takes the same
// time for every sigma. Beyond its edges the mask is mirrored.
func (m *Mask) blur(sigma float64) {
	const passes = 3
	b := newBox(sigma / math.Sqrt(passes))
	line, out := make([]float32, max(m.w, m.h)), make([]float32, max(m.w, m.h))
	for y := range m.h {
		row := m.values[y*m.w : (y+1)*m.w]
		for range passes {
			b.run(out[:m.w], row)
			copy(row, out)
		}
	}
	// Columns are taken a few at a time, so that lines of the cache are used
	// whole.
	const block = 16
	columns := make([]float32, block*m.h)
	for x := 0; x < m.w; x += block {
		n := min(block, m.w-x)
		for y := range m.h {
			for i, v := range m.values[y*m.w+x:][:n] {
				columns[i*m.h+y] = v
			}
		}
		for i := range n {
			column := columns[i*m.h : (i+1)*m.h]
			for range passes {
				copy(line, column)
				b.run(column, line[:m.h])
			}
		}
		for y := range m.h {
			dst := m.values[y*m.w+x:][:n]
			for i := range dst {
				dst[i] = columns[i*m.h+y]
			}
		}
	}
}

// box is a box filter of 2·reach+1 whole pixels and a part of one more at either
// end, so that its standard deviation is any that is asked for ("extended box
// filter", Gwosdek, Grewenig, Bruhn and Weickert 2011).
type box struct {
	reach int
	part  float64 // of the pixels at the ends
	scale float64 // makes the sum of the weights 1
}

func newBox(sigma float64) box {
	v := sigma * sigma
	reach := math.Floor((math.Sqrt(12*v+1) - 1) / 2)
	part := (2*reach + 1) * (reach*(reach+1) - 3*v) / (6 * (v - (reach+1)*(reach+1)))
	return box{int(reach), part, 1 / (2*reach + 1 + 2*part)}
}

// run filters a line. dst is another one.
func (b box) run(dst, src []float32) {
	at := func(i int) float64 {
		if uint(i) >= uint(len(src)) {
			i = mirrored(i, len(src))
		}
		return float64(src[i])
	}
	sum := 0.
	for i := -b.reach; i <= b.reach; i++ {
		sum += at(i)
	}
	for i := range dst {
		next, last := at(i+b.reach+1), at(i-b.reach)
		dst[i] = float32((sum + b.part*(at(i-b.reach-1)+next)) * b.scale)
		sum += next - last
	}
}

// mirrored is the place in a line of n pixels of one outside it, where the line
// is followed by its mirror image, over and over.
func mirrored(i, n int) int {
	i %= 2 * n
	if i < 0 {
		i += 2 * n
	}
	return min(i, 2*n-1-i)
}
