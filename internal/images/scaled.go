package images

import (
	"fmt"
	"image"
)

// Scaled is a picture read at another size, by the algorithm of Resize. It is
// computed strip by strip, so that none of that size is ever held; a picture
// that is read twice is computed twice. It is not for use by several goroutines
// at once.
type Scaled struct {
	src    Reader
	w, h   int
	opaque bool
	rows   *readerRows
	r      Resampler
}

// NewScaled reads r at w×h pixels.
func NewScaled(r Reader, w, h int) (*Scaled, error) {
	if w < 1 || h < 1 {
		return nil, fmt.Errorf("cannot resize a picture to %d×%d: both sides must be at least 1", w, h)
	}
	s := &Scaled{src: r, w: w, h: h, opaque: r.Opaque()}
	s.rows = &readerRows{src: r, alpha: !s.opaque}
	return s, nil
}

// Size returns the width and height.
func (s *Scaled) Size() (w, h int) { return s.w, s.h }

// Opaque says that alpha is 1 everywhere.
func (s *Scaled) Opaque() bool { return s.opaque }

// Bytes is the memory that the picture behind it takes.
func (s *Scaled) Bytes() int64 { return s.src.Bytes() }

// ReadRows computes rows.
func (s *Scaled) ReadRows(dst *Picture, from int) {
	if w, h := s.src.Size(); w == s.w && h == s.h {
		s.src.ReadRows(dst, from)
		return
	}
	planes := [][]float32{dst.Plane(0), dst.Plane(1), dst.Plane(2)}
	alpha := dst.Alpha
	if !s.opaque {
		if alpha == nil { // colours are weighted by it even where nobody asks for it
			alpha = make([]float32, dst.W*dst.H)
		}
		planes = append(planes, alpha)
	} else {
		fill(alpha, 1)
	}
	s.r.resample(planes, s.rows, s.w, s.h, image.Rect(0, from, s.w, from+dst.H), false, false)
	if !s.opaque {
		straighten(planes[:3], alpha)
	}
}

// straighten divides colours by alpha.
func straighten(planes [][]float32, alpha []float32) {
	for i, a := range alpha {
		if a > 0 {
			for _, plane := range planes {
				plane[i] = clamp(plane[i] / a)
			}
		}
	}
}

// readerRows hands out the lines of a Reader; with alpha, premultiplied ones.
// Some lines are read at once: those of a turned picture are columns as it is
// stored.
type readerRows struct {
	src   Reader
	alpha bool
	have  *Picture // lines from first on
	first int
}

func (r *readerRows) size() (int, int) { return r.src.Size() }

func (r *readerRows) row(y, x0, x1 int, dst [][]float32) {
	if r.have == nil || y < r.first || y >= r.first+r.have.H {
		w, h := r.src.Size()
		n := min(max(1, 1<<16/w), h-y)
		if r.have == nil || r.have.H != n {
			r.have = New(w, n)
			if r.alpha {
				r.have.Alpha = make([]float32, w*n)
			}
		}
		r.src.ReadRows(r.have, y)
		r.first = y
	}
	pictureRows{r.have}.row(y-r.first, x0, x1, dst)
}
