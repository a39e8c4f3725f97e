package vgg

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/weights"
)

// trainedRMS is the root mean square of what each layer of the authors' VGG-19
// (networks.Caffe) gives on photos of 128² pixels, to two digits. Content and
// style losses grow with its square and its fourth power, so a random network
// at this strength works with the loss weights that suit the trained one.
var trainedRMS = [...]float64{
	45, 180, // relu1_1, relu1_2
	180, 220,
	230, 260, 460, 800,
	830, 670, 430, 160,
	120, 56, 23, 5, // relu5_1 to relu5_4
}

// The pictures that Random measures the layers on.
const (
	probes    = 2
	probeSide = 48
)

// Random draws a VGG-19 that was never trained and scales each layer to the
// strength of the trained one's. He, Wang and Hopcroft 2016 ("A powerful
// generative model using random weights for the deep image representation")
// show that such features carry content and style.
//
// Filters are Gaussian and biases zero, but filters see flat areas at less than
// full strength (see flatness). Plain Gaussian filters answer a picture's few
// large areas far more than its strokes; their Gram matrices then say which
// colours there are and little else.
//
// The same seed gives the same weights on every machine, rounding of the last
// digit aside: the scales are measured on dev, by one pass over two scenes,
// and rounded to three digits.
func Random(dev kernels.Device, seed uint64) (*Weights, error) {
	net, err := networks.VGG19(deepest, networks.Caffe, false)
	if err != nil {
		return nil, err
	}
	set, err := draw(net, seed)
	if err != nil {
		return nil, err
	}
	if err := normalise(dev, net, set); err != nil {
		return nil, fmt.Errorf("random VGG-19: %w", err)
	}
	return &Weights{
		Set:         set,
		Convention:  networks.Caffe,
		Description: fmt.Sprintf("random VGG-19 (seed %d), not trained on photos", seed),
		Random:      true,
	}, nil
}

// flatness says how strongly a filter answers an area without any edge, against
// an unbiased draw: common to what all its inputs share (brightness, in the
// first layer), apart to how they differ (colour).
type flatness struct{ common, apart float64 }

func draw(net *networks.Network, seed uint64) (*weights.Set, error) {
	// Found by looking at what demos trained with them. Behind the first layer
	// the common part is zero: it would grow from layer to layer, until a
	// constant outweighs all else.
	first := flatness{common: 0.3, apart: 1}
	later := flatness{common: 0, apart: 0.15}
	set := &weights.Set{}
	for i, p := range net.Params() {
		data := make([]float32, weights.Elements(p.Shape))
		if len(p.Shape) == 4 {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			fanIn := len(data) / p.Shape[0]
			flat := later
			if i == 0 {
				flat = first
			}
			for o := range p.Shape[0] {
				drawFilter(rnd, data[o*fanIn:][:fanIn], p.Shape[1], flat)
			}
		}
		if err := set.Add(p.Name, p.Shape, data); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// drawFilter draws the weights of one output, which has that many inputs.
func drawFilter(rnd *rand.Rand, w []float32, inputs int, flat flatness) {
	std := math.Sqrt(2 / float64(len(w))) // He et al. 2015
	area := len(w) / inputs
	means := make([]float64, inputs)
	var mean float64
	for c := range means {
		for i := range area {
			v := std * rnd.NormFloat64()
			w[c*area+i] = float32(v)
			means[c] += v / float64(area)
		}
		mean += means[c] / float64(inputs)
	}
	for c, m := range means {
		change := flat.common*mean + flat.apart*(m-mean) - m
		for i := range area {
			w[c*area+i] = float32(float64(w[c*area+i]) + change)
		}
	}
}

// normalise scales every layer to trainedRMS. One pass is enough: without
// biases a layer's scale carries over to all layers behind it.
func normalise(dev kernels.Device, net *networks.Network, set *weights.Set) error {
	rms, err := measure(dev, net, set)
	if err != nil {
		return err
	}
	before := 1.0 // what the layers so far are scaled by
	for i, t := range set.Tensors() {
		if i%2 != 0 {
			continue // a bias, zero
		}
		if !(rms[i/2] > 0) || math.IsInf(rms[i/2], 0) {
			return fmt.Errorf("the features of layer %d have the strength %v on device %s", i/2+1, rms[i/2], dev.Info().Backend)
		}
		scale := threeDigits(trainedRMS[i/2] / rms[i/2] / before)
		before *= scale
		for k := range t.Data {
			t.Data[k] = float32(scale * float64(t.Data[k]))
		}
	}
	return nil
}

func threeDigits(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64) // its own output parses
	return r
}

// measure gives the root mean square of relu1_1 to relu5_4 on a few scenes.
func measure(dev kernels.Device, net *networks.Network, set *weights.Set) (rms []float64, err error) {
	scope := dev.Scope()
	defer func() { err = errors.Join(err, scope.Close()) }()
	var keep []int
	for _, name := range networks.VGG19Layers() {
		i, err := net.Find(name)
		if err != nil {
			return nil, err
		}
		keep = append(keep, i)
	}
	params, err := inference.Upload(scope, net, set)
	if err != nil {
		return nil, err
	}
	plan, err := inference.Compile(scope, net, params, probes, probeSide, probeSide, keep...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	if err := plan.Device().Upload(plan.Input(), probePictures()); err != nil {
		return nil, err
	}
	plan.Run()
	for i := range keep {
		values := make([]float32, plan.Output(i).Shape().Elements())
		if err := plan.Device().Download(values, plan.Output(i)); err != nil {
			return nil, err
		}
		var sum float64
		for _, v := range values {
			sum += float64(v) * float64(v)
		}
		rms = append(rms, math.Sqrt(sum/float64(len(values))))
	}
	return rms, nil
}

// probePictures is (probes, 3, probeSide, probeSide), RGB 0-255.
func probePictures() []float32 {
	const area = probeSide * probeSide
	pictures := make([]float32, probes*3*area)
	for n := range probes {
		img := scenes.Photo(uint64(n), probeSide, probeSide)
		for i := range area {
			for c := range 3 {
				pictures[(n*3+c)*area+i] = float32(img.Pix[4*i+c])
			}
		}
	}
	return pictures
}
