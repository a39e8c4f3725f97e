package losses

import (
	"errors"
	"fmt"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Meter measures the content and style loss of finished pictures, one at a
// time, without gradients.
type Meter struct {
	dev           kernels.Device
	recipe        Recipe
	photo, result *inference.Plan // photo is nil without content layers
	kernels       []kernels.Kernel
	values        []kernels.Array // content layers, then style layers
}

// NewMeter makes a meter for pictures of h×w pixels. style holds the Gram
// matrices of Targets, or the moments.
func NewMeter(dev kernels.Device, vgg *networks.Network, arrays inference.Arrays, style []kernels.Array, r Recipe, h, w int) (_ *Meter, err error) {
	if len(style) != len(r.Style) {
		return nil, fmt.Errorf("losses: %d style targets for %d layers", len(style), len(r.Style))
	}
	m := &Meter{dev: dev.Scope(), recipe: r}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	content, err := vgg.FindAll(Names(r.Content))
	if err != nil {
		return nil, err
	}
	styles, err := vgg.FindAll(Names(r.Style))
	if err != nil {
		return nil, err
	}
	owner := m.dev
	if len(content) > 0 {
		if m.photo, err = inference.Compile(owner, vgg, arrays, 1, h, w, content...); err != nil {
			return nil, err
		}
		owner = m.photo.Device()
	}
	if m.result, err = inference.Compile(owner, vgg, arrays, 1, h, w, append(content, styles...)...); err != nil {
		return nil, err
	}
	scope := m.result.Device()
	for range len(content) + len(styles) { // before any memory is released
		value, err := scope.NewParameter(kernels.Scalar())
		if err != nil {
			return nil, err
		}
		m.values = append(m.values, value)
	}
	bind := func(k kernels.Kernel, err error) error {
		m.kernels = append(m.kernels, k)
		return err
	}
	for i := range content {
		if err := bind(scope.MSE(m.values[i], m.result.Output(i), m.photo.Output(i))); err != nil {
			return nil, err
		}
	}
	measures := make([]measure, len(styles))
	for i := range styles {
		if measures[i], err = newMeasure(scope, m.result.Output(len(content)+i).Shape(), r.Moments); err != nil {
			return nil, err
		}
	}
	for i, measure := range measures {
		if err := bind(measure.bind(m.result.Output(len(content) + i))); err != nil {
			return nil, err
		}
		if err := bind(scope.MSE(m.values[len(content)+i], measure.result, style[i])); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Measure returns the loss of each content and style layer, before its weight,
// of a result against its photo: both (3, h, w), RGB 0-255.
func (m *Meter) Measure(photo, result []float32) (content, style []float64, err error) {
	if m.photo != nil {
		if err := m.photo.Device().Upload(m.photo.Input(), photo); err != nil {
			return nil, nil, err
		}
		m.photo.Run()
	}
	scope := m.result.Device()
	if err := scope.Upload(m.result.Input(), result); err != nil {
		return nil, nil, err
	}
	m.result.Run()
	for _, k := range m.kernels {
		k()
	}
	values := make([]float64, len(m.values))
	for i, a := range m.values {
		var v [1]float32
		if err := scope.Download(v[:], a); err != nil {
			return nil, nil, err
		}
		values[i] = float64(v[0])
	}
	if m.recipe.Moments {
		for i := range m.recipe.Style {
			values[len(m.recipe.Content)+i] *= 2 // as in moments
		}
	}
	return values[:len(m.recipe.Content)], values[len(m.recipe.Content):], nil
}

// measure takes what styles are compared by.
type measure struct {
	result kernels.Array
	bind   func(features kernels.Array) (kernels.Kernel, error)
}

func newMeasure(dev kernels.Device, maps kernels.Shape, moments bool) (measure, error) {
	if !moments {
		matrix, err := dev.NewParameter(kernels.Shape{N: maps.N, C: 1, H: maps.C, W: maps.C})
		return measure{matrix, func(features kernels.Array) (kernels.Kernel, error) { return dev.Gram(matrix, features) }}, err
	}
	m, err := inference.NewMoments(dev, maps)
	if err != nil {
		return measure{}, err
	}
	result, err := dev.NewActivation(m.Shape())
	return measure{result, func(features kernels.Array) (kernels.Kernel, error) { return m.Measure(dev, result, features) }}, err
}

// Close frees the meter's memory.
func (m *Meter) Close() error {
	var errs []error
	for _, p := range []*inference.Plan{m.result, m.photo} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(append(errs, m.dev.Close())...)
}
