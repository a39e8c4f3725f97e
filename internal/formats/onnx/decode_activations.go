package onnx

import (
	"math"
	"slices"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
)

// The activations here are written out in functions that kernels have. They are
// as exact as float32 is: to some millionths of the largest value at their place.

// formula writes a function of a map as layers.
type formula struct {
	*call
	of *feature // the map
}

func (b formula) times(x, y *feature) *feature { return b.plain(".times", networks.Times, x, y) }
func (b formula) plus(x, y *feature) *feature  { return b.plain(".plus", networks.Plus, x, y) }
func (b formula) over(x, y *feature) *feature  { return b.plain(".over", networks.Over, x, y) }

func (b formula) scaled(x *feature, scale, shift float64) *feature {
	return b.affine(".affine", x, b.finite(scale), b.finite(shift))
}

func (b formula) tanh(x *feature) *feature { return b.each(".tanh", networks.Tanh{Scale: 1}, x) }

func (b formula) sigmoid(x *feature) *feature {
	return b.each(".sigmoid", networks.Pointwise{Function: networks.Sigmoid}, x)
}

func (b formula) relu(x *feature) *feature { return b.each(".relu", networks.ReLU{}, x) }

// abs is x, or −x below 0.
func (b formula) abs(x *feature) *feature {
	return b.each(".abs", networks.Pointwise{Function: networks.LeakyReLU, A: -1}, x)
}

// polynomial is k₀ + k₁·x + k₂·x² + …
func (b formula) polynomial(x *feature, k ...float64) *feature {
	n := len(k) - 1
	y := b.scaled(x, k[n], k[n-1])
	for _, v := range slices.Backward(k[:n-1]) {
		y = b.scaled(b.times(y, x), 1, v)
	}
	return y
}

// decay is e⁻ˣ of what is not below 0: σ(−x)/σ(x).
func (b formula) decay(x *feature) *feature {
	return b.over(b.sigmoid(b.scaled(x, -1, 0)), b.sigmoid(x))
}

// growth is eˣ − 1 where x is below 0, and else 0: tanh(x/2)/σ(−x), in which
// nothing is lost near 0.
func (b formula) growth(x *feature) *feature {
	low := b.clipped(".low", x, -math.MaxFloat32, 0)
	return b.over(b.tanh(b.scaled(low, .5, 0)), b.sigmoid(b.scaled(low, -1, 0)))
}

// exponential is a·(e^(x/c) − 1) below 0, and scale·x above it.
func (b formula) exponential(scale, a, c float64) *feature {
	return b.plus(b.scaled(b.relu(b.of), scale, 0), b.scaled(b.growth(b.scaled(b.of, 1/c, 0)), a, 0))
}

// softplus is log(1 + eˣ) = max(x, 0) − log σ(|x|). The logarithm is a series of
// z = (1−σ)/(1+σ), which is at most 1/3: 2·(z + z³/3 + z⁵/5 + …).
func (b formula) softplus() *feature {
	size := b.abs(b.of)
	z := b.over(b.sigmoid(b.scaled(size, -1, 0)), b.scaled(b.sigmoid(size), 1, 1))
	series := b.polynomial(b.times(z, z), 2, 2./3, 2./5, 2./7, 2./9, 2./11, 2./13)
	return b.plus(b.relu(b.of), b.times(z, series))
}

// erf is the error function, by formula 7.1.26 of Abramowitz and Stegun, whose
// error is 1.5e-7.
func (b formula) erf(x *feature) *feature {
	size := b.abs(x)
	one := b.scaled(size, 0, 1)
	t := b.over(one, b.scaled(size, .3275911, 1))
	tail := b.times(b.times(t, b.polynomial(t, .254829592, -.284496736, 1.421413741, -1.453152027, 1.061405429)), b.decay(b.times(size, size)))
	sign := b.clipped(".sign", b.scaled(x, 1e30, 0), -1, 1)
	return b.times(b.scaled(tail, -1, 1), sign)
}

