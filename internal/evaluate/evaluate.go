// Package evaluate measures finished pictures against the photos that they were
// painted from and the painting whose style they are in.
//
// It owns the conditions that such numbers depend on, which are the same for all
// that are compared, and the scores. It refuses models: who painted a picture,
// and how long that took, it does not know.
package evaluate

import (
	"errors"
	"fmt"
	"slices"

	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/vgg"
	"stylenet/losses"
)

// Gram says how Gram matrices are scaled, and how they are compared.
const Gram = "F·Fᵀ/(C·H·W), mean squared difference"

// minSize is the least side of pictures: four times VGG-19's deepest pooling.
const minSize = 64

// Conditions are what scores depend on beside the pictures. Scores under other
// conditions cannot be compared.
type Conditions struct {
	VGG            string   `json:"vgg"` // what the weights say of themselves
	ContentLayers  []string `json:"content_layers"`
	StyleLayers    []string `json:"style_layers"`
	AveragePooling bool     `json:"average_pooling"`
	Gram           string   `json:"gram"`
	Size           int      `json:"size"`       // side of the photos' centres, in pixels
	StyleSize      int      `json:"style_size"` // long side of the painting, in pixels
}

// Default are the layers and sizes that Johnson, Alahi and Fei-Fei 2016 train
// with.
func Default() Conditions {
	return Conditions{
		ContentLayers: []string{"relu3_3"}, StyleLayers: []string{"relu1_2", "relu2_2", "relu3_3", "relu4_3"},
		Size: 256, StyleSize: 256,
	}
}

// Check reports conditions that make no sense.
func (c Conditions) Check() error {
	switch {
	case c.Size < minSize:
		return fmt.Errorf("photos of %d pixels: give %d or more", c.Size, minSize)
	case c.StyleSize < minSize:
		return fmt.Errorf("a style of %d pixels: give %d or more", c.StyleSize, minSize)
	case len(c.StyleLayers) == 0 || len(c.ContentLayers) == 0:
		return errors.New("name at least one layer of content and one of style")
	}
	for _, layers := range [][]string{c.ContentLayers, c.StyleLayers} {
		for i, name := range layers {
			if !slices.Contains(networks.VGG19Layers(), name) {
				return fmt.Errorf("VGG-19 has no layer %q", name)
			}
			if slices.Contains(layers[:i], name) {
				return fmt.Errorf("layer %s is named twice", name)
			}
		}
	}
	return nil
}

// recipe has weight 1 for all layers.
func (c Conditions) recipe() losses.Recipe {
	layers := func(names []string) []losses.Layer {
		var all []losses.Layer
		for _, name := range names {
			all = append(all, losses.Layer{Name: name, Weight: 1})
		}
		return all
	}
	return losses.Recipe{Content: layers(c.ContentLayers), Style: layers(c.StyleLayers)}
}

// Scores are those of a picture, or the means of several.
type Scores struct {
	// Content and Style are losses, before any weight, in the order of the
	// conditions' layers: mean squared differences of features from the photo's,
	// and of Gram matrices from the painting's.
	Content, Style []float64
	// SSIM is the structural similarity to the photo, of the luminance; 1 is
	// equal.
	SSIM float64
	// ColorDistance is the mean ΔE*ab (CIE 1976) to the photo; 0 is equal.
	ColorDistance float64
}

// Sum is that of some layers' losses.
func Sum(losses []float64) float64 {
	sum := 0.
	for _, v := range losses {
		sum += v
	}
	return sum
}

// Mean averages scores.
type Mean struct {
	sum Scores
	n   int
}

// Add takes the scores of another picture, under the same conditions.
func (m *Mean) Add(s Scores) {
	if m.n == 0 {
		m.sum.Content, m.sum.Style = make([]float64, len(s.Content)), make([]float64, len(s.Style))
	}
	for i, v := range s.Content {
		m.sum.Content[i] += v
	}
	for i, v := range s.Style {
		m.sum.Style[i] += v
	}
	m.sum.SSIM += s.SSIM
	m.sum.ColorDistance += s.ColorDistance
	m.n++
}

// Scores are the means; those of no picture are not numbers.
func (m *Mean) Scores() Scores {
	n := float64(m.n)
	s := Scores{SSIM: m.sum.SSIM / n, ColorDistance: m.sum.ColorDistance / n}
	for _, v := range m.sum.Content {
		s.Content = append(s.Content, v/n)
	}
	for _, v := range m.sum.Style {
		s.Style = append(s.Style, v/n)
	}
	return s
}

// Judge measures pictures under fixed conditions.
type Judge struct {
	c     Conditions
	dev   kernels.Device
	meter *losses.Meter
}

// New makes a judge for the style of a painting. dev must stay open as long as
// the judge.
func New(dev kernels.Device, w *vgg.Weights, style *images.Picture, c Conditions) (_ *Judge, err error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	c.VGG, c.Gram = w.Description, Gram
	j := &Judge{c: c, dev: dev.Scope()}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	r := c.recipe()
	net, err := networks.VGG19(r.Deepest(), w.Convention, c.AveragePooling)
	if err != nil {
		return nil, err
	}
	if err := w.For(net); err != nil {
		return nil, err
	}
	arrays, err := inference.Upload(j.dev, net, w.Set)
	if err != nil {
		return nil, err
	}
	width, height := images.LongSide(style.W, style.H, c.StyleSize)
	painting, err := images.Resize(style, width, height)
	if err != nil {
		return nil, err
	}
	grams, err := losses.GramMatrices(j.dev, net, arrays, painting.Pix, height, width, r.Style)
	if err != nil {
		return nil, fmt.Errorf("the style at %d×%d: %w", width, height, err)
	}
	var targets []kernels.Array
	for _, gram := range grams {
		a, err := losses.NewGram(j.dev, gram)
		if err != nil {
			return nil, err
		}
		targets = append(targets, a)
	}
	j.meter, err = losses.NewMeter(j.dev, net, arrays, targets, r, c.Size, c.Size)
	return j, err
}

// Conditions are those of all scores.
func (j *Judge) Conditions() Conditions { return j.c }

// Photo is the centre of a photo, of the conditions' size and opaque, of which
// results are to be made. A photo that would have to be enlarged is refused.
func (j *Judge) Photo(p *images.Picture) (*images.Picture, error) {
	size := j.c.Size
	if min(p.W, p.H) < size {
		return nil, fmt.Errorf("a photo of %d×%d pixels is smaller than the %d×%[3]d that are compared", p.W, p.H, size)
	}
	photo, err := images.Centre(p, size)
	if err != nil {
		return nil, err
	}
	photo.Alpha = nil
	return photo, nil
}

// Judge measures a result, of values from 0 to 255, against its photo, which
// Photo has made.
func (j *Judge) Judge(photo, result *images.Picture) (Scores, error) {
	size := j.c.Size
	for _, p := range []*images.Picture{photo, result} {
		if p.W != size || p.H != size {
			return Scores{}, fmt.Errorf("evaluate: a picture of %d×%d pixels, not of %d×%[3]d", p.W, p.H, size)
		}
	}
	var s Scores
	var err error
	if s.Content, s.Style, err = j.meter.Measure(photo.Pix, result.Pix); err != nil {
		return s, err
	}
	similar, err := images.MeasureSSIM(photo, result)
	if err != nil {
		return s, err
	}
	s.SSIM = similar.Luma
	s.ColorDistance, err = images.ColorDistance(photo, result)
	return s, err
}

// Close frees the judge's memory.
func (j *Judge) Close() error {
	var err error
	if j.meter != nil {
		err = j.meter.Close()
	}
	return errors.Join(err, j.dev.Close())
}
