// Package images turns picture files into planar float32 pictures and back:
// decoding, resizing, cropping, blending and encoding.
//
// It owns the pixel conventions of the product: RGB, planar (C, H, W), values
// 0 to 255, alpha kept apart and straight. Colours are taken as sRGB; embedded
// ICC profiles are not applied. It refuses folders, batches, networks, video
// and every package of ours.
package images

import (
	"fmt"
	"slices"
)

// Picture is an RGB picture, with alpha where it is not opaque. Networks eat
// Pix as it is: a 1×3×H×W tensor.
type Picture struct {
	W, H int

	// Pix holds the planes R, G, B one after the other, row-major: (3, H, W),
	// values 0 to 255. A network's output may lie outside; Encode clamps.
	Pix []float32

	// Alpha is (H, W), 0 (transparent) to 1 (opaque), or nil when every pixel
	// is opaque. Pix is straight: not multiplied by it.
	Alpha []float32
}

// New returns a black, opaque picture.
func New(w, h int) *Picture {
	return &Picture{W: w, H: h, Pix: make([]float32, 3*w*h)}
}

// Clone returns a deep copy.
func (p *Picture) Clone() *Picture {
	return &Picture{W: p.W, H: p.H, Pix: slices.Clone(p.Pix), Alpha: slices.Clone(p.Alpha)}
}

// Plane returns one colour plane (H, W): 0 is R, 1 is G, 2 is B. It shares the
// picture's memory.
func (p *Picture) Plane(c int) []float32 {
	n := p.W * p.H
	return p.Pix[c*n : (c+1)*n : (c+1)*n]
}

// planes returns R, G, B and, where there is one, alpha.
func (p *Picture) planes() [][]float32 {
	planes := [][]float32{p.Plane(0), p.Plane(1), p.Plane(2)}
	if p.Alpha != nil {
		planes = append(planes, p.Alpha)
	}
	return planes
}

// FormatError reports a file that is broken: truncated, damaged or empty.
type FormatError struct {
	Format string // "JPEG", or "" where the format is not known
	Err    error
}

func (e *FormatError) Error() string {
	if e.Format == "" {
		return fmt.Sprintf("broken picture: %v", e.Err)
	}
	return fmt.Sprintf("broken %s picture: %v", e.Format, e.Err)
}

func (e *FormatError) Unwrap() error { return e.Err }

// UnsupportedError reports a file that may be good, but that this package
// cannot read or write.
type UnsupportedError struct {
	Problem string
}

func (e *UnsupportedError) Error() string { return e.Problem }
