// Package optimize repaints one picture by changing its pixels until its
// features match a content and one or more styles (Gatys, Ecker and Bethge
// 2016): no network is trained.
//
// It owns the two optimisers, L-BFGS and Adam, on a device's arrays, the scales
// from small to large, the regions, and a state to go on from. It refuses to
// know what the losses are made of (package losses), which files pictures come
// from and where results go.
package optimize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/vgg"
	"stylenet/losses"
)

// The optimisers.
const (
	LBFGS = "lbfgs"
	Adam  = "adam"
)

// Options say what is optimised, and how. None of the pictures is changed.
type Options struct {
	Content *images.Picture
	Styles  []Style

	// Start is what the optimisation begins with; nil is the content, or with
	// Noise normally distributed noise, drawn from Seed.
	Start *images.Picture
	Noise bool
	Seed  uint64

	// Recipe weighs the losses, as they are for weights of VGG-19 that take RGB
	// 0-255. For weights that take smaller numbers, and so give smaller
	// features, the terms are made as large as they would have been.
	Recipe         losses.Recipe
	AveragePooling bool

	// Scales are the sizes of the result, from the first to the last. Each one
	// begins with the result of the one before it.
	Scales []Scale
	// StyleScale is how long the styles' long sides are, beside the result's.
	StyleScale float64

	Optimizer string
	History   int     // of L-BFGS: steps, 1 or more
	Rate      float64 // of Adam: in brightness, 0-255

	// KeepColors gives results the content's chroma.
	KeepColors bool

	// Observe is called after each step, Picture every PictureEvery evaluations
	// and at the end of each scale but the last, and Checkpoint every
	// CheckpointEvery evaluations and at the beginning of each scale but the
	// first. Each may be nil; an interval of 0 is never.
	Observe         func(Progress)
	Picture         func(Progress, *images.Picture) error
	PictureEvery    int
	Checkpoint      func(*State) error
	CheckpointEvery int
}

// Style is a picture whose style is taken on.
type Style struct {
	Picture *images.Picture
	Weight  float64 // against the other styles of its region, above 0
	// Mask is the part of Picture whose style it is, and Region the part of the
	// content that takes it on, by their luminance: white is inside. nil is
	// everything. Styles of one Region, the same picture, are averaged. Where no
	// region is, the content stays as it is.
	Mask, Region *images.Picture
	// MaskName and RegionName are what errors call them.
	MaskName, RegionName string
}

// Scale is a size of the result.
type Scale struct {
	W, H int `json:",omitempty"` // pixels
	// Steps is how often the loss and its gradient are evaluated, which is what
	// takes the time. A step of an optimiser takes one evaluation, or a few.
	Steps int
}

// Progress is where an optimisation stands.
type Progress struct {
	Scale  int `json:"scale"` // from 0
	Width  int `json:"width"`
	Height int `json:"height"`
	Step   int `json:"step"` // evaluations of this scale
	Losses
	Seconds float64 `json:"seconds"` // since Run was called
}

// Run is an optimisation, ready to go.
type Run struct {
	o      Options
	dev    kernels.Device // a scope of its own
	vgg    *vgg.Weights
	net    *networks.Network
	arrays inference.Arrays
	recipe losses.Recipe // for vgg's features
	inputs string        // a checksum of everything that the result depends on
	start  time.Time
}

// New puts VGG-19 on a device. It keeps the weights' description alone.
func New(dev kernels.Device, weights *vgg.Weights, o Options) (_ *Run, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Run{o: o, dev: dev.Scope(), vgg: weights, recipe: o.Recipe.Scaled(weights.Convention.Features())}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.net, err = networks.VGG19(r.recipe.Deepest(), weights.Convention, o.AveragePooling); err != nil {
		return nil, err
	}
	if err := weights.For(r.net); err != nil {
		return nil, err
	}
	r.inputs = r.checksum()
	r.arrays, err = inference.Upload(r.dev, r.net, weights.Set)
	return r, err
}

func (o *Options) check() error {
	switch {
	case o.Content == nil || len(o.Styles) == 0 && len(o.Recipe.Style) > 0:
		return errors.New("optimize: no content or no style")
	case len(o.Scales) == 0:
		return errors.New("optimize: no scales")
	case o.Optimizer != LBFGS && o.Optimizer != Adam:
		return fmt.Errorf("optimize: unknown optimiser %q", o.Optimizer)
	case o.Optimizer == LBFGS && o.History < 1:
		return fmt.Errorf("optimize: a history of %d steps", o.History)
	case o.Optimizer == Adam && !(o.Rate > 0):
		return fmt.Errorf("optimize: a rate of %g", o.Rate)
	case !(o.StyleScale > 0):
		return fmt.Errorf("optimize: styles scaled by %g", o.StyleScale)
	}
	for _, s := range o.Styles {
		if s.Picture == nil || !(s.Weight > 0) {
			return fmt.Errorf("optimize: a style without a picture, or of weight %g", s.Weight)
		}
	}
	for _, s := range o.Scales {
		if s.W < 1 || s.H < 1 || s.Steps < 0 {
			return fmt.Errorf("optimize: a scale of %d×%d with %d steps", s.W, s.H, s.Steps)
		}
	}
	return nil
}

// minimizer is one of the optimisers.
type minimizer interface {
	// iterate does one step within so many evaluations and returns how many it
	// took, 0 where the function cannot be lowered any more.
	iterate(most int) (evaluations int, err error)
	losses() Losses
	save(*State) error
	restore(*State) error
	// warm takes over what helps of what was learned at the scale before.
	warm(*State, enlargement) error
	close() error
}

