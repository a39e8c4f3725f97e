// Package losses adds the perceptual losses of Johnson, Alahi and Fei-Fei 2016
// to an expression graph: content, style and total variation; and those of
// Huang and Belongie 2017, whose styles are means and standard deviations.
//
// It owns what the losses are made of and how their terms are weighed. It
// refuses to compute (kernels do), to differentiate (package autodiff does)
// and to know where photos and paintings come from.
package losses

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"stylenet/internal/autodiff"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Layer is a layer of VGG-19, such as "relu3_3", and the weight of its loss.
type Layer struct {
	Name   string
	Weight float64
}

// Recipe weighs the terms:
//
//	loss = Σ content + Σ style + total variation + temporal
//
// with, for each layer, Weight times the mean squared difference of features
// (content layers) or of Gram matrices F·Fᵀ/(C·H·W) (style layers),
// TotalVariation times the sum over the batch of the squared differences of
// neighbouring pixels, and Temporal times the mean over all values of the squared
// difference of a picture and the other one of its pair, moved to it, where both
// show the same.
type Recipe struct {
	Content, Style []Layer
	TotalVariation float64
	// Moments compares styles by the mean and the standard deviation of each
	// feature map in place of Gram matrices: a layer's loss is the mean squared
	// difference of the means plus that of the deviations (Huang and Belongie
	// 2017). Style targets are then inference.Moments, (N or 1, 2·C, 1, 1).
	Moments  bool
	Temporal float64
}

// Scaled fits the weights of Gram losses to features that are so many times as
// large as those that the weights are meant for: the content loss grows with the
// square of features, the style loss with their fourth power.
func (r Recipe) Scaled(features float64) Recipe {
	over := func(layers []Layer, by float64) []Layer {
		out := slices.Clone(layers)
		for i := range out {
			out[i].Weight /= by
		}
		return out
	}
	r.Content = over(r.Content, math.Pow(features, 2))
	r.Style = over(r.Style, math.Pow(features, 4))
	return r
}

// Deepest is the layer up to which the loss network is needed.
func (r Recipe) Deepest() string { return deepest(append(Names(r.Content), Names(r.Style)...)) }

// DeepestContent is the layer up to which the features of the photos are
// needed.
func (r Recipe) DeepestContent() string { return deepest(Names(r.Content)) }

// deepest relies on VGG-19's names sorting by depth.
func deepest(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return slices.Max(names)
}

// Names lists the layers' names.
func Names(layers []Layer) []string {
	names := make([]string, len(layers))
	for i, l := range layers {
		names[i] = l.Name
	}
	return names
}

// Targets are what the results are compared with, in the order of the recipe's
// layers: the photos' features, shape (N, C, H, W), and the style image's Gram
// matrices, shape (1, 1, C, C). Regions take the place of Style where parts of
// one picture have styles of their own.
//
// Flow and Seen are of batches of pairs, where the recipe has a Temporal weight:
// Flow, (N, 2, H, W), is where the pixels of a picture stand in the other one of
// its pair, and Seen, (N, 1, H, W), is 1 where that shows the same, 0 where not.
type Targets struct {
	Content, Style []kernels.Array
	Regions        []Region
	Flow, Seen     kernels.Array
}

// Region is a part of a picture with a style of its own: a guidance channel
// (Gatys et al. 2017, "Controlling perceptual factors in neural style
// transfer").
type Region struct {
	// Weight multiplies the region's terms.
	Weight float64
	// Masks are what Masks makes for each style layer, shape (1, 1, H, W); nil
	// is the whole picture.
	Masks []kernels.Array
	// Style are the Gram matrices of the region's style.
	Style []kernels.Array
}

// regions are those of t, or the one that t.Style stands for.
func (t Targets) regions() []Region {
	if len(t.Regions) == 0 {
		return []Region{{Weight: 1, Style: t.Style}}
	}
	return t.Regions
}

func (t Targets) check(r Recipe) error {
	if r.Moments && len(t.Regions) > 0 {
		return errors.New("losses: regions have Gram matrices alone")
	}
	if len(t.Content) != len(r.Content) {
		return fmt.Errorf("losses: %d content targets for %d layers", len(t.Content), len(r.Content))
	}
	if r.Temporal > 0 && (t.Flow == nil || t.Seen == nil) {
		return errors.New("losses: a temporal loss without flow, or without what is seen")
	}
	for _, region := range t.regions() {
		if len(region.Style) != len(r.Style) || region.Masks != nil && len(region.Masks) != len(r.Style) {
			return fmt.Errorf("losses: %d style targets and %d masks for %d layers", len(region.Style), len(region.Masks), len(r.Style))
		}
	}
	return nil
}

