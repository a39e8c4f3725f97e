package optimize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/vgg"
	"stylenet/internal/weights"
	"stylenet/losses"
)

const side = 16

// fixture is a device, a random VGG-19 up to relu2_1 and options for pictures
// of side pixels.
func fixture(t *testing.T) (kernels.Device, *vgg.Weights, Options) {
	t.Helper()
	dev, err := devices.Open("auto", devices.Options{Threads: 1, Exact: true})
	check(t, err)
	t.Cleanup(func() { check(t, dev.Close()) })
	net, err := networks.VGG19("relu2_1", networks.Caffe, false)
	check(t, err)
	set, err := net.Init(3)
	check(t, err)
	return dev, &vgg.Weights{Set: set, Convention: networks.Caffe, Description: "for a test"}, Options{
		Content: drawn(t, scenes.Photo(1, side, side)),
		Styles:  []Style{{Picture: drawn(t, scenes.Painting(2, side, side)), Weight: 1}},
		Recipe: losses.Recipe{
			Content:        []losses.Layer{{Name: "relu2_1", Weight: 1}},
			Style:          []losses.Layer{{Name: "relu1_1", Weight: 100}, {Name: "relu2_1", Weight: 100}},
			TotalVariation: 1e-5,
		},
		Scales: []Scale{{side, side, 12}}, StyleScale: 1, Optimizer: LBFGS, History: 5, Rate: 2,
	}
}

func drawn(t *testing.T, img image.Image) *images.Picture {
	t.Helper()
	p, err := images.FromImage(img)
	check(t, err)
	return p
}

// half is white in the left or the right half.
func half(right bool) *images.Picture {
	p := images.New(side, side)
	for i := range p.Pix {
		if (i%side >= side/2) == right {
			p.Pix[i] = 255
		}
	}
	return p
}

func optimized(t *testing.T, dev kernels.Device, w *vgg.Weights, o Options) *images.Picture {
	t.Helper()
	r, err := New(dev, w, o)
	check(t, err)
	p, err := r.Run(t.Context(), nil)
	check(t, err)
	check(t, r.Close())
	return p
}

// The style loss falls by more than half, and the loss itself with each step,
// from the content and from noise, with both optimisers and poolings.
func TestStyleIsTakenOn(t *testing.T) {
	dev, w, base := fixture(t)
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"from the content", func(*Options) {}},
		{"from noise, average pooling", func(o *Options) { o.Noise, o.AveragePooling = true, true }},
		{"from a picture", func(o *Options) { o.Start = drawn(t, scenes.Photo(9, 2*side, side)) }},
		{"by Adam", func(o *Options) { o.Optimizer, o.Rate = Adam, 8 }},
		{"two styles", func(o *Options) {
			o.Styles = append(o.Styles, Style{Picture: drawn(t, scenes.Painting(3, side, 2*side)), Weight: 2})
		}},
	} {
		o := base
		c.change(&o)
		var seen []Losses
		o.Observe = func(p Progress) { seen = append(seen, p.Losses) }
		p := optimized(t, dev, w, o)
		first, last := seen[0], seen[len(seen)-1]
		if !(last.Style < first.Style/2) || !(last.Loss < first.Loss/2) {
			t.Errorf("%s: style loss from %g to %g, loss from %g to %g", c.name, first.Style, last.Style, first.Loss, last.Loss)
		}
		for i := 1; i < len(seen) && o.Optimizer == LBFGS; i++ {
			if seen[i].Loss > seen[i-1].Loss {
				t.Errorf("%s: the loss rises from %g to %g", c.name, seen[i-1].Loss, seen[i].Loss)
			}
		}
		for i, v := range p.Pix {
			if !(v >= 0 && v <= 255) {
				t.Fatalf("%s: value %d is %g", c.name, i, v)
			}
		}
	}
}

