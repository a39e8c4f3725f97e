package images

import (
	"fmt"
	"image"
	"slices"
)

// Reader is a picture that is read by strips of rows: a *Picture, or a *Source,
// of which no float32 copy is made then.
type Reader interface {
	Size() (w, h int)
	// Opaque says that alpha is 1 everywhere.
	Opaque() bool
	// ReadRows fills dst, as wide as the picture, with its rows from ≤ y <
	// from+dst.H, and dst.Alpha unless that is nil.
	ReadRows(dst *Picture, from int)
	// Bytes is the memory that the picture takes.
	Bytes() int64
}

// Writer is a picture that is written by strips of rows: a *Picture, or a
// *Canvas.
type Writer interface {
	// WriteRows replaces the rows from ≤ y < from+src.H by src, which is as
	// wide as the picture. src.Alpha may be nil.
	WriteRows(src *Picture, from int)
	// Bytes is the memory that the picture takes.
	Bytes() int64
}

// Size returns the width and height.
func (p *Picture) Size() (w, h int) { return p.W, p.H }

// Opaque says that p has no alpha.
func (p *Picture) Opaque() bool { return p.Alpha == nil }

// Bytes is the memory that p takes.
func (p *Picture) Bytes() int64 { return 4 * int64(len(p.Pix)+len(p.Alpha)) }

// ReadRows copies rows of p to dst.
func (p *Picture) ReadRows(dst *Picture, from int) {
	for c := range 3 {
		copy(dst.Plane(c), p.Plane(c)[from*p.W:])
	}
	if p.Alpha != nil {
		copy(dst.Alpha, p.Alpha[from*p.W:])
		return
	}
	fill(dst.Alpha, 1)
}

// WriteRows copies src to rows of p.
func (p *Picture) WriteRows(src *Picture, from int) {
	for c := range 3 {
		copy(p.Plane(c)[from*p.W:], src.Plane(c))
	}
	if p.Alpha == nil {
		return
	}
	if src.Alpha != nil {
		copy(p.Alpha[from*p.W:], src.Alpha)
		return
	}
	fill(p.Alpha[from*p.W:(from+src.H)*p.W], 1)
}

// Opaque says that alpha is 1 everywhere. It may have to look at every pixel.
func (s *Source) Opaque() bool {
	switch r := s.pixels.(type) {
	case *ycbcrRows:
		if r.alpha == nil {
			return true
		}
	case grayRows, cmykRows:
		return true
	case byteRows:
		return r.opaque
	}
	w, h := s.pixels.size()
	line := newLines(4, w)
	for y := range h {
		s.pixels.row(y, 0, w, line)
		if slices.ContainsFunc(line[3], func(a float32) bool { return a < 1 }) {
			return false
		}
	}
	return true
}

// ReadRows converts rows of the upright picture.
func (s *Source) ReadRows(dst *Picture, from int) {
	planes := dst.planes()
	sw, sh := s.pixels.size()
	flipX, flipY := s.orient.flips()
	w, h := s.Size()
	if !s.orient.transposed() {
		line := make([][]float32, len(planes))
		for i := range dst.H {
			y := from + i
			if flipY {
				y = h - 1 - y
			}
			for c, plane := range planes {
				line[c] = plane[i*w : (i+1)*w : (i+1)*w]
			}
			s.pixels.row(y, 0, w, line)
			if flipX {
				for _, l := range line {
					slices.Reverse(l)
				}
			}
		}
		return
	}
	// The upright picture's rows are the stored one's columns.
	x := from
	if flipX {
		x = sw - from - dst.H
	}
	line := newLines(len(planes), dst.H)
	for sy := range sh {
		s.pixels.row(sy, x, x+dst.H, line)
		at := sy
		if flipY {
			at = sh - 1 - sy
		}
		for c, plane := range planes {
			if flipX {
				slices.Reverse(line[c])
			}
			for i, v := range line[c] {
				plane[i*w+at] = v
			}
		}
	}
}

// Bytes is the memory that the decoded pixels take.
func (s *Source) Bytes() int64 {
	switch r := s.pixels.(type) {
	case *ycbcrRows:
		return int64(len(r.img.Y) + len(r.img.Cb) + len(r.img.Cr) + len(r.alpha))
	case grayRows:
		return int64(len(r.img.Pix))
	case byteRows:
		return int64(len(r.pix))
	case cmykRows:
		return int64(len(r.img.Pix))
	case *palettedRows:
		return int64(len(r.img.Pix))
	}
	w, h := s.pixels.size()
	return 8 * int64(w) * int64(h)
}

// FitWithin returns s with its long side at most maxSize pixels: s itself where
// it fits already, else what the function FitWithin makes of its picture.
func (s *Source) FitWithin(maxSize int) (Reader, error) {
	w, h := s.Size()
	switch {
	case maxSize < 1:
		return nil, fmt.Errorf("cannot fit a picture within %d pixels", maxSize)
	case max(w, h) <= maxSize:
		return s, nil
	case !s.Opaque():
		return FitWithin(s.Picture(), maxSize)
	}
	w, h = LongSide(w, h, maxSize)
	p := New(w, h)
	return p, new(Resampler).Crop(p.Pix, s, w, h, image.Rect(0, 0, w, h), false)
}
