package optimize

import (
	"errors"
	"fmt"

	"stylenet/internal/autodiff"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/losses"
)

// Losses are the terms of the loss with their weights, and their sum.
type Losses struct {
	Loss           float64 `json:"loss"`
	Content        float64 `json:"content"`
	Style          float64 `json:"style"`
	TotalVariation float64 `json:"tv"`
}

// objective is the loss of a picture of one size.
type objective struct {
	dev     kernels.Device // a scope: of the targets, and of what the graph is made in
	machine *autodiff.Machine
	terms   *losses.Terms
	recipe  losses.Recipe
	x       kernels.Array // the picture, (1, 3, H, W), RGB 0-255
	grad    kernels.Array // what minimises sees: masked where parts of the picture stay
	pass    func() error
}

// newObjective compiles the loss against the content and the styles at one
// scale.
func (r *Run) newObjective(s scene) (_ *objective, err error) {
	o := &objective{dev: r.dev.Scope(), recipe: r.recipe}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	targets := losses.Targets{}
	if targets.Content, err = r.contentTargets(o.dev, s.content); err != nil {
		return nil, err
	}
	if targets.Regions, err = r.regions(o.dev, s); err != nil {
		return nil, err
	}
	b := &builder{dev: o.dev}
	o.x = b.map_(kernels.Shape{N: 1, C: 3, H: s.content.H, W: s.content.W})
	b.upload(o.x, s.content.Pix)
	if b.err != nil {
		return nil, b.err
	}
	g, err := autodiff.New(o.dev)
	if err != nil {
		return nil, err
	}
	x, err := g.Parameter("picture", o.x)
	if err != nil {
		return nil, err
	}
	if o.terms, err = losses.Perceptual(g, r.net, r.arrays, x, targets, r.recipe); err != nil {
		return nil, err
	}
	if o.machine, err = g.Compile(o.terms.Total); err != nil {
		return nil, err
	}
	// The first run binds the kernels and makes the gradient's array.
	if err := o.machine.Step(); err != nil {
		return nil, err
	}
	return o, o.bind(s.free)
}

// bind completes the pass: free, unless it is nil, is 1 where the picture may
// change and 0 where it stays the content.
func (o *objective) bind(free []float32) error {
	dev := o.machine.Device()
	o.grad = o.machine.Gradient(0)
	o.pass = o.machine.Step
	if free != nil {
		s := o.x.Shape()
		b := &builder{dev: dev}
		mask, masked := b.map_(kernels.Shape{N: 1, C: 1, H: s.H, W: s.W}), b.map_(s)
		b.upload(mask, free)
		if b.err != nil {
			return b.err
		}
		hold := b.kernel(dev.Pointwise(masked, o.grad, mask, kernels.Pointwise{Function: kernels.Multiply}))
		if b.err != nil {
			return b.err
		}
		o.grad = masked
		o.pass = func() error {
			err := o.machine.Step()
			hold()
			return err
		}
	}
	if recorder, ok := dev.(kernels.Recorder); ok {
		pass := o.pass
		var failed error
		run := recorder.Record(func() { failed = pass() })
		o.pass = func() error {
			failed = nil
			run()
			return failed
		}
	}
	return dev.Sync()
}

func (o *objective) variable() kernels.Array { return o.x }
func (o *objective) gradient() kernels.Array { return o.grad }

func (o *objective) evaluate() (Losses, error) {
	if err := o.pass(); err != nil {
		return Losses{}, err
	}
	var err error
	value := func(n *autodiff.Node) float64 {
		var v [1]float32
		err = errors.Join(err, o.machine.Device().Download(v[:], o.machine.Value(n)))
		return float64(v[0])
	}
	var l Losses
	for i, layer := range o.recipe.Content {
		l.Content += layer.Weight * value(o.terms.Content[i])
	}
	for i, layer := range o.recipe.Style {
		l.Style += layer.Weight * value(o.terms.Style[i])
	}
	if o.terms.TotalVariation != nil {
		l.TotalVariation = o.recipe.TotalVariation * value(o.terms.TotalVariation)
	}
	l.Loss = l.Content + l.Style + l.TotalVariation
	return l, err
}

