package train

import (
	"context"
	"encoding/json"
	"fmt"

	"stylenet/configs"
	"stylenet/internal/autodiff"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// johnson trains a network for one style, that of a painting or the average of
// several (Johnson, Alahi and Fei-Fei 2016).
type johnson struct {
	r            *Run
	net          *networks.Network
	styleTargets []kernels.Array // Gram matrices
	x            kernels.Array   // the batch, (N, 3, size, size): the input of targets, where these are
	targets      *inference.Plan // VGG-19 on the batch, up to the deepest content layer; nil without content layers
}

func (k *johnson) design() (networks.Design, error) { return k.plain() }

// plain builds the network that the configuration describes.
func (k *johnson) plain() (design networks.Johnson, err error) {
	n := k.r.config.Network
	design = networks.Johnson{Architecture: n.Architecture, Padding: n.Padding, Norm: n.Norm, Upsample: n.Upsample, Output: n.Output}
	if n.Output == "tanh" {
		design.OutputScale, design.OutputOffset = float32(n.OutputScale), float32(n.OutputOffset)
	}
	if k.net, err = design.Build(); err != nil {
		err = fmt.Errorf("network.%w", err)
	}
	return design, err
}

func (k *johnson) initial(net *networks.Network) (*weights.Set, error) {
	return net.Init(k.r.config.Train.Seed)
}

func (k *johnson) openData(json.RawMessage) error { return nil }
func (k *johnson) next(context.Context) error     { return nil }
func (k *johnson) state() any                     { return nil }

func (k *johnson) build() (graph, error) {
	return k.buildStep(k.r.config.Train.Batch, losses.Targets{})
}

// buildStep compiles one training step on a batch of pictures: the style network,
// VGG-19 on its result, and the losses. Targets of content and style join those
// that are given.
func (k *johnson) buildStep(batch int, targets losses.Targets) (g graph, err error) {
	if err := k.openStyle(); err != nil {
		return g, err
	}
	arrays, err := inference.Upload(k.r.dev, k.net, k.r.model.Weights)
	if err != nil {
		return g, err
	}
	if g, err = k.compile(batch, targets, arrays, func(string) bool { return true }); err != nil {
		return g, err
	}
	g.names, g.params = trainable(k.net, arrays)
	return g, nil
}

// compile makes the graph of a step of the network with these parameters, of
// which train tells those that are trained. The style is that of styleTargets.
func (k *johnson) compile(batch int, targets losses.Targets, arrays inference.Arrays, train func(name string) bool) (g graph, err error) {
	targets.Style = k.styleTargets
	owner, err := k.openContent(&targets, batch)
	if err != nil {
		return g, err
	}
	a, err := autodiff.New(owner)
	if err != nil {
		return g, err
	}
	x, err := a.Input("photos", k.x)
	if err != nil {
		return g, err
	}
	y, err := a.Partly(k.net, arrays, x, train)
	if err != nil {
		return g, fmt.Errorf("the style network at data.size %d: %w", k.r.config.Data.Size, err)
	}
	terms, err := losses.Perceptual(a, k.r.lossNet, k.r.lossArrays, y[0], targets, k.r.recipe)
	if err != nil {
		return g, err
	}
	g.terms = perceptualTerms(k.r.recipe, terms)
	g.machine, err = a.Compile(terms.Total)
	return g, err
}

// openContent makes the batch's input and, beside the graph, a plan of the
// photos' own features, which keeps nothing but the content layers. It returns
// the device that owns both.
func (k *johnson) openContent(targets *losses.Targets, batch int) (owner kernels.Device, err error) {
	r, size := k.r, k.r.config.Data.Size
	layers := r.recipe.Content
	if len(layers) == 0 {
		k.x, err = r.dev.NewActivation(kernels.Shape{N: batch, C: 3, H: size, W: size})
		return r.dev, err
	}
	net, err := networks.VGG19(r.recipe.DeepestContent(), r.vgg.Convention, r.config.VGG.Pooling == "avg")
	if err != nil {
		return nil, err
	}
	keep, err := net.FindAll(losses.Names(layers))
	if err != nil {
		return nil, err
	}
	if k.targets, err = inference.Compile(r.dev, net, r.lossArrays, batch, size, size, keep...); err != nil {
		return nil, err
	}
	for i := range layers {
		targets.Content = append(targets.Content, k.targets.Output(i))
	}
	k.x = k.targets.Input()
	return k.targets.Device(), nil
}

// openStyle uploads the Gram matrices of the style images.
func (k *johnson) openStyle() error {
	grams, err := k.r.styleGrams(k.r.config.Style.Targets())
	if err != nil {
		return err
	}
	for _, gram := range grams {
		a, err := losses.NewGram(k.r.dev, gram)
		if err != nil {
			return err
		}
		k.styleTargets = append(k.styleTargets, a)
	}
	return nil
}

// styleGrams are the Gram matrices of images at the style layers, averaged with
// the images' weights, which add up to 1.
func (r *Run) styleGrams(of []configs.StyleImage) ([][]float32, error) {
	key := "style.images"
	if r.config.Style.Image != "" {
		key = "style.image"
	}
	var means [][]float32
	for _, s := range of {
		p, err := images.Open(s.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		w, h := images.LongSide(p.W, p.H, r.config.Style.LongSide())
		if p, err = images.Resize(p, w, h); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", key, s.Path, err)
		}
		grams, err := losses.GramMatrices(r.dev, r.lossNet, r.lossArrays, p.Pix, p.H, p.W, r.recipe.Style)
		if err != nil {
			return nil, fmt.Errorf("%s: %s at %d×%d: %w", key, s.Path, w, h, err)
		}
		means = losses.AddGrams(means, grams, s.Weight)
	}
	return means, nil
}

func (k *johnson) upload(photos []float32) error { return k.r.machine.Device().Upload(k.x, photos) }

func (k *johnson) launch() {
	if k.targets != nil {
		k.targets.Launch()
	}
}

func (k *johnson) samples() ([]sample, error) {
	return []sample{{model: k.r.model, meter: func(dev kernels.Device, h, w int) (meter, error) {
		return losses.NewMeter(dev, k.r.lossNet, k.r.lossArrays, k.styleTargets, k.r.recipe, h, w)
	}}}, nil
}

func (k *johnson) close() error {
	if k.targets == nil {
		return nil
	}
	return k.targets.Close()
}
