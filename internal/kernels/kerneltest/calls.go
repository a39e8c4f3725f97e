package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"stylenet/internal/kernels"
)

// Each function below makes a call of one kernel.

// convolution is the shape of a convolution and what comes with it.
type convolution struct {
	n, in, out   int // images, channels
	h, w, kh, kw int // source and kernel
	kernels.Conv     // stride, padding, ReLU, frozen
	withoutBias  bool
}

func (c convolution) String() string {
	return fmt.Sprintf("%d×%d→%d %d×%d kernel %d×%d %+v bias %v", c.n, c.in, c.out, c.h, c.w, c.kh, c.kw, c.Conv, !c.withoutBias)
}

// fits says whether the padded source holds the kernel once.
func (c convolution) fits() bool {
	return c.h+c.Pad.Top+c.Pad.Bottom >= c.kh && c.w+c.Pad.Left+c.Pad.Right >= c.kw
}

func (c convolution) src() kernels.Shape { return kernels.Shape{N: c.n, C: c.in, H: c.h, W: c.w} }

func (c convolution) dst() kernels.Shape {
	return kernels.Shape{N: c.n, C: c.out,
		H: (c.h+c.Pad.Top+c.Pad.Bottom-c.kh)/c.Stride + 1,
		W: (c.w+c.Pad.Left+c.Pad.Right-c.kw)/c.Stride + 1}
}

func (c convolution) weights() kernels.Shape {
	return kernels.Shape{N: c.out, C: c.in, H: c.kh, W: c.kw}
}

func (c convolution) forward() call {
	return call{
		name: "Conv " + c.String(),
		conv: true,
		operands: []operand{
			activation(c.dst()).written(), activation(c.src()),
			parameter(c.weights()).fixed(c.Frozen),
			parameter(kernels.Vector(c.out)).unless(c.withoutBias).fixed(c.Frozen),
		},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Conv(a[0], a[1], a[2], a[3], c.Conv)
		},
	}
}

func (c convolution) backwardData() call {
	return call{
		name: "ConvBackwardData " + c.String(),
		conv: true,
		operands: []operand{
			activation(c.src()).written(), activation(c.dst()),
			parameter(c.weights()).fixed(c.Frozen),
			parameter(kernels.Vector(c.in)).unless(c.withoutBias).fixed(c.Frozen),
		},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ConvBackwardData(a[0], a[1], a[2], a[3], c.Conv)
		},
	}
}

func (c convolution) backwardWeights() call {
	return call{
		name: "ConvBackwardWeights " + c.String(),
		conv: true,
		operands: []operand{
			parameter(c.weights()).written(),
			parameter(kernels.Vector(c.out)).written().unless(c.withoutBias),
			activation(c.dst()), activation(c.src()),
		},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ConvBackwardWeights(a[0], a[1], a[2], a[3], c.Conv)
		},
	}
}

func (c convolution) all() []call {
	return []call{c.forward(), c.backwardData(), c.backwardWeights()}
}

func biasBackward(s kernels.Shape) call {
	return call{
		name:     fmt.Sprintf("BiasBackward %v", s),
		operands: []operand{parameter(kernels.Vector(s.C)).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.BiasBackward(a[0], a[1])
		},
	}
}

func pad(s kernels.Shape, mode kernels.PadMode, p kernels.Padding) []call {
	padded := kernels.Shape{N: s.N, C: s.C, H: s.H + p.Top + p.Bottom, W: s.W + p.Left + p.Right}
	name := fmt.Sprintf("%v %v %+v", s, mode, p)
	return []call{{
		name:     "Pad " + name,
		operands: []operand{activation(padded).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Pad(a[0], a[1], mode, p)
		},
	}, {
		name:     "PadBackward " + name,
		operands: []operand{activation(s).written(), activation(padded)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.PadBackward(a[0], a[1], mode, p)
		},
	}}
}

