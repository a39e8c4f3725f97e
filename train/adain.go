package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"stylenet/data"
	"stylenet/internal/autodiff"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/stylize"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// adain trains the decoder of a network for any style (Huang and Belongie 2017)
// on a folder of photos and a folder of styles. The encoder is the VGG-19 that
// measures the losses, balanced on the first photos, and goes into the model.
type adain struct {
	r       *Run
	model   networks.AdaIN
	encoder *networks.Network
	styles  *data.Loader
	cursor  data.Cursor // of the styles, as of the last upload
	batch   *data.Batch // of styles, not yet uploaded

	photos, pictures *inference.Plan // the encoder on both batches
	after            []kernels.Kernel
	shown            []shownStyle
}

// shownStyle is a style picture that previews and evaluations look at.
type shownStyle struct {
	name    string
	picture *images.Picture
}

func (k *adain) design() (_ networks.Design, err error) {
	c := k.r.config
	k.model = networks.AdaIN{Encoder: k.r.vgg.Convention, Layer: c.Network.Encoder, AveragePool: c.VGG.Pooling == "avg"}
	// Balanced features are of one size, whatever the weights were.
	k.r.recipe = lossRecipe(c.Loss)
	k.r.recipe.Moments = true
	if k.encoder, err = k.model.EncoderNetwork(); err != nil {
		return nil, err
	}
	return k.model, k.r.vgg.For(k.encoder) // it may be deeper than the losses ask for
}

// balancePhotos is how many photos the encoder is balanced on: their centres.
const balancePhotos = 64

func (k *adain) initial(net *networks.Network) (*weights.Set, error) {
	r, side := k.r, k.r.config.Data.Size
	photos, err := centres(r.config.Data.Dir, balancePhotos, side)
	if err != nil {
		return nil, fmt.Errorf("data.dir: %w", err)
	}
	var all []float32
	for _, p := range photos {
		all = append(all, p...)
	}
	if err := r.vgg.Balance(r.dev, k.encoder, all, side); err != nil {
		return nil, err
	}
	r.model.VGG = r.vgg.Description
	set, err := net.Init(r.config.Train.Seed)
	if err != nil {
		return nil, err
	}
	for _, t := range r.vgg.Set.Tensors() {
		copy(set.Get(t.Name).Data, t.Data)
	}
	return set, nil
}

// adainState is what a checkpoint keeps of the styles.
type adainState struct {
	Styles data.Cursor `json:"styles"`
	VGG    string      `json:"vgg"` // the encoder's description
}

func (k *adain) state() any { return adainState{k.cursor, k.r.model.VGG} }

func (k *adain) openData(state json.RawMessage) (err error) {
	r := k.r
	if len(state) > 0 {
		var s adainState
		if err := json.Unmarshal(state, &s); err != nil {
			return fmt.Errorf("the checkpoint's styles: %w", err)
		}
		k.cursor, r.model.VGG = s.Styles, s.VGG
	}
	// The losses' network is the model's encoder, in a run that goes on, too.
	r.vgg.Set = &weights.Set{}
	for _, p := range k.encoder.Params() {
		if err := r.vgg.Set.Add(p.Name, p.Shape, r.model.Weights.Get(p.Name).Data); err != nil {
			return err
		}
	}
	options := DataOptions(r.config)
	options.Dir, options.Cache = r.config.Style.Dir, ""
	options.Seed++ // a style has no photo of its own
	if k.styles, err = data.NewLoader(options, k.cursor); err != nil {
		return fmt.Errorf("style.dir: %w", err)
	}
	if r.config.Train.PreviewEvery > 0 || r.config.Data.Holdout != "" {
		return k.openShown()
	}
	return nil
}

func (k *adain) next(ctx context.Context) (err error) {
	if k.batch, err = k.styles.Next(ctx); err != nil && ctx.Err() == nil {
		err = fmt.Errorf("style.dir: %w", err)
	}
	return err
}

func (k *adain) upload(photos []float32) error {
	styles := photos
	if k.batch != nil {
		styles = k.batch.Pixels
	}
	if err := k.photos.Device().Upload(k.photos.Input(), photos); err != nil {
		return err
	}
	if err := k.pictures.Device().Upload(k.pictures.Input(), styles); err != nil {
		return err
	}
	if k.batch != nil {
		k.cursor = k.batch.Cursor
		k.styles.Release(k.batch)
		k.batch = nil
	}
	return nil
}

// launch encodes both batches, measures the styles and gives the photos'
// features their moments.
func (k *adain) launch() {
	k.photos.Launch()
	k.pictures.Launch()
	for _, run := range k.after {
		run()
	}
}