// What must not change does not, to the bit.
func TestIdentities(t *testing.T) {
	dev, w, base := fixture(t)
	same := func(name string, got, want *images.Picture) {
		t.Helper()
		if !slices.Equal(got.Pix, want.Pix) {
			t.Errorf("%s changes the picture", name)
		}
	}
	o := base
	o.Scales = []Scale{{side, side, 0}}
	same("no step", optimized(t, dev, w, o), base.Content)

	o = base
	o.Recipe.Style, o.Recipe.TotalVariation, o.Styles = nil, 0, nil
	same("the content alone", optimized(t, dev, w, o), base.Content)

	o = base
	o.Recipe.Content, o.Recipe.TotalVariation = nil, 0
	o.Styles = []Style{{Picture: base.Content, Weight: 1}}
	same("the content as its own style", optimized(t, dev, w, o), base.Content)

	// Outside of the region, to which the border belongs, the content stays.
	for _, optimizer := range []string{LBFGS, Adam} {
		o = base
		o.Optimizer = optimizer
		o.Styles = []Style{{Picture: base.Styles[0].Picture, Weight: 1, Region: half(false)}}
		o.Scales = []Scale{{side / 2, side / 2, 5}, {side, side, 5}}
		p := optimized(t, dev, w, o)
		changed := 0
		for i, v := range p.Pix {
			switch kept := v == base.Content.Pix[i]; {
			case i%side >= side/2 && !kept:
				t.Fatalf("%s: value %d, outside of the region, is %g and was %g", optimizer, i, v, base.Content.Pix[i])
			case !kept:
				changed++
			}
		}
		if changed < len(p.Pix)/4 {
			t.Errorf("%s: %d values of the region have changed", optimizer, changed)
		}
	}

	// The colours are the content's: the chroma of both is the same where
	// nothing is cut off at black and white.
	o = base
	o.KeepColors = true
	p := optimized(t, dev, w, o)
	for i := range side * side {
		var d [3]float32
		inside := true
		for c := range 3 {
			v := p.Plane(c)[i]
			d[c] = v - base.Content.Plane(c)[i]
			inside = inside && v > 1 && v < 254
		}
		if inside && max(d[0], d[1], d[2])-min(d[0], d[1], d[2]) > .01 {
			t.Fatalf("pixel %d changes its colour by %v", i, d)
		}
	}
}

// Each half of the picture takes on its own style: it comes nearer to that than
// to the other's.
func TestRegionsTakeTheirOwnStyle(t *testing.T) {
	dev, w, o := fixture(t)
	red, blue := images.New(side, side), images.New(side, side)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range side * side {
		red.Plane(0)[i], blue.Plane(2)[i] = float32(100+155*r.Float64()), float32(100+155*r.Float64())
	}
	// The masks of the styles exclude halves of the other colour.
	mixed := func(left, right *images.Picture) *images.Picture {
		p := left.Clone()
		for i := range p.Pix {
			if i%side >= side/2 {
				p.Pix[i] = right.Pix[i]
			}
		}
		return p
	}
	o.Recipe.Content[0].Weight = 1e-3
	o.Styles = []Style{
		{Picture: mixed(red, blue), Weight: 1, Mask: half(false), Region: half(false)},
		{Picture: mixed(red, blue), Weight: 1, Mask: half(true), Region: half(true)},
	}
	o.Scales[0].Steps = 25
	p := optimized(t, dev, w, o)
	warmth := func(p *images.Picture, right bool) (mean float64) {
		for i := range side * side {
			if (i%side >= side/2) == right {
				mean += float64(p.Plane(0)[i]-p.Plane(2)[i]) / (side * side / 2)
			}
		}
		return mean
	}
	left, right := warmth(p, false)-warmth(o.Content, false), warmth(p, true)-warmth(o.Content, true)
	if !(left > 20 && right < -20) {
		t.Errorf("red minus blue changes by %.0f on the left, where the style is red, and by %.0f on the right, where it is blue", left, right)
	}
}

// The gradient is the slope of the loss, along itself and along any direction,
// also with regions; and zero where the picture stays.
func TestGradient(t *testing.T) {
	dev, w, o := fixture(t)
	soft := images.New(side, side)
	for i := range soft.Pix {
		soft.Pix[i] = float32(255 * (i % side) / side)
	}
	painting := o.Styles[0].Picture
	for name, styles := range map[string][]Style{
		"whole":           {{Picture: painting, Weight: 1}},
		"soft and whole":  {{Picture: painting, Weight: 1, Region: soft}, {Picture: o.Content, Weight: 2}},
		"two halves":      {{Picture: painting, Weight: 1, Region: half(false)}, {Picture: painting, Weight: 1, Region: half(true)}},
		"a half, a style": {{Picture: painting, Weight: 1, Region: half(false), Mask: soft}},
	} {
		o := o
		o.Styles = styles
		r, err := New(dev, w, o)
		check(t, err)
		s, err := o.scene(side, side)
		check(t, err)
		f, err := r.newObjective(s)
		check(t, err)
		start := noise(1, side, side)
		s.hold(start)
		value := func(pix []float32) float64 {
			check(t, f.dev.Upload(f.x, pix))
			l, err := f.evaluate()
			check(t, err)
			if sum := l.Content + l.Style + l.TotalVariation; l.Loss != sum || !(l.Content > 0 && l.Style > 0 && l.TotalVariation > 0) {
				t.Errorf("%s: the loss is %+v", name, l)
			}
			return l.Loss
		}
		value(start.Pix)
		grad := make([]float32, len(start.Pix))
		check(t, f.machine.Device().Download(grad, f.grad))
		direction := slices.Clone(grad)
		random := rand.New(rand.NewPCG(4, 4))
		for try := range 3 {
			if try > 0 {
				for i := range direction {
					direction[i] = float32(random.NormFloat64())
					if s.free != nil {
						direction[i] *= s.free[i%len(s.free)]
					}
				}
			}
			norm, slope := 0.0, 0.0
			for i, d := range direction {
				norm += float64(d) * float64(d)
				slope += float64(d) * float64(grad[i])
			}
			slope /= math.Sqrt(norm)
			const h = 1. // of brightness, over all pixels
			up, down := slices.Clone(start.Pix), slices.Clone(start.Pix)
			length := 0.0 // of the difference, as it was rounded
			for i, d := range direction {
				step := float32(h * float64(d) / math.Sqrt(norm))
				up[i], down[i] = up[i]+step, down[i]-step
				length += math.Pow(float64(up[i])-float64(down[i]), 2)
			}
			got := (value(up) - value(down)) / math.Sqrt(length)
			scale := 0.0
			for _, g := range grad {
				scale += float64(g) * float64(g)
			}
			if math.Abs(got-slope) > .01*math.Abs(slope)+.001*math.Sqrt(scale) {
				t.Errorf("%s: the slope along direction %d is %g, the gradient says %g (its norm is %g)", name, try, got, slope, math.Sqrt(scale))
			}
		}
		for i, g := range grad {
			if s.free != nil && s.free[i%len(s.free)] == 0 && g != 0 {
				t.Fatalf("%s: the gradient of value %d, which stays, is %g", name, i, g)
			}
		}
		check(t, f.close())
		check(t, r.Close())
	}
}

