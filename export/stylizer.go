package export

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"slices"
	"sync"

	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/stylize"
)

// Stylizer runs a model on the best device of this build. It is safe for
// concurrent use; pictures are then computed one after the other, each on all
// processors.
type Stylizer struct {
	// Memory is what the process may take in all while a picture is computed,
	// in bytes; 0 is 2 GiB. Larger pictures take longer: they are computed by
	// strips, which gives the same result but for rounding, and what does not
	// fit is kept in temporary files. It is to be set before the first Stylize.
	Memory int64

	dev    kernels.Device
	style  *stylize.Stylizer
	closed sync.Once
}

// Options choose how a Stylizer computes. The zero value is the default of all.
type Options struct {
	Threads int  // 0: one for each processor
	Exact   bool // no approximate kernels: slower, and equal to plain float32 arithmetic
	// Precision is "float32", which "" means too, or "bf16": faster, in less
	// memory, and for a processor with AVX-512 BF16 alone.
	Precision string
	// StyleMix weighs the styles of a network of many, by their names; weights
	// are divided by their sum. nil is for a network of one style.
	StyleMix map[string]float64
	// Styles are for a model of any style: pictures whose styles are mixed, at
	// their sizes, of which strokes follow. Strength is the share of the styled
	// features, above 0 to 1; 0 means 1.
	Styles   []Style
	Strength float32
	// Convention is LoadAs's.
	Convention string
}

// Style is a picture with a style.
type Style struct {
	Image  image.Image
	Weight float64 // beside other styles; 0 means 1
}

// Open reads a model file, as Load does, and makes it ready to run. Close
// frees its memory.
func Open(path string) (*Stylizer, error) { return OpenWith(path, Options{}) }

// OpenWith is Open with options. Those that this build or processor lacks are
// an error, and so are styles that the model lacks.
func OpenWith(path string, o Options) (*Stylizer, error) {
	m, err := LoadAs(path, o.Convention)
	if err != nil {
		return nil, err
	}
	var mix []model.Share
	for _, name := range slices.Sorted(maps.Keys(o.StyleMix)) {
		mix = append(mix, model.Share{Style: name, Weight: o.StyleMix[name]})
	}
	if m, err = m.Mix(mix); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dev, err := devices.Open("auto", devices.Options{Threads: o.Threads, Exact: o.Exact, Precision: o.Precision})
	if err != nil {
		return nil, err
	}
	if m, err = o.styled(dev, m); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), dev.Close())
	}
	style, err := stylize.Open(dev, m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), dev.Close())
	}
	return &Stylizer{dev: dev, style: style}, nil
}

// styled gives a model of any style its own; others it leaves as they are.
func (o Options) styled(dev kernels.Device, m *Model) (*Model, error) {
	if _, ok := m.AnyStyle(); !ok {
		if len(o.Styles) > 0 || o.Strength != 0 {
			return nil, errors.New("the model has a style of its own: Styles and Strength are for one of any style")
		}
		return m, nil
	}
	var styles []model.Style
	var weights []float64
	for _, s := range o.Styles {
		p, err := images.FromImage(s.Image)
		if err != nil {
			return nil, fmt.Errorf("style: %w", err)
		}
		style, err := stylize.StyleOf(dev, m, p)
		if err != nil {
			return nil, err
		}
		if s.Weight == 0 {
			s.Weight = 1
		}
		styles, weights = append(styles, style), append(weights, s.Weight)
	}
	if len(styles) == 0 {
		return nil, errors.New("the model takes its style from a picture: give it one in Options.Styles")
	}
	mix, err := model.MixStyles(styles, weights)
	if err != nil {
		return nil, err
	}
	if o.Strength == 0 {
		o.Strength = 1
	}
	return m.Styled(mix, o.Strength)
}

// Stylize returns img in the model's style: an image of the same size, for
// every size from 1×1 up, whose bounds begin at (0, 0). It is an *image.RGBA,
// or an *image.NRGBA with img's alpha where img is not opaque. Colours are
// taken as sRGB; an EXIF orientation is for the caller to apply.
//
// Errors are those of an empty img, a closed Stylizer, and a picture that does
// not fit into Memory, or into what is free.
func (s *Stylizer) Stylize(img image.Image) (image.Image, error) {
	src, err := images.NewSource(img)
	if err != nil {
		return nil, err
	}
	w, h := src.Size()
	canvas, err := images.NewCanvas(w, h, "PNG", images.CanvasOptions{Alpha: !src.Opaque()})
	if err != nil {
		return nil, err
	}
	if err := s.style.Paint(context.Background(), src, canvas, stylize.Options{Strength: 1, Memory: s.Memory}); err != nil {
		return nil, err
	}
	return canvas.Image(), nil
}

// Close frees the memory. Stylize then returns errors; a second Close does
// nothing.
func (s *Stylizer) Close() (err error) {
	s.closed.Do(func() { err = errors.Join(s.style.Close(), s.dev.Close()) })
	return err
}
