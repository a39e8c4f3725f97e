package export

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync"

	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/stylize"
)

// Stylizer runs a model on the best device of this build. It is safe for
// concurrent use; pictures are then computed one after the other, each on all
// processors.
type Stylizer struct {
	dev    kernels.Device
	style  *stylize.Stylizer
	closed sync.Once
}

// Open reads a model file, as Load does, and makes it ready to run. Close
// frees its memory.
func Open(path string) (*Stylizer, error) {
	m, err := Load(path)
	if err != nil {
		return nil, err
	}
	dev, err := devices.Open("auto", devices.Options{})
	if err != nil {
		return nil, err
	}
	style, err := stylize.Open(dev, m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), dev.Close())
	}
	return &Stylizer{dev: dev, style: style}, nil
}

// Stylize returns img in the model's style: an image of the same size, for
// every size from 1×1 up, whose bounds begin at (0, 0). It is an *image.RGBA,
// or an *image.NRGBA with img's alpha where img is not opaque. Colours are
// taken as sRGB; an EXIF orientation is for the caller to apply.
//
// Errors are those of an empty img, a closed Stylizer, and a picture that needs
// more memory than there is.
func (s *Stylizer) Stylize(img image.Image) (image.Image, error) {
	p, err := images.FromImage(img)
	if err != nil {
		return nil, err
	}
	out, err := s.style.Picture(context.Background(), p, stylize.Options{Strength: 1})
	if err != nil {
		return nil, err
	}
	return out.Image(), nil
}

// Close frees the memory. Stylize then returns errors; a second Close does
// nothing.
func (s *Stylizer) Close() (err error) {
	s.closed.Do(func() { err = errors.Join(s.style.Close(), s.dev.Close()) })
	return err
}