// norm takes sources of that mean and standard deviation.
func norm(s kernels.Shape, n kernels.Norm, mean, std float32) []call {
	name := fmt.Sprintf("%v %+v of %g±%g", s, n, mean, std)
	stats, vector := n.Stats(s), kernels.Vector(s.C)
	count := float64(s.Elements() / stats.Elements())
	source := func(v []float32) {
		for i := range v {
			v[i] = mean + std*v[i]
		}
	}
	forward := call{
		name: "Norm " + name,
		operands: []operand{
			activation(s).written(), parameter(stats).written(), parameter(stats).written(),
			activation(s), parameter(vector), parameter(vector),
		},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Norm(a[0], a[1], a[2], a[3], a[4], a[5], n)
		},
		fill: func(_ *rand.Rand, v [][]float32) { source(v[3]) },
		scale: func(v [][]float64, _ []float64) []float64 {
			invstd, src, gamma, beta := largest(v[2]), largest(v[3]), largest(v[4]), largest(v[5])
			// The mean is as exact as its own size allows, which the division
			// by a small deviation magnifies.
			rounding := src * invstd / 10
			return []float64{gamma*(math.Sqrt(count)+rounding) + beta, src, invstd, 0, 0, 0}
		},
	}
	backward := call{
		name: "NormBackward " + name,
		operands: []operand{
			activation(s).written(), parameter(vector).written(), parameter(vector).written(),
			activation(s), activation(s), parameter(vector), parameter(vector), parameter(stats), parameter(stats),
		},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.NormBackward(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], n)
		},
		fill: func(_ *rand.Rand, v [][]float32) { source(v[4]) },
		derive: func(v [][]float32) {
			ddst, src, gamma, beta, mean, invstd := v[3], v[4], v[5], v[6], v[7], v[8]
			statistics(mean, invstd, src, s, n)
			for i, x := range src {
				g, c := group(i, s, n), i/(s.H*s.W)%s.C
				// A device may round to either side of the ReLU's kink.
				if y := gamma[c]*(x-mean[g])*invstd[g] + beta[c]; math.Abs(float64(y)) < 1e-3 {
					ddst[i] = 0
				}
			}
		},
		scale: func(v [][]float64, _ []float64) []float64 {
			ddst, gamma, invstd := largest(v[3]), largest(v[5]), largest(v[8])
			rounding := largest(v[4]) * invstd / 10
			sum := ddst * float64(s.Elements()/s.C)
			return []float64{gamma * invstd * ddst * (1 + rounding), sum * (1 + rounding), sum, 0, 0, 0, 0, 0, 0}
		},
	}
	return []call{forward, backward}
}

// group is the index of the statistics of element i.
func group(i int, s kernels.Shape, n kernels.Norm) int {
	plane := i / (s.H * s.W)
	if n.Batch {
		return plane % s.C
	}
	return plane
}

// statistics computes what Norm leaves for NormBackward.
func statistics(mean, invstd, src []float32, s kernels.Shape, n kernels.Norm) {
	sums, squares := make([]float64, len(mean)), make([]float64, len(mean))
	count := float64(len(src) / len(mean))
	for i, x := range src {
		sums[group(i, s, n)] += float64(x) / count
	}
	for i, x := range src {
		g := group(i, s, n)
		squares[g] += (float64(x) - sums[g]) * (float64(x) - sums[g]) / count
	}
	for g := range mean {
		mean[g] = float32(sums[g])
		invstd[g] = float32(1 / math.Sqrt(squares[g]+float64(n.Eps)))
	}
}

func channelAffine(s kernels.Shape, withoutShift bool) call {
	v := kernels.Vector(s.C)
	return call{
		name:     fmt.Sprintf("ChannelAffine %v shift %v", s, !withoutShift),
		operands: []operand{activation(s).written(), activation(s), parameter(v), parameter(v).unless(withoutShift)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ChannelAffine(a[0], a[1], a[2], a[3])
		},
	}
}

// relu also covers the variants in place.
func relu(s kernels.Shape) []call {
	rectify := func(v []float32) {
		for i := range v {
			v[i] = max(0, v[i])
		}
	}
	return []call{{
		name:     fmt.Sprintf("ReLU %v", s),
		operands: []operand{activation(s).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ReLU(a[0], a[1])
		},
	}, {
		name:     fmt.Sprintf("ReLU in place %v", s),
		operands: []operand{activation(s).updated()},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ReLU(a[0], a[0])
		},
	}, {
		name:     fmt.Sprintf("ReLUBackward %v", s),
		operands: []operand{activation(s).written(), activation(s), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ReLUBackward(a[0], a[1], a[2])
		},
		fill: func(_ *rand.Rand, v [][]float32) { rectify(v[2]) },
	}, {
		name:     fmt.Sprintf("ReLUBackward in place %v", s),
		operands: []operand{activation(s).updated(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.ReLUBackward(a[0], a[0], a[1])
		},
		fill: func(_ *rand.Rand, v [][]float32) { rectify(v[1]) },
	}}
}