// Terms are the scalar nodes of a loss. Content and Style hold one term for
// each layer, before its weight; TotalVariation and Temporal are nil where they
// are turned off.
type Terms struct {
	Total          *autodiff.Node
	Content, Style []*autodiff.Node
	TotalVariation *autodiff.Node
	Temporal       *autodiff.Node
}

// Perceptual adds the loss of the pictures y, shape (N, 3, H, W), RGB 0-255,
// measured by the loss network vgg, which is not trained.
func Perceptual(g *autodiff.Graph, vgg *networks.Network, arrays inference.Arrays, y *autodiff.Node, targets Targets, r Recipe) (*Terms, error) {
	if err := targets.check(r); err != nil {
		return nil, err
	}
	if len(r.Content)+len(r.Style) == 0 {
		return nil, errors.New("losses: no content or style layers")
	}
	readers := 1
	for _, weight := range []float64{r.TotalVariation, r.Temporal} {
		if weight > 0 {
			readers++
		}
	}
	pictures, err := g.Fork(y, readers)
	if err != nil {
		return nil, err
	}
	next := func() *autodiff.Node {
		n := pictures[0]
		pictures = pictures[1:]
		return n
	}
	features, err := g.Network(vgg, arrays, next(), false, append(Names(r.Content), Names(r.Style)...)...)
	if err != nil {
		return nil, err
	}
	t := &Terms{}
	var nodes []*autodiff.Node
	var weights []float32
	add := func(n *autodiff.Node, weight float64) {
		g.Keep(n)
		nodes, weights = append(nodes, n), append(weights, float32(weight))
	}
	for i, l := range r.Content {
		n, err := compare(g, "content target "+l.Name, features[i], targets.Content[i])
		if err != nil {
			return nil, err
		}
		t.Content = append(t.Content, n)
		add(n, l.Weight)
	}
	for i, l := range r.Style {
		var n *autodiff.Node
		if x := features[len(r.Content)+i]; r.Moments {
			n, err = moments(g, l.Name, x, targets.Style[i])
		} else {
			n, err = style(g, l.Name, i, x, targets.regions())
		}
		if err != nil {
			return nil, err
		}
		t.Style = append(t.Style, n)
		add(n, l.Weight)
	}
	if r.TotalVariation > 0 {
		if t.TotalVariation, err = g.TotalVariation(next()); err != nil {
			return nil, err
		}
		add(t.TotalVariation, r.TotalVariation)
	}
	if r.Temporal > 0 {
		if t.Temporal, err = temporal(g, next(), y, targets); err != nil {
			return nil, err
		}
		add(t.Temporal, r.Temporal)
	}
	t.Total, err = g.WeightedSum(nodes, weights)
	return t, err
}

// temporal adds the mean over all values of (seen·(y − W(other)))², other being
// the other picture of the pair and W the move by the flow. Each is the target of
// the other one: nothing is differentiated through W, so that a network is taught
// to give a picture what the other one has there, and not to blur what would be
// moved. y is read again, as a constant.
func temporal(g *autodiff.Graph, reader, y *autodiff.Node, t Targets) (*autodiff.Node, error) {
	flow, err := g.Input("flow", t.Flow)
	if err != nil {
		return nil, err
	}
	seen, err := g.Input("seen", t.Seen)
	if err != nil {
		return nil, err
	}
	moved, err := g.Warp(y, flow, true)
	if err != nil {
		return nil, err
	}
	target, err := g.Mask(moved, seen)
	if err != nil {
		return nil, err
	}
	x, err := g.Mask(reader, seen)
	if err != nil {
		return nil, err
	}
	return g.MSE(x, target)
}

// style adds the loss of a style layer, the i-th one, over all regions.
func style(g *autodiff.Graph, name string, i int, features *autodiff.Node, regions []Region) (*autodiff.Node, error) {
	readers, err := g.Fork(features, len(regions))
	if err != nil {
		return nil, err
	}
	var terms []*autodiff.Node
	var weights []float32
	for j, region := range regions {
		x := readers[j]
		if region.Masks != nil {
			mask, err := g.Input("mask "+name, region.Masks[i])
			if err != nil {
				return nil, err
			}
			if x, err = g.Mask(x, mask); err != nil {
				return nil, err
			}
		}
		gram, err := g.Gram(x)
		if err != nil {
			return nil, err
		}
		term, err := compare(g, "style target "+name, gram, region.Style[i])
		if err != nil {
			return nil, err
		}
		terms, weights = append(terms, term), append(weights, float32(region.Weight))
	}
	if len(terms) == 1 && weights[0] == 1 {
		return terms[0], nil
	}
	return g.WeightedSum(terms, weights)
}