// From each state that was saved, and from where it was stopped, a run goes on
// to the same bytes.
func TestResume(t *testing.T) {
	dev, w, o := fixture(t)
	o.Styles = append(o.Styles, Style{Picture: o.Styles[0].Picture, Weight: 1, Region: half(true)})
	o.Scales = []Scale{{side / 2, side / 2, 7}, {side, side, 5}}
	o.History = 3
	for _, o.Optimizer = range []string{LBFGS, Adam} {
		var states []*State
		o.Checkpoint, o.CheckpointEvery = func(s *State) error { states = append(states, copied(s)); return nil }, 2
		want := optimized(t, dev, w, o)
		if len(states) < 4 || states[0].Scale != 0 || states[len(states)-1].Scale != 1 {
			t.Fatalf("%s: %d states", o.Optimizer, len(states))
		}
		saved := states
		for _, s := range saved {
			r, err := New(dev, w, o)
			check(t, err)
			got, err := r.Run(t.Context(), copied(s))
			check(t, err)
			check(t, r.Close())
			if !slices.Equal(got.Pix, want.Pix) {
				t.Errorf("%s: resumed at step %d of scale %d, the result differs", o.Optimizer, s.Step, s.Scale)
			}
		}
		// Stopped again and again, after each step.
		o.CheckpointEvery = 0
		var from *State
		stops := 0
		for {
			ctx, stop := context.WithCancelCause(t.Context())
			enough := errors.New("enough")
			o.Observe = func(Progress) { stop(enough) }
			states = nil
			r, err := New(dev, w, o)
			check(t, err)
			got, err := r.Run(ctx, from)
			check(t, r.Close())
			stop(nil)
			if err == nil {
				if !slices.Equal(got.Pix, want.Pix) {
					t.Errorf("%s: stopped %d times, the result differs", o.Optimizer, stops)
				}
				break
			}
			if !errors.Is(err, enough) || len(states) != 1 {
				t.Fatalf("%s: %v, %d states", o.Optimizer, err, len(states))
			}
			from = states[0]
			stops++
		}
		if stops < 6 {
			t.Errorf("%s: stopped %d times", o.Optimizer, stops)
		}
		o.Observe = nil
	}
}

// copied is a state as it comes back from a file.
func copied(s *State) *State {
	c := *s
	c.Optimizer = slices.Clone(s.Optimizer)
	c.Tensors = s.Tensors.Clone()
	return &c
}

