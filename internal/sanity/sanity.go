// Package sanity runs a style network on two small pictures, one grey and one
// drawn, and says what looks wrong with what comes out: a network that is run
// with another range or order of values than it was trained with gives black,
// plain or glaring pictures, and no error.
//
// It owns the pictures and the limits of what looks right. It refuses files, and
// to judge whether a picture is beautiful.
package sanity

import (
	"fmt"
	"math"

	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
)

// Side is that of the pictures, rounded up to what the network can take.
const Side = 128

// Limits of networks that are run for a check: a hundred times the published
// ones.
const (
	maxMultiplications = 500e9
	maxMaps            = 2 << 30 // bytes
)

// Report is what came out.
type Report struct {
	// Skipped says why the network was not run, or is "".
	Skipped  string    `json:"skipped,omitempty"`
	Pictures []Picture `json:"pictures,omitempty"`
	// Warnings say what looks wrong.
	Warnings []string `json:"warnings,omitempty"`
}

// Picture is what the network made of one picture, in values of 0 to 255 that
// are not yet clamped.
type Picture struct {
	Of        string     `json:"of"` // "grey" or "drawn"
	Mean      [3]float64 `json:"mean"`
	Deviation float64    `json:"deviation"` // the largest of the three channels'
	Low       float64    `json:"low"`
	High      float64    `json:"high"`
	Outside   float64    `json:"outside"` // share of values below -64 or above 319
}

// Check runs m on dev. A network that needs more than a picture, or too much of
// the machine, is not run; of a network of many styles the even mix is.
func Check(dev kernels.Device, m *model.Model) (*Report, error) {
	if styles := m.Styles(); len(styles) > 1 {
		var mix []model.Share
		for _, s := range styles {
			mix = append(mix, model.Share{Style: s, Weight: 1})
		}
		var err error
		if m, err = m.Mix(mix); err != nil {
			return nil, err
		}
	} else if len(styles) == 1 {
		var err error
		if m, err = m.Mix(nil); err != nil {
			return nil, err
		}
	}
	net, err := m.Network.Build()
	if err != nil {
		return nil, err
	}
	multiple, least, err := net.Multiple()
	if err != nil {
		return nil, err
	}
	side := max((Side+multiple-1)/multiple*multiple, least)
	work, err := multiplications(net, side)
	if err != nil {
		return nil, err
	}
	maps, err := inference.MapBytes(dev, net, 1, side, side)
	if err != nil {
		return nil, err
	}
	if work > maxMultiplications || maps > maxMaps {
		return &Report{Skipped: fmt.Sprintf("the network takes %.0f billion multiplications and %d MiB for %d×%d pixels", work/1e9, maps>>20, side, side)}, nil
	}
	return run(dev, m, net, side)
}

// multiplications counts those of the convolutions.
func multiplications(net *networks.Network, side int) (float64, error) {
	sizes, err := net.Sizes(side, side)
	if err != nil {
		return 0, err
	}
	work := 0.
	for i, l := range net.Layers {
		out := float64(sizes[i].H) * float64(sizes[i].W)
		switch op := l.Op.(type) {
		case networks.Conv:
			work += out * float64(op.In) * float64(op.Out) * float64(op.Kernel*op.Kernel)
		case networks.ConvTranspose:
			work += out * float64(op.In) * float64(op.Out) * float64(op.Kernel*op.Kernel) / float64(op.Stride*op.Stride)
		default:
			work += out * float64(sizes[i].C)
		}
	}
	return work, nil
}

func run(dev kernels.Device, m *model.Model, net *networks.Network, side int) (r *Report, err error) {
	scope := dev.Scope()
	defer func() {
		if e := scope.Close(); err == nil {
			err = e
		}
	}()
	params, err := inference.Upload(scope, net, m.Weights)
	if err != nil {
		return nil, err
	}
	plan, err := inference.Compile(scope, net, params, 1, side, side)
	if err != nil {
		return nil, err
	}
	defer plan.Close()
	drawn, err := images.FromImage(scenes.Photo(1, side, side))
	if err != nil {
		return nil, err
	}
	grey := images.New(side, side)
	for i := range grey.Pix {
		grey.Pix[i] = 128
	}
	r = &Report{}
	values := make([]float32, 3*side*side)
	for _, p := range []struct {
		of  string
		pix []float32
	}{{"grey", grey.Pix}, {"drawn", drawn.Pix}} {
		if err := plan.Device().Upload(plan.Input(), p.pix); err != nil {
			return nil, err
		}
		plan.Run()
		if err := plan.Device().Download(values, plan.Output(0)); err != nil {
			return nil, err
		}
		r.Pictures = append(r.Pictures, measure(p.of, values))
	}
	r.Warnings = judge(r.Pictures)
	return r, nil
}

// measure describes a picture of three planes.
func measure(of string, values []float32) Picture {
	p := Picture{Of: of, Low: math.Inf(1), High: math.Inf(-1)}
	plane := len(values) / 3
	outside := 0
	for c := range 3 {
		sum, squares := 0., 0.
		for _, v := range values[c*plane : (c+1)*plane] {
			x := float64(v)
			sum += x
			squares += x * x
			p.Low, p.High = min(p.Low, x), max(p.High, x) // NaN stays NaN
			if !(x >= -64 && x <= 319) {
				outside++
			}
		}
		p.Mean[c] = sum / float64(plane)
		p.Deviation = max(p.Deviation, math.Sqrt(max(squares/float64(plane)-p.Mean[c]*p.Mean[c], 0)))
	}
	p.Outside = float64(outside) / float64(len(values))
	return p
}

// judge says what no style network gives that is run as it was trained.
func judge(pictures []Picture) (warnings []string) {
	for _, p := range pictures {
		what := fmt.Sprintf("of a %s picture it makes ", p.Of)
		add := func(format string, args ...any) { warnings = append(warnings, what+fmt.Sprintf(format, args...)) }
		bright := (p.Mean[0] + p.Mean[1] + p.Mean[2]) / 3
		switch {
		case math.IsNaN(p.Low) || math.IsNaN(p.High) || math.IsInf(p.Low, 0) || math.IsInf(p.High, 0):
			add("values that are no numbers")
		case p.High-p.Low < 16 && p.High < 16 && p.Low > -16:
			add("values of %.3g to %.3g, which is black: it seems not to give 0 to 255", p.Low, p.High)
		case p.Of == "drawn" && p.Deviation < 1:
			add("one colour (%.0f, %.0f, %.0f)", p.Mean[0], p.Mean[1], p.Mean[2])
		case p.Outside > .2:
			add("values of %.4g to %.4g, %.0f%% of them far outside 0 to 255", p.Low, p.High, 100*p.Outside)
		case bright < 4:
			add("almost black (%.0f, %.0f, %.0f)", p.Mean[0], p.Mean[1], p.Mean[2])
		case bright > 251:
			add("almost white (%.0f, %.0f, %.0f)", p.Mean[0], p.Mean[1], p.Mean[2])
		}
	}
	return warnings
}
