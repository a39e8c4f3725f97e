package model

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Share is how much of a mix a style is.
type Share struct {
	Style  string
	Weight float64 // at least 0; those of a mix are divided by their sum
}

// ParseMix reads a mix as people write it: STYLE=WEIGHT, separated by commas. A
// STYLE alone has the weight 1.
func ParseMix(text string) ([]Share, error) {
	var mix []Share
	for part := range strings.SplitSeq(text, ",") {
		name, weight, given := strings.Cut(strings.TrimSpace(part), "=")
		s := Share{strings.TrimSpace(name), 1}
		if s.Style == "" {
			return nil, fmt.Errorf("style mix %q: write STYLE=WEIGHT,STYLE=WEIGHT", text)
		}
		if given {
			var err error
			if s.Weight, err = strconv.ParseFloat(strings.TrimSpace(weight), 64); err != nil {
				return nil, fmt.Errorf("style mix %q: the weight %q of %s is no number", text, weight, s.Style)
			}
		}
		mix = append(mix, s)
	}
	return mix, nil
}

// Styles are the names of the styles of a network of many, or nil.
func (m *Model) Styles() []string {
	if d, ok := m.Network.(networks.MultiStyle); ok {
		return d.Styles
	}
	return nil
}

// Mixture returns the weights of a mix in the order of the model's styles; they
// add up to 1. Without shares it is that of a model's only style. Errors list the
// styles that the model has.
func (m *Model) Mixture(mix []Share) ([]float64, error) {
	styles := m.Styles()
	if styles == nil {
		if len(mix) > 0 {
			return nil, fmt.Errorf("there is no style %q to mix: the network has one style alone, without a name", mix[0].Style)
		}
		return nil, nil
	}
	known := strings.Join(styles, ", ")
	if len(mix) == 0 && len(styles) == 1 {
		mix = []Share{{styles[0], 1}}
	}
	if len(mix) == 0 {
		return nil, &MixError{styles}
	}
	shares := make([]float64, len(styles))
	seen := make([]bool, len(styles))
	sum := 0.0
	for _, s := range mix {
		i := slices.Index(styles, s.Style)
		switch {
		case i < 0:
			return nil, fmt.Errorf("the network has no style %q: it has %s", s.Style, known)
		case seen[i]:
			return nil, fmt.Errorf("the style %q is in the mix twice", s.Style)
		case !(s.Weight >= 0) || math.IsInf(s.Weight, 0): // not a number fails too
			return nil, fmt.Errorf("the style %q has the weight %v: give 0 or more", s.Style, s.Weight)
		}
		seen[i], shares[i] = true, s.Weight
		sum += s.Weight
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return nil, fmt.Errorf("the weights of the mix add up to %v, which is no number above 0", sum)
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares, nil
}

// MixError says that a network of several styles cannot run before they are mixed.
type MixError struct{ Styles []string }

func (e *MixError) Error() string {
	return fmt.Sprintf("the network has %d styles, and none is chosen: %s", len(e.Styles), strings.Join(e.Styles, ", "))
}

// Hint says how one is chosen.
func (e *MixError) Hint() string {
	return fmt.Sprintf("choose one with --style-mix %s, or mix them with --style-mix %[1]s=0.5,%[2]s=0.5", e.Styles[0], e.Styles[min(1, len(e.Styles)-1)])
}

// Mix returns the network of one style that m is for a mix: its scales and shifts
// are weighted sums of those of m's styles. It shares m's convolutions. A network
// of one style without a name is returned as it is. Errors are those of Mixture.
func (m *Model) Mix(mix []Share) (*Model, error) {
	shares, err := m.Mixture(mix)
	if err != nil {
		return nil, err
	}
	many, ok := m.Network.(networks.MultiStyle)
	if !ok {
		return m, nil
	}
	net, err := many.Build()
	if err != nil {
		return nil, err
	}
	plain, err := many.Johnson.Build()
	if err != nil {
		return nil, err
	}
	sums := map[string][]float64{}
	for _, r := range net.Rows() {
		t := m.Weights.Get(r.Name)
		if t == nil {
			return nil, fmt.Errorf("tensor %q is missing", r.Name)
		}
		if sums[r.Plain] == nil {
			sums[r.Plain] = make([]float64, len(t.Data))
		}
		for i, v := range t.Data {
			sums[r.Plain][i] += shares[r.Style] * float64(v)
		}
	}
	mixed := *m
	mixed.Network, mixed.Weights, mixed.StyleName = many.Johnson, &weights.Set{}, nameOf(many.Styles, shares)
	for _, p := range plain.Params() {
		var data []float32
		if sum, ok := sums[p.Name]; ok {
			for _, v := range sum {
				data = append(data, float32(v))
			}
		} else if t := m.Weights.Get(p.Name); t != nil {
			data = t.Data
		}
		if err := mixed.Weights.Add(p.Name, p.Shape, data); err != nil {
			return nil, err
		}
	}
	return &mixed, nil
}

// nameOf names a mix, such as "30% starry, 70% scream", or its only style.
func nameOf(styles []string, shares []float64) string {
	var parts []string
	for i, share := range shares {
		if share == 1 {
			return styles[i]
		}
		if share > 0 {
			parts = append(parts, fmt.Sprintf("%.3g%% %s", 100*share, styles[i]))
		}
	}
	return strings.Join(parts, ", ")
}

// AddStyles returns m with more styles, whose scales and shifts are, until they
// are trained, the means of those that m has.
func (m *Model) AddStyles(names ...string) (*Model, error) {
	many, ok := m.Network.(networks.MultiStyle)
	if !ok {
		return nil, fmt.Errorf("styles can be added to a network of many styles alone, and this is one of %s", m.Network)
	}
	for _, name := range names {
		if slices.Contains(many.Styles, name) {
			return nil, fmt.Errorf("the network has a style %q already: it has %s", name, strings.Join(many.Styles, ", "))
		}
	}
	equal := make([]Share, len(many.Styles))
	for i, name := range many.Styles {
		equal[i] = Share{name, 1}
	}
	mean, err := m.Mix(equal)
	if err != nil {
		return nil, err
	}
	many.Styles = append(slices.Clone(many.Styles), names...)
	net, err := many.Build()
	if err != nil {
		return nil, err
	}
	plain := map[string]string{}
	for _, r := range net.Rows() {
		plain[r.Name] = r.Plain
	}
	more := *m
	more.StyleName, more.StyleLicence = "", "" // they were those of fewer
	more.Network, more.Weights = many, &weights.Set{}
	for _, p := range net.Params() {
		t := m.Weights.Get(p.Name)
		if t == nil {
			t = mean.Weights.Get(plain[p.Name])
		}
		if t == nil {
			return nil, fmt.Errorf("tensor %q is missing", p.Name)
		}
		if err := more.Weights.Add(p.Name, p.Shape, slices.Clone(t.Data)); err != nil {
			return nil, err
		}
	}
	return &more, nil
}