// A scale begins with the history of the one before: the products of steps and
// changes of the gradient are about what they were, and zero where the picture
// stays.
func TestScalesAreWarm(t *testing.T) {
	dev, w, o := fixture(t)
	o.Styles = []Style{{Picture: o.Styles[0].Picture, Weight: 1, Region: half(false)}}
	o.Scales = []Scale{{side, side, 12}, {2 * side, 2 * side, 4}}
	o.Recipe.TotalVariation = 0
	r, err := New(dev, w, o)
	check(t, err)
	defer func() { check(t, r.Close()) }()
	_, before, err := r.scale(t.Context(), 0, nil, nil)
	check(t, err)
	if before.Scale != 0 || before.Step != 12 {
		t.Fatalf("the first scale leaves a state of step %d at scale %d", before.Step, before.Scale)
	}
	s, err := o.scene(2*side, 2*side)
	check(t, err)
	f, err := r.newObjective(s)
	check(t, err)
	defer func() { check(t, f.close()) }()
	m, err := r.newMinimizer(f)
	check(t, err)
	defer func() { check(t, m.close()) }()
	e := enlargement{o.Scales[0], o.Scales[1], &s}
	check(t, m.warm(before, e))
	l := m.(*lbfgs)
	if l.pairs < 3 {
		t.Fatalf("%d pairs", l.pairs)
	}
	newest := (l.pairs - 1) % l.history
	step, change := make([]float32, f.x.Shape().Elements()), make([]float32, f.x.Shape().Elements())
	check(t, errors.Join(l.dev.Download(step, l.s[newest]), l.dev.Download(change, l.y[newest])))
	small := before.Tensors
	var state lbfgsState
	check(t, json.Unmarshal(before.Optimizer, &state))
	at := (state.Pairs - 1) % o.History
	product := func(a, b []float32) (sum float64) {
		for i := range a {
			sum += float64(a[i]) * float64(b[i])
		}
		return sum
	}
	was := product(small.Get(fmt.Sprintf("s.%d", at)).Data, small.Get(fmt.Sprintf("y.%d", at)).Data)
	is := product(step, change)
	if is < was/3 || is > was*3 {
		t.Errorf("s·y was %g and is %g", was, is)
	}
	if math.Abs(is-l.sy[newest][newest]) > 1e-3*is {
		t.Errorf("s·y is %g, known as %g", is, l.sy[newest][newest])
	}
	for i := range step {
		if s.free[i%len(s.free)] == 0 && (step[i] != 0 || change[i] != 0) {
			t.Fatalf("value %d, which stays, has a step of %g", i, step[i])
		}
	}
}

func TestErrors(t *testing.T) {
	dev, w, base := fixture(t)
	for want, change := range map[string]func(*Options){
		"optimize: no content or no style":                     func(o *Options) { o.Styles = nil },
		"optimize: no scales":                                  func(o *Options) { o.Scales = nil },
		`optimize: unknown optimiser "sgd"`:                    func(o *Options) { o.Optimizer = "sgd" },
		"optimize: a history of 0 steps":                       func(o *Options) { o.History = 0 },
		"optimize: a rate of 0":                                func(o *Options) { o.Optimizer, o.Rate = Adam, 0 },
		"optimize: styles scaled by 0":                         func(o *Options) { o.StyleScale = 0 },
		"optimize: a style without a picture, or of weight -1": func(o *Options) { o.Styles = []Style{{Picture: o.Content, Weight: -1}} },
		"optimize: a scale of 0×5 with 1 steps":                func(o *Options) { o.Scales = []Scale{{0, 5, 1}} },
		`VGG-19 of no layer "relu9_1"`:                         func(o *Options) { o.Recipe.Style = []losses.Layer{{Name: "relu9_1", Weight: 1}} },
		"at 16×16: region sky.png: losses: a region has no": func(o *Options) {
			o.Styles = []Style{{Picture: o.Content, Weight: 1, Region: images.New(9, 9), RegionName: "sky.png"}}
		},
		"at 16×16: mask m.png: losses: a region has no": func(o *Options) {
			o.Styles = []Style{{Picture: o.Content, Weight: 1, Mask: images.New(9, 9), MaskName: "m.png"}}
		},
		"step 2 at 16×16: the slope of the loss is NaN: lower the weights": func(o *Options) { o.Recipe.Style = []losses.Layer{{Name: "relu1_1", Weight: 1e300}} },
	} {
		o := base
		change(&o)
		r, err := New(dev, w, o)
		if err == nil {
			_, err = r.Run(t.Context(), nil)
			check(t, r.Close())
		}
		if want == `VGG-19 of no layer "relu9_1"` {
			if err == nil || !strings.Contains(err.Error(), "relu9_1") {
				t.Errorf("an unknown layer: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// States of something else.
	r, err := New(dev, w, base)
	check(t, err)
	for want, s := range map[string]*State{
		"they have changed since":                         {Inputs: "x"},
		"step 99 at scale 0, which there is not":          {Inputs: r.inputs, Step: 99, Tensors: &weights.Set{}},
		"step 0 at scale 7, which there is not":           {Inputs: r.inputs, Scale: 7, Tensors: &weights.Set{}},
		`the saved state has no tensor "x" of 768 values`: {Inputs: r.inputs, Tensors: &weights.Set{}},
	} {
		if _, err := r.Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	check(t, r.Close())
}