// moments adds the loss of a style layer by means and deviations. Half of the
// values are means: their mean squared difference is half of the sum.
func moments(g *autodiff.Graph, name string, features *autodiff.Node, target kernels.Array) (*autodiff.Node, error) {
	m, err := g.Moments(features)
	if err != nil {
		return nil, err
	}
	half, err := compare(g, "style target "+name, m, target)
	if err != nil {
		return nil, err
	}
	return g.WeightedSum([]*autodiff.Node{half}, []float32{2})
}

func compare(g *autodiff.Graph, name string, x *autodiff.Node, target kernels.Array) (*autodiff.Node, error) {
	n, err := g.Input(name, target)
	if err != nil {
		return nil, err
	}
	return g.MSE(x, n)
}

// GramMatrices returns the Gram matrices of a picture at the recipe's style
// layers, in their order: for each layer C·C values, row by row.
// pixels is one picture, RGB 0-255, in C, H, W order.
func GramMatrices(dev kernels.Device, vgg *networks.Network, arrays inference.Arrays, pixels []float32, h, w int, layers []Layer) ([][]float32, error) {
	return MaskedGramMatrices(dev, vgg, arrays, pixels, h, w, layers, nil)
}

// MaskedGramMatrices is GramMatrices of a part of a picture, by what Masks has
// made; nil is the whole of it.
func MaskedGramMatrices(dev kernels.Device, vgg *networks.Network, arrays inference.Arrays, pixels []float32, h, w int, layers []Layer, masks [][]float32) ([][]float32, error) {
	return ofLayers(dev, vgg, arrays, pixels, h, w, layers, func(scope kernels.Device, i int, features kernels.Array) (_ []float32, err error) {
		if masks != nil {
			if features, err = masked(scope, features, masks[i]); err != nil {
				return nil, err
			}
		}
		return taken(scope, features, false)
	})
}

// NewGram uploads a Gram matrix, as GramMatrices returns them, to be a style target.
func NewGram(dev kernels.Device, gram []float32) (kernels.Array, error) {
	c := int(math.Round(math.Sqrt(float64(len(gram)))))
	return inference.NewParameter(dev, []int{1, 1, c, c}, gram)
}

// AddGrams adds weight times the Gram matrices of a style to a mean of several,
// nil before the first, and returns it. Where weights add up to 1, the loss
// against the mean differs from the mean of the losses by a constant alone.
func AddGrams(mean, grams [][]float32, weight float64) [][]float32 {
	if mean == nil {
		mean = make([][]float32, len(grams))
		for i, gram := range grams {
			mean[i] = make([]float32, len(gram))
		}
	}
	for i, gram := range grams {
		for k, v := range gram {
			mean[i][k] += float32(weight) * v
		}
	}
	return mean
}

// MomentsOf is GramMatrices with moments: for each layer 2·C values.
func MomentsOf(dev kernels.Device, vgg *networks.Network, arrays inference.Arrays, pixels []float32, h, w int, layers []Layer) ([][]float32, error) {
	return ofLayers(dev, vgg, arrays, pixels, h, w, layers, func(scope kernels.Device, _ int, features kernels.Array) ([]float32, error) {
		return taken(scope, features, true)
	})
}

// ofLayers returns what f makes of a picture's features at each layer.
func ofLayers(dev kernels.Device, vgg *networks.Network, arrays inference.Arrays, pixels []float32, h, w int, layers []Layer, f func(scope kernels.Device, i int, features kernels.Array) ([]float32, error)) (_ [][]float32, err error) {
	keep, err := vgg.FindAll(Names(layers))
	if err != nil {
		return nil, err
	}
	plan, err := inference.Compile(dev, vgg, arrays, 1, h, w, keep...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	if err := plan.Device().Upload(plan.Input(), pixels); err != nil {
		return nil, err
	}
	plan.Run()
	values := make([][]float32, len(layers))
	for i := range layers {
		if values[i], err = f(plan.Device(), i, plan.Output(i)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// taken is what styles are compared by, of features.
func taken(dev kernels.Device, features kernels.Array, moments bool) ([]float32, error) {
	m, err := newMeasure(dev, features.Shape(), moments)
	if err != nil {
		return nil, err
	}
	run, err := m.bind(features)
	if err != nil {
		return nil, err
	}
	run()
	values := make([]float32, m.result.Shape().Elements())
	return values, dev.Download(values, m.result)
}

func masked(dev kernels.Device, features kernels.Array, values []float32) (kernels.Array, error) {
	s := features.Shape()
	mask, err := dev.NewActivation(kernels.Shape{N: 1, C: 1, H: s.H, W: s.W})
	if err != nil {
		return nil, err
	}
	if err := dev.Upload(mask, values); err != nil {
		return nil, err
	}
	product, err := dev.NewActivation(s)
	if err != nil {
		return nil, err
	}
	multiply, err := dev.Pointwise(product, features, mask, kernels.Pointwise{Function: kernels.Multiply})
	if err != nil {
		return nil, err
	}
	multiply()
	return product, nil
}