func tanh(s kernels.Shape, scale, offset float32) []call {
	name := fmt.Sprintf("%v ×%g+%g", s, scale, offset)
	return []call{{
		name:     "Tanh " + name,
		operands: []operand{activation(s).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Tanh(a[0], a[1], scale, offset)
		},
		fill: func(r *rand.Rand, v [][]float32) { v[1][r.IntN(len(v[1]))] *= 100 }, // saturated
		scale: func([][]float64, []float64) []float64 {
			return []float64{math.Abs(float64(scale)) + math.Abs(float64(offset)), 0}
		},
	}, {
		name:     "TanhBackward " + name,
		operands: []operand{activation(s).written(), activation(s), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.TanhBackward(a[0], a[1], a[2], scale, offset)
		},
		fill: func(_ *rand.Rand, v [][]float32) {
			for i, x := range v[2] {
				v[2][i] = scale*float32(math.Tanh(float64(x))) + offset
			}
		},
		scale: func(v [][]float64, _ []float64) []float64 {
			return []float64{largest(v[1]) * (math.Abs(float64(scale)) + math.Abs(float64(offset))), 0, 0}
		},
	}}
}

// sum adds activations or parameters; in place dst is the first source.
func sum(s kernels.Shape, parameters, inPlace bool, weights ...float32) call {
	kind := activation
	if parameters {
		kind = parameter
	}
	c := call{name: fmt.Sprintf("Sum %v parameters %v in place %v of %v", s, parameters, inPlace, weights)}
	for range weights {
		c.operands = append(c.operands, kind(s))
	}
	if inPlace {
		c.operands[0] = c.operands[0].updated()
		c.bind = func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Sum(a[0], a, weights)
		}
	} else {
		c.operands = append(c.operands, kind(s).written())
		c.bind = func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Sum(a[len(weights)], a[:len(weights)], weights)
		}
	}
	return c
}

// combine is sum with weights of the device.
func combine(s kernels.Shape, parameters, inPlace bool, n int) call {
	kind := activation
	if parameters {
		kind = parameter
	}
	c := call{
		name:     fmt.Sprintf("Combine %v parameters %v in place %v of %d", s, parameters, inPlace, n),
		operands: []operand{kind(s).written(), parameter(kernels.Vector(n))},
	}
	for range n {
		c.operands = append(c.operands, kind(s))
	}
	c.bind = func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) { return d.Combine(a[0], a[2:], a[1]) }
	if inPlace {
		c.operands[0].absent = true
		c.operands[2] = c.operands[2].updated()
		c.bind = func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) { return d.Combine(a[2], a[2:], a[1]) }
	}
	return c
}