// build compiles one training step: the decoder on the features that adaptive
// instance normalisation makes, the encoder on its result, and the losses.
func (k *adain) build() (g graph, err error) {
	r := k.r
	size, batch := r.config.Data.Size, r.config.Train.Batch
	keep, err := k.encoder.FindAll(append(losses.Names(r.recipe.Style), k.model.Layer))
	if err != nil {
		return g, err
	}
	last := len(keep) - 1
	encoder := r.lossArrays
	if r.recipe.Deepest() != k.model.Layer {
		if encoder, err = inference.Upload(r.dev, k.encoder, r.model.Weights); err != nil {
			return g, err
		}
	}
	if k.photos, err = inference.Compile(r.dev, k.encoder, encoder, batch, size, size, keep[last]); err != nil {
		return g, fmt.Errorf("the encoder at data.size %d: %w", size, err)
	}
	if k.pictures, err = inference.Compile(k.photos.Device(), k.encoder, encoder, batch, size, size, keep...); err != nil {
		return g, err
	}
	target, moments, err := k.openTargets(k.pictures.Device(), last)
	if err != nil {
		return g, err
	}
	decoder, err := k.model.DecoderNetwork()
	if err != nil {
		return g, err
	}
	arrays, err := inference.Upload(r.dev, decoder, r.model.Weights)
	if err != nil {
		return g, err
	}
	a, err := autodiff.New(k.pictures.Device())
	if err != nil {
		return g, err
	}
	x, err := a.Input("features", target)
	if err != nil {
		return g, err
	}
	y, err := a.Network(decoder, arrays, x, true)
	if err != nil {
		return g, fmt.Errorf("the decoder at data.size %d: %w", size, err)
	}
	targets := losses.Targets{Style: moments[:last]}
	for range r.recipe.Content { // the encoder's layer, and no other
		targets.Content = append(targets.Content, target)
	}
	terms, err := losses.Perceptual(a, r.lossNet, r.lossArrays, y[0], targets, r.recipe)
	if err != nil {
		return g, err
	}
	g.terms = perceptualTerms(r.recipe, terms)
	g.names, g.params = trainable(decoder, arrays)
	g.machine, err = a.Compile(terms.Total)
	return g, err
}

// openTargets binds what follows the two encoders: the moments of the styles at
// each of their layers, of which last is the encoder's, and the features that
// the decoder is given. All that lasts is made before memory is released.
func (k *adain) openTargets(dev kernels.Device, last int) (target kernels.Array, moments []kernels.Array, err error) {
	var measures []*inference.Moments
	for i := range last + 1 {
		m, err := inference.NewMoments(dev, k.pictures.Output(i).Shape())
		if err != nil {
			return nil, nil, err
		}
		array, err := dev.NewActivation(m.Shape())
		if err != nil {
			return nil, nil, err
		}
		measures, moments = append(measures, m), append(moments, array)
	}
	if target, err = dev.NewActivation(k.photos.Output(0).Shape()); err != nil {
		return nil, nil, err
	}
	scope := dev.Scope()
	for i, m := range measures {
		run, err := m.Measure(scope, moments[i], k.pictures.Output(i))
		if err != nil {
			return nil, nil, err
		}
		k.after = append(k.after, run)
	}
	run, err := measures[last].Restyle(scope, target, k.photos.Output(0), moments[last])
	k.after = append(k.after, run)
	return target, moments, err
}

// shownStyles is how many styles previews and evaluations look at: the first of
// style.holdout, or else of style.dir.
const shownStyles = 4

func (k *adain) samples() ([]sample, error) {
	r := k.r
	var samples []sample
	for _, s := range k.shown {
		style, err := stylize.StyleOf(r.dev, r.model, s.picture)
		if err != nil {
			return nil, fmt.Errorf("style %s: %w", s.name, err)
		}
		styled, err := r.model.Styled(style, 1)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{name: s.name, model: styled, meter: func(dev kernels.Device, h, w int) (meter, error) {
			moments, err := losses.MomentsOf(dev, r.lossNet, r.lossArrays, s.picture.Pix, s.picture.H, s.picture.W, r.recipe.Style)
			if err != nil {
				return nil, err
			}
			var targets []kernels.Array
			for _, values := range moments {
				a, err := dev.NewActivation(kernels.Shape{N: 1, C: len(values), H: 1, W: 1})
				if err != nil {
					return nil, err
				}
				if err := dev.Upload(a, values); err != nil {
					return nil, err
				}
				targets = append(targets, a)
			}
			return losses.NewMeter(dev, r.lossNet, r.lossArrays, targets, r.recipe, h, w)
		}})
	}
	return samples, nil
}

func (k *adain) openShown() error {
	dir, files, key := k.r.config.Style.Dir, k.styles.Files(), "style.dir"
	if held := k.r.config.Style.Holdout; held != "" {
		dir, key = held, "style.holdout"
		var err error
		if files, err = data.List(dir); err != nil {
			return fmt.Errorf("style.holdout: %w", err)
		}
	}
	for _, f := range files {
		if len(k.shown) == shownStyles {
			break
		}
		p, err := images.Open(filepath.Join(dir, filepath.FromSlash(f)))
		if err != nil || min(p.W, p.H) < data.DefaultMinSide {
			continue
		}
		w, h := images.LongSide(p.W, p.H, k.r.config.Style.LongSide())
		if p, err = images.Resize(p, w, h); err != nil {
			return fmt.Errorf("style %s: %w", f, err)
		}
		name := strings.TrimSuffix(f, filepath.Ext(f))
		k.shown = append(k.shown, shownStyle{strings.ReplaceAll(name, "/", "-"), p})
	}
	if len(k.shown) == 0 {
		return fmt.Errorf("%s: no picture in %s can be read", key, dir)
	}
	return nil
}

// skipped lists the styles that could not be used.
func (k *adain) skipped() []data.Skipped {
	if k.styles == nil {
		return nil
	}
	skipped := k.styles.Skipped()
	for i := range skipped {
		skipped[i].Path = filepath.Join(k.r.config.Style.Dir, filepath.FromSlash(skipped[i].Path))
	}
	return skipped
}

func (k *adain) close() error {
	if k.styles != nil {
		k.styles.Close()
	}
	var errs []error
	for _, p := range []*inference.Plan{k.pictures, k.photos} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}