func (r *Run) newMinimizer(f *objective) (minimizer, error) {
	if r.o.Optimizer == Adam {
		return newAdam(f.machine.Device(), f, r.o.Rate)
	}
	return newLBFGS(f.machine.Device(), f, r.o.History)
}

// Run optimises, from the beginning or from a state of the same options, and
// returns the result. Where ctx ends it finishes the step at hand, calls
// Checkpoint and returns ctx's cause.
func (r *Run) Run(ctx context.Context, from *State) (*images.Picture, error) {
	r.start = time.Now()
	if from != nil {
		if err := r.fits(from); err != nil {
			return nil, err
		}
	}
	first := 0
	if from != nil {
		first = from.Scale
	}
	var before *State
	for i := first; ; i++ {
		result, state, err := r.scale(ctx, i, before, from)
		if err != nil || result != nil {
			return result, err
		}
		before, from = state, nil
	}
}

// scale optimises at one scale, from the state that the scale before ended with,
// or goes on from one of its own. It returns the result where it is the last one,
// and otherwise its own last state.
func (r *Run) scale(ctx context.Context, i int, before, from *State) (_ *images.Picture, _ *State, err error) {
	size := r.o.Scales[i]
	s, err := r.o.scene(size.W, size.H)
	if err != nil {
		return nil, nil, err
	}
	f, err := r.newObjective(s)
	if err != nil {
		return nil, nil, fmt.Errorf("at %d×%d: %w", size.W, size.H, err)
	}
	defer func() { err = errors.Join(err, f.close()) }()
	m, err := r.newMinimizer(f)
	if err != nil {
		return nil, nil, fmt.Errorf("at %d×%d: %w", size.W, size.H, err)
	}
	defer func() { err = errors.Join(err, m.close()) }()
	debug.FreeOSMemory() // of what was only needed to get here
	w := &work{r: r, scale: i, size: size, scene: s, f: f, m: m}
	if from != nil {
		err = w.restore(from)
	} else {
		err = w.begin(before)
	}
	if err == nil && before != nil && r.o.Checkpoint != nil && r.o.CheckpointEvery > 0 {
		err = w.checkpoint()
	}
	if err != nil {
		return nil, nil, err
	}
	if err := w.run(ctx); err != nil {
		return nil, nil, err
	}
	if i < len(r.o.Scales)-1 {
		state, err := w.state()
		return nil, state, err
	}
	result, err := w.picture()
	return result, nil, err
}

// work is the optimisation at one scale.
type work struct {
	r     *Run
	scale int
	size  Scale
	scene scene
	f     *objective
	m     minimizer
	step  int // evaluations done
}

// begin sets the picture that the scale starts with, and what is known of it.
func (w *work) begin(before *State) error {
	if before == nil {
		p, err := w.r.o.start(w.scene)
		if err != nil {
			return err
		}
		return w.f.dev.Upload(w.f.x, p.Pix)
	}
	e := enlargement{w.r.o.Scales[before.Scale], w.size, &w.scene}
	x := before.Tensors.Get("x").Data
	p, err := images.Resize(&images.Picture{W: e.from.W, H: e.from.H, Pix: x}, w.size.W, w.size.H)
	if err != nil {
		return err
	}
	w.scene.hold(p)
	if err := w.f.dev.Upload(w.f.x, p.Pix); err != nil {
		return err
	}
	return w.m.warm(before, e)
}

func (w *work) run(ctx context.Context) error {
	for w.step < w.size.Steps {
		if ctx.Err() != nil {
			return w.interrupted(context.Cause(ctx))
		}
		before := w.step
		n, err := w.m.iterate(w.size.Steps - w.step)
		if err != nil {
			return fmt.Errorf("step %d at %d×%d: %w", w.step+1, w.size.W, w.size.H, err)
		}
		if v := w.m.losses().Loss; math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("step %d at %d×%d: the loss is %g: lower the weights", w.step+1, w.size.W, w.size.H, v)
		}
		if n == 0 {
			break // rounding hides what is left to gain
		}
		w.step += n
		if err := w.report(before); err != nil {
			return err
		}
	}
	return nil
}

// report tells of the evaluations since the last report.
func (w *work) report(before int) error {
	o, p := &w.r.o, w.progress()
	if o.Observe != nil {
		o.Observe(p)
	}
	due := func(every int) bool { return every > 0 && before/every != w.step/every && w.step < w.size.Steps }
	ended := w.step >= w.size.Steps && w.scale+1 < len(o.Scales)
	if o.Picture != nil && (due(o.PictureEvery) || ended && o.PictureEvery > 0) {
		picture, err := w.picture()
		if err != nil {
			return err
		}
		if err := o.Picture(p, picture); err != nil {
			return err
		}
	}
	if o.Checkpoint != nil && due(o.CheckpointEvery) {
		return w.checkpoint()
	}
	return nil
}

func (w *work) progress() Progress {
	return Progress{
		Scale: w.scale, Width: w.size.W, Height: w.size.H, Step: w.step,
		Losses: w.m.losses(), Seconds: time.Since(w.r.start).Seconds(),
	}
}

// picture is what has been optimised so far, finished.
func (w *work) picture() (*images.Picture, error) {
	pix := make([]float32, 3*w.size.W*w.size.H)
	if err := w.f.machine.Device().Download(pix, w.f.x); err != nil {
		return nil, err
	}
	return w.scene.finish(pix, w.r.o.KeepColors)
}

// interrupted saves the state and returns cause as it is where that goes well.
func (w *work) interrupted(cause error) error {
	if w.r.o.Checkpoint == nil {
		return cause
	}
	if err := w.checkpoint(); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// Close frees what is on the device.
func (r *Run) Close() error { return r.dev.Close() }
