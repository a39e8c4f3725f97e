package images

import (
	"fmt"
	"image"
	"image/draw"
)

// FromImage converts a decoded picture, as Decode does with what it finds in a
// file. Its pixels are taken as they stand: an image.Image tells no EXIF
// orientation.
func FromImage(img image.Image) (*Picture, error) {
	b := img.Bounds()
	if b.Empty() {
		return nil, fmt.Errorf("cannot convert an image of %d×%d pixels", b.Dx(), b.Dy())
	}
	if b.Min != (image.Point{}) {
		moved := image.NewNRGBA64(image.Rect(0, 0, b.Dx(), b.Dy()))
		draw.Draw(moved, moved.Rect, img, b.Min, draw.Src)
		img = moved
	}
	s := &Source{orient: upright, pixels: newRows(img, b.Dx(), b.Dy(), false)}
	return s.Picture(), nil
}
