package images

import (
	"fmt"
	"image"
	"image/color"
)

// FromImage converts a decoded picture, as Decode does with what it finds in a
// file. Its pixels are taken as they stand: an image.Image tells no EXIF
// orientation.
func FromImage(img image.Image) (*Picture, error) {
	s, err := NewSource(img)
	if err != nil {
		return nil, err
	}
	return s.Picture(), nil
}

// NewSource wraps a decoded picture, as FromImage converts one. The source
// keeps img.
func NewSource(img image.Image) (*Source, error) {
	b := img.Bounds()
	if b.Empty() {
		return nil, fmt.Errorf("cannot convert an image of %d×%d pixels", b.Dx(), b.Dy())
	}
	if b.Min != (image.Point{}) {
		img = moved{img}
	}
	return &Source{depth: depthOf(img), orient: upright, pixels: newRows(img, b.Dx(), b.Dy(), false)}, nil
}

// moved is an image that begins at (0, 0).
type moved struct{ image.Image }

func (m moved) Bounds() image.Rectangle { return m.Image.Bounds().Sub(m.Image.Bounds().Min) }

func (m moved) At(x, y int) color.Color {
	min := m.Image.Bounds().Min
	return m.Image.At(x+min.X, y+min.Y)
}