func (o *objective) close() error {
	if o.machine == nil {
		return o.dev.Close()
	}
	return errors.Join(o.machine.Close(), o.dev.Close())
}

// contentTargets are the content's features, in arrays of dev. The plan that
// computes them is closed again: the graph can have its memory.
func (r *Run) contentTargets(dev kernels.Device, p *images.Picture) (_ []kernels.Array, err error) {
	layers := r.recipe.Content
	if len(layers) == 0 {
		return nil, nil
	}
	net, err := networks.VGG19(r.recipe.DeepestContent(), r.vgg.Convention, r.o.AveragePooling)
	if err != nil {
		return nil, err
	}
	keep, err := net.FindAll(losses.Names(layers))
	if err != nil {
		return nil, err
	}
	plan, err := inference.Compile(r.dev, net, r.arrays, 1, p.H, p.W, keep...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	if err := plan.Device().Upload(plan.Input(), p.Pix); err != nil {
		return nil, err
	}
	plan.Run()
	var targets []kernels.Array
	for i := range layers {
		values := make([]float32, plan.Output(i).Shape().Elements())
		if err := plan.Device().Download(values, plan.Output(i)); err != nil {
			return nil, err
		}
		b := &builder{dev: dev}
		a := b.map_(plan.Output(i).Shape())
		b.upload(a, values)
		if b.err != nil {
			return nil, b.err
		}
		targets = append(targets, a)
	}
	return targets, nil
}

// regions are the styles at a scale: those of one part of the content are
// averaged, which differs from the sum of their losses by a constant.
func (r *Run) regions(dev kernels.Device, s scene) ([]losses.Region, error) {
	var regions []losses.Region
	if len(r.recipe.Style) == 0 {
		return []losses.Region{{Weight: 1}}, nil
	}
	for _, part := range s.parts {
		grams, err := r.averageGrams(part)
		if err != nil {
			return nil, err
		}
		region := losses.Region{Weight: part.weight}
		for _, gram := range grams {
			a, err := losses.NewGram(dev, gram)
			if err != nil {
				return nil, err
			}
			region.Style = append(region.Style, a)
		}
		if part.mask != nil {
			if region.Masks, err = r.masks(dev, part.mask, s.content.H, s.content.W); err != nil {
				return nil, fmt.Errorf("region %s: %w", part.name, err)
			}
		}
		regions = append(regions, region)
	}
	return regions, nil
}

// averageGrams are the Gram matrices of a part's styles, averaged by weight.
func (r *Run) averageGrams(p part) ([][]float32, error) {
	var mean [][]float32
	for _, style := range p.styles {
		var masks [][]float32
		var err error
		h, w := style.picture.H, style.picture.W
		if style.mask != nil {
			if masks, err = losses.Masks(r.net, r.recipe.Style, style.mask, h, w); err != nil {
				return nil, fmt.Errorf("mask %s: %w", style.name, err)
			}
		}
		grams, err := losses.MaskedGramMatrices(r.dev, r.net, r.arrays, style.picture.Pix, h, w, r.recipe.Style, masks)
		if err != nil {
			return nil, err
		}
		mean = losses.AddGrams(mean, grams, style.share)
	}
	return mean, nil
}

func (r *Run) masks(dev kernels.Device, region []float32, h, w int) ([]kernels.Array, error) {
	values, err := losses.Masks(r.net, r.recipe.Style, region, h, w)
	if err != nil {
		return nil, err
	}
	sizes, err := r.net.Sizes(h, w)
	if err != nil {
		return nil, err
	}
	keep, err := r.net.FindAll(losses.Names(r.recipe.Style))
	if err != nil {
		return nil, err
	}
	b := &builder{dev: dev}
	var masks []kernels.Array
	for i, k := range keep {
		a := b.map_(kernels.Shape{N: 1, C: 1, H: sizes[k].H, W: sizes[k].W})
		b.upload(a, values[i])
		masks = append(masks, a)
	}
	return masks, b.err
}
