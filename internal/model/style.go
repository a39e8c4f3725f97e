package model

import (
	"errors"
	"fmt"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Style is what a model of any style takes of a picture: the mean and the
// standard deviation of each channel of its features.
type Style struct{ Mean, Deviation []float32 }

// MixStyles is the mean of styles with weights, which are not negative and not
// all 0.
func MixStyles(styles []Style, weights []float64) (Style, error) {
	var sum float64
	for _, w := range weights {
		if !(w >= 0) { // not a number fails too
			return Style{}, fmt.Errorf("the weight %v of a style is not at least 0", w)
		}
		sum += w
	}
	if len(styles) == 0 || len(styles) != len(weights) {
		return Style{}, fmt.Errorf("%d styles with %d weights", len(styles), len(weights))
	}
	if !(sum > 0 && sum-sum == 0) {
		return Style{}, errors.New("no style has a weight above 0")
	}
	mix := Style{make([]float32, len(styles[0].Mean)), make([]float32, len(styles[0].Mean))}
	for i, s := range styles {
		if len(s.Mean) != len(mix.Mean) || len(s.Deviation) != len(mix.Mean) {
			return Style{}, fmt.Errorf("styles of %d and %d channels", len(mix.Mean), len(s.Mean))
		}
		share := weights[i] / sum
		for c := range mix.Mean {
			mix.Mean[c] += float32(share * float64(s.Mean[c]))
			mix.Deviation[c] += float32(share * float64(s.Deviation[c]))
		}
	}
	return mix, nil
}

// KeyPart is the key of an ONNX file's metadata that names which of the two networks
// of a model of any style it is.
const KeyPart = "stylenet.part"

// AnyStyle is the design of a model that takes its style from a picture, and
// whether this is one. It runs as what Styled makes of it.
func (m *Model) AnyStyle() (networks.AdaIN, bool) {
	design, ok := m.Network.(networks.AdaIN)
	return design, ok
}

// Styled makes a model of any style one of this style, which runs, and is
// exported, as any other does. strength is AdaIN's α: the share of the style in
// the features, from 0, where the model gives back the content as its decoder
// remembers it, to 1. The model shares its tensors with m.
func (m *Model) Styled(s Style, strength float32) (*Model, error) {
	design, ok := m.AnyStyle()
	switch {
	case !ok:
		return nil, errors.New("the model has a style of its own, and takes none from a picture")
	case len(s.Mean) != design.Channels() || len(s.Deviation) != design.Channels():
		return nil, fmt.Errorf("a style of %d channels for a model of %d", len(s.Mean), design.Channels())
	case !(strength >= 0 && strength <= 1):
		return nil, fmt.Errorf("a strength of %v is not between 0 and 1", strength)
	}
	net, err := design.Styled(strength)
	if err != nil {
		return nil, err
	}
	styled := *m
	styled.Network, styled.Weights = net, &weights.Set{}
	for _, p := range net.Params() {
		data := m.Weights.Get(p.Name).Data
		switch p.Name {
		case networks.AdaINNorm + ".weight":
			data = scaled(s.Deviation, strength)
		case networks.AdaINNorm + ".bias":
			data = scaled(s.Mean, strength)
		}
		if err := styled.Weights.Add(p.Name, p.Shape, data); err != nil {
			return nil, err
		}
	}
	return &styled, nil
}

func scaled(values []float32, by float32) []float32 {
	result := make([]float32, len(values))
	for i, v := range values {
		result[i] = by * v
	}
	return result
}