// dots multiplies an array with n others, and with itself.
func dots(s kernels.Shape, parameters bool, n int) call {
	kind := activation
	if parameters {
		kind = parameter
	}
	c := call{
		name:     fmt.Sprintf("Dots %v parameters %v with %d", s, parameters, n),
		operands: []operand{parameter(kernels.Vector(n + 1)).written(), kind(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Dots(a[0], a[1], append(a[2:len(a):len(a)], a[1]))
		},
	}
	for range n {
		c.operands = append(c.operands, kind(s))
	}
	return c
}

func upsample(s kernels.Shape, factor int) []call {
	name := fmt.Sprintf("%v ×%d", s, factor)
	large := kernels.Shape{N: s.N, C: s.C, H: s.H * factor, W: s.W * factor}
	return []call{{
		name:     "Upsample " + name,
		operands: []operand{activation(large).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Upsample(a[0], a[1], factor)
		},
	}, {
		name:     "UpsampleBackward " + name,
		operands: []operand{activation(s).written(), activation(large)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.UpsampleBackward(a[0], a[1], factor)
		},
	}}
}

// pool takes sources of a few whole numbers, so that most squares have several
// largest elements, where ties is set.
func pool(s kernels.Shape, kind kernels.PoolKind, ties bool) []call {
	name := fmt.Sprintf("%v %v ties %v", s, kind, ties)
	small := kernels.Shape{N: s.N, C: s.C, H: s.H / 2, W: s.W / 2}
	round := func(v []float32) {
		for i := range v {
			if ties {
				v[i] = float32(math.Round(float64(v[i])))
			}
		}
	}
	return []call{{
		name:     "Pool " + name,
		operands: []operand{activation(small).written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Pool(a[0], a[1], kind)
		},
		fill: func(_ *rand.Rand, v [][]float32) { round(v[1]) },
	}, {
		name:     "PoolBackward " + name,
		operands: []operand{activation(s).written(), activation(small), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.PoolBackward(a[0], a[1], a[2], kind)
		},
		fill: func(_ *rand.Rand, v [][]float32) { round(v[2]) },
	}}
}

func gram(s kernels.Shape) []call {
	matrix := parameter(kernels.Shape{N: s.N, C: 1, H: s.C, W: s.C})
	return []call{{
		name:     fmt.Sprintf("Gram %v", s),
		operands: []operand{matrix.written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Gram(a[0], a[1])
		},
	}, {
		name:     fmt.Sprintf("GramBackward %v", s),
		operands: []operand{activation(s).written(), matrix, activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.GramBackward(a[0], a[1], a[2])
		},
	}}
}

// mse compares activations, or parameters such as Gram matrices, with one
// target for each image or, with shared, one for all.
func mse(s kernels.Shape, parameters, shared bool) []call {
	name := fmt.Sprintf("%v parameters %v shared %v", s, parameters, shared)
	a := activation(s)
	if parameters {
		a = parameter(s)
	}
	b := a
	if shared {
		b.shape.N = 1
	}
	loss := parameter(kernels.Scalar())
	return []call{{
		name:     "MSE " + name,
		operands: []operand{loss.written(), a, b},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.MSE(a[0], a[1], a[2])
		},
	}, {
		name:     "MSEBackward " + name,
		operands: []operand{a.written(), loss, a, b},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.MSEBackward(a[0], a[1], a[2], a[3])
		},
	}}
}

func totalVariation(s kernels.Shape) []call {
	loss := parameter(kernels.Scalar())
	return []call{{
		name:     fmt.Sprintf("TotalVariation %v", s),
		operands: []operand{loss.written(), activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.TotalVariation(a[0], a[1])
		},
	}, {
		name:     fmt.Sprintf("TotalVariationBackward %v", s),
		operands: []operand{activation(s).written(), loss, activation(s)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.TotalVariationBackward(a[0], a[1], a[2])
		},
	}}
}

func squaredNorm(shapes ...kernels.Shape) call {
	c := call{
		name:     fmt.Sprintf("SquaredNorm %v", shapes),
		operands: []operand{parameter(kernels.Scalar()).written()},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.SquaredNorm(a[0], a[1:])
		},
	}
	for _, s := range shapes {
		c.operands = append(c.operands, parameter(s))
	}
	return c
}

// onPictures makes the parameters, gradients and moments of adam pictures.
func onPictures(c call) call {
	c.name += " on pictures"
	for i := range c.operands[1:] {
		c.operands[1+i].parameter = false
	}
	return c
}

// adam clips where squares, the squared norm of the gradients, is above 0. The
// learning rate is large, so that a wrong step is a wrong result.
func adam(h kernels.Adam, squares float32, shapes ...kernels.Shape) call {
	n := len(shapes)
	c := call{
		name:     fmt.Sprintf("Adam %+v squared norm %g %v", h, squares, shapes),
		operands: []operand{parameter(kernels.Scalar()).unless(squares == 0)},
		bind: func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error) {
			return d.Adam(a[1:1+n], a[1+n:1+2*n], a[1+2*n:1+3*n], a[1+3*n:], a[0], &h)
		},
		fill: func(_ *rand.Rand, v [][]float32) {
			if squares > 0 {
				v[0][0] = squares
			}
			for _, second := range v[1+3*n:] {
				for i := range second {
					second[i] *= second[i]
				}
			}
		},
		scale: func(v [][]float64, _ []float64) []float64 {
			scale := make([]float64, len(v))
			for i, v := range v {
				scale[i] = largest(v)
			}
			return scale
		},
	}
	for role := range 4 { // parameters, gradients, moments
		for _, s := range shapes {
			o := parameter(s)
			if role != 1 {
				o = o.updated()
			}
			c.operands = append(c.operands, o)
		}
	}
	return c
}
