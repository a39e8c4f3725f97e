package losses

import (
	"math"
	"math/rand/v2"
	"testing"

	"stylenet/internal/autodiff"
	"stylenet/internal/flow"
	"stylenet/internal/kernels"
)

// The temporal loss is that of its definition, beside the others, and its gradient
// takes the other picture of a pair for a constant.
func TestTemporal(t *testing.T) {
	dev, net, arrays, set := fixture(t)
	const pairs, weight, n = 2, 3., rows * cols
	pixels := picture(1, 2*pairs)
	random := rand.New(rand.NewPCG(1, 2))
	flows, seen := make([]float32, 2*pairs*2*n), make([]float32, 2*pairs*n)
	for i := range flows {
		flows[i] = 2*random.Float32() - 1
	}
	for i := range seen {
		seen[i] = float32(random.IntN(2))
	}
	upload := func(c int, values []float32) kernels.Array {
		a, err := dev.NewActivation(kernels.Shape{N: 2 * pairs, C: c, H: rows, W: cols})
		check(t, err)
		check(t, dev.Upload(a, values))
		return a
	}

	// step gives the temporal loss and the gradient of the whole for the pictures.
	step := func(temporal float64) (float64, []float32) {
		r := Recipe{Style: recipe.Style, TotalVariation: 1e-3, Temporal: temporal}
		targets := Targets{Style: styleTargets(t, dev, net, arrays, set, picture(2, 1))}
		if temporal > 0 {
			targets.Flow, targets.Seen = upload(2, flows), upload(1, seen)
		}
		g, err := autodiff.New(dev)
		check(t, err)
		y, err := g.Parameter("pictures", upload(3, pixels))
		check(t, err)
		terms, err := Perceptual(g, net, arrays, y, targets, r)
		check(t, err)
		machine, err := g.Compile(terms.Total)
		check(t, err)
		defer func() { check(t, machine.Close()) }()
		check(t, machine.Step())
		check(t, machine.Step()) // no array that a later kernel reads was given away
		gradient := make([]float32, len(pixels))
		check(t, machine.Device().Download(gradient, machine.Gradient(0)))
		if temporal == 0 {
			return 0, gradient
		}
		var v [1]float32
		check(t, machine.Device().Download(v[:], machine.Value(terms.Temporal)))
		return float64(v[0]), gradient
	}
	loss, with := step(weight)
	_, without := step(0)

	var want float64
	for i := range 2 * pairs {
		f := &flow.Field{W: cols, H: rows, U: flows[i*2*n:][:n], V: flows[i*2*n+n:][:n]}
		moved := make([]float32, 3*n)
		check(t, f.Warp(moved, pixels[(i^1)*3*n:][:3*n], nil))
		for j, other := range moved {
			at := i*3*n + j
			d := float64(seen[i*n+j%n]) * float64(pixels[at]-other)
			want += d * d / float64(len(pixels))
			if got, want := float64(with[at]-without[at]), weight*2*d/float64(len(pixels)); math.Abs(got-want) > 1e-4*math.Abs(want)+1e-5*math.Abs(float64(with[at]))+1e-6 {
				t.Fatalf("the gradient of value %d is %g more, want %g", at, got, want)
			}
		}
	}
	near(t, "the temporal loss", loss, want)

	g, err := autodiff.New(dev)
	check(t, err)
	y, err := g.Parameter("pictures", upload(3, pixels))
	check(t, err)
	if _, err := Perceptual(g, net, arrays, y, Targets{}, Recipe{Temporal: 1}); err == nil || err.Error() != "losses: a temporal loss without flow, or without what is seen" {
		t.Errorf("without a flow: %v", err)
	}
}