// activation is one of the functions above.
func (c *call) activation() *feature {
	b := formula{c, c.feature(0)}
	x := b.of
	switch c.n.op {
	case "Abs":
		return b.abs(x)
	case "Elu":
		return b.exponential(1, float64(c.float("alpha", 1)), 1)
	case "Selu":
		gamma := float64(c.float("gamma", 1.05070102214813232421875))
		return b.exponential(gamma, gamma*float64(c.float("alpha", 1.67326319217681884765625)), 1)
	case "Celu":
		alpha := float64(c.float("alpha", 1))
		return b.exponential(1, alpha, alpha)
	case "Softplus":
		return b.softplus()
	case "Softsign":
		return b.over(x, b.scaled(b.abs(x), 1, 1))
	case "Mish":
		return b.times(x, b.tanh(b.softplus()))
	case "Swish":
		return b.times(x, b.sigmoid(b.scaled(x, float64(c.float("alpha", 1)), 0)))
	case "Erf":
		return b.erf(x)
	}
	var gate *feature // of Gelu
	switch how := c.string("approximate", "none"); how {
	case "none":
		gate = b.erf(b.scaled(x, math.Sqrt2/2, 0))
	case "tanh":
		gate = b.tanh(b.times(x, b.polynomial(b.times(x, x), math.Sqrt(2/math.Pi), math.Sqrt(2/math.Pi)*.044715)))
	default:
		c.refuse("approximate %.20q: none and tanh are read", how)
	}
	return b.times(x, b.scaled(gate, .5, .5))
}

// several is Sum, Max and Min of any number of maps and constants.
func (c *call) several() *feature {
	first := slices.IndexFunc(c.in, func(v value) bool { return v.f != nil })
	f := c.feature(first)
	for i := range c.in {
		switch {
		case i == first:
		case c.in[i].f == nil:
			f = c.withNumbers(f, c.floatsAt(i))
		case c.n.op == "Sum":
			f = c.combine("", networks.Plus, f, c.feature(i))
		default:
			f = c.greatest(f, c.feature(i))
		}
	}
	return f
}

// floatsAt is an input of floats that are known.
func (c *call) floatsAt(i int) *tensor {
	t := c.tensor(i)
	if !t.isFloat() {
		c.refuse("input %d holds %s", i+1, typeName(t.dtype))
	}
	return t
}

// withNumbers is the sum, maximum or minimum of a map and a constant.
func (c *call) withNumbers(f *feature, t *tensor) *feature {
	v := c.perChannel(f, t)
	limit, same := scalarOf(&tensor{dtype: onnxpb.TensorProto_FLOAT, floats: v})
	switch {
	case c.n.op == "Sum":
		return c.affines("", f, slices.Repeat([]float32{1}, len(v)), v)
	case !same:
		return c.greatest(f, c.constantMap(f, v))
	case c.n.op == "Max":
		return c.clipped("", f, c.finite(limit), math.MaxFloat32)
	}
	return c.clipped("", f, -math.MaxFloat32, c.finite(limit))
}

// constantMap is a map of f's size with a number for each channel.
func (c *call) constantMap(f *feature, v []float32) *feature {
	return c.affines(".constant", f, make([]float32, len(v)), v)
}

// greatest is Max or Min of two maps. They become the pixels of squares, whose
// maximum is exact.
func (c *call) greatest(a, b *feature) *feature {
	if smaller(a, b) {
		a, b = b, a
	}
	if b.size != a.size {
		b = c.plain(".repeated", networks.Times, c.constantMap(a, slices.Repeat([]float32{1}, a.size.C)), b)
	}
	if !sameAxes(a.axes, b.axes) {
		c.refuse("it computes with %s and %s, whose places do not correspond", a, b)
	}
	sign := float32(1)
	if c.n.op == "Min" {
		sign = -1
	}
	a, b = c.affine(".sign", a, sign, 0), c.affine(".sign", b, sign, 0)
	all := c.emit(".both", networks.Concat{}, nil, a, b, a, b)
	squares := c.emit(".squares", networks.DepthToSpace{Block: 2}, nil, &feature{layer: all, size: c.layers[all].size})
	most := c.emit("", networks.Pool{}, nil, &feature{layer: squares, size: c.layers[squares].size})
	return c.affine(".sign", a.of(most), sign, 0)
}
