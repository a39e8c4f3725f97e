package stylize

import (
	"errors"
	"fmt"
	"math"

	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
)

// StyleOf measures the style of a picture for a model of any style, at the
// picture's size: strokes become as large in the result as they are in it.
func StyleOf(dev kernels.Device, m *model.Model, p *images.Picture) (_ model.Style, err error) {
	design, ok := m.AnyStyle()
	if !ok {
		return model.Style{}, errors.New("the model has a style of its own, and takes none from a picture")
	}
	net, err := design.EncoderNetwork()
	if err != nil {
		return model.Style{}, err
	}
	if _, err := net.Sizes(p.H, p.W); err != nil {
		return model.Style{}, fmt.Errorf("a style of %d×%d pixels: %w", p.W, p.H, err)
	}
	scope := dev.Scope()
	defer func() { err = errors.Join(err, scope.Close()) }()
	arrays, err := inference.Upload(scope, net, m.Weights)
	if err != nil {
		return model.Style{}, err
	}
	plan, err := inference.Compile(scope, net, arrays, 1, p.H, p.W)
	if err != nil {
		return model.Style{}, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	if err := plan.Device().Upload(plan.Input(), p.Pix); err != nil {
		return model.Style{}, err
	}
	plan.Run()
	shape := plan.Output(0).Shape()
	features := make([]float32, shape.Elements())
	if err := plan.Device().Download(features, plan.Output(0)); err != nil {
		return model.Style{}, err
	}
	s := model.Style{Mean: make([]float32, shape.C), Deviation: make([]float32, shape.C)}
	area := shape.H * shape.W
	for c := range shape.C {
		var sum, squares float64
		values := features[c*area:][:area]
		for _, v := range values {
			sum += float64(v)
		}
		mean := sum / float64(area)
		for _, v := range values {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		variance := squares / float64(area)
		s.Mean[c] = float32(mean)
		s.Deviation[c] = float32(variance / math.Sqrt(variance+networks.AdaINEps)) // as inference.Moments
	}
	return s, nil
}
