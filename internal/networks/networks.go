// Package networks describes networks as data: a list of layers with names,
// made once and used three times. Training compiles it to an expression
// graph, inference runs it straight on the kernels, export prints it as ONNX.
//
// It owns the architectures (Johnson's feed-forward networks, with one style or
// with many, VGG-19), their
// parameters' names and shapes, and their initial values. It refuses to
// compute anything and knows no device.
package networks

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"stylenet/internal/weights"
)

// Input is the index by which layers refer to the network's input.
const Input = -1

// Layer is one operation of a network. Its inputs are indices of earlier
// layers, or Input.
type Layer struct {
	Name   string // unique; parameters are Name + ".weight" and so on
	Op     Op
	Inputs []int
}

// Op is the kind of a layer. Those that can be trained are Conv, ConvTranspose,
// Norm, ReLU, Tanh, Add, Pad, Upsample, Pool and Affine; the others run forward
// alone.
type Op interface {
	// params lists the parameters of a layer of that name.
	params(name string) []Param
	// shape gives the result's channels, rows and columns.
	shape(in []Size) (Size, error)
}

// Size is the size of one image's feature map.
type Size struct{ C, H, W int }

// Padding is a border in pixels.
type Padding struct {
	Top    int `json:"top"`
	Bottom int `json:"bottom"`
	Left   int `json:"left"`
	Right  int `json:"right"`
}

// Same is a border of n pixels on all sides.
func Same(n int) Padding { return Padding{n, n, n, n} }

// PadMode is what a border is filled with.
type PadMode string

// The modes of Pad.
const (
	PadZero    PadMode = "zero"
	PadReflect PadMode = "reflect"
	PadEdge    PadMode = "edge"
)

type (
	// Conv is a cross-correlation with zero padding. Parameters: weight
	// (Out, In, Kernel, Kernel), and bias (Out) unless NoBias.
	Conv struct {
		In     int     `json:"in"`
		Out    int     `json:"out"`
		Kernel int     `json:"kernel"`
		Stride int     `json:"stride"`
		Pad    Padding `json:"pad,omitzero"`
		NoBias bool    `json:"no_bias,omitempty"`
	}
	// ConvTranspose is the transposed convolution of PyTorch's
	// ConvTranspose2d. Parameters: weight (In, Out, Kernel, Kernel), and bias
	// (Out) unless NoBias.
	ConvTranspose struct {
		In        int  `json:"in"`
		Out       int  `json:"out"`
		Kernel    int  `json:"kernel"`
		Stride    int  `json:"stride"`
		Pad       int  `json:"pad,omitempty"`
		OutputPad int  `json:"output_pad,omitempty"`
		NoBias    bool `json:"no_bias,omitempty"`
	}
	// Norm is instance norm, or batch norm with Batch, with a learned scale
	// (weight) and shift (bias). Batch norm also carries running_mean and
	// running_var for inference.
	Norm struct {
		Channels int     `json:"channels"`
		Eps      float32 `json:"eps"`
		Batch    bool    `json:"batch,omitempty"`
	}
	// ReLU is max(0, x).
	ReLU struct{}
	// Tanh is Scale·tanh(x) + Offset.
	Tanh struct {
		Scale  float32 `json:"scale"`
		Offset float32 `json:"offset,omitempty"`
	}
	// Add is the sum of two maps of one size.
	Add struct{}
	// Pad puts a border around each map; negative amounts crop, with PadZero.
	Pad struct {
		Mode    PadMode `json:"mode"`
		Padding Padding `json:"padding"`
	}
	// Upsample repeats every pixel Factor×Factor times.
	Upsample struct {
		Factor int `json:"factor"`
	}
	// Pool takes the maximum, or the average with Average, of 2×2 squares.
	Pool struct {
		Average bool `json:"average,omitempty"`
	}
	// Affine is Scale[c]·x + Shift[c], with constants.
	Affine struct {
		Scale []float32 `json:"scale"`
		Shift []float32 `json:"shift"`
	}
)

// Param is one tensor of a network.
type Param struct {
	Name  string
	Shape []int
	// Trainable is false for running statistics.
	Trainable bool
	init      func(*rand.Rand) float32
}

// Network is a list of layers in an order in which they can run. The last
// layer is the output.
type Network struct {
	// Channels is the number of channels of the input.
	Channels int     `json:"channels"`
	Layers   []Layer `json:"layers"`
}

// Params lists the parameters in the order of the layers.
func (n *Network) Params() []Param {
	var ps []Param
	for _, l := range n.Layers {
		ps = append(ps, l.Op.params(l.Name)...)
	}
	return ps
}

// Find returns the index of the layer of that name, or an error.
func (n *Network) Find(name string) (int, error) {
	for i, l := range n.Layers {
		if l.Name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("the network has no layer %q", name)
}

// FindAll returns the indices of the layers of those names, or an error.
func (n *Network) FindAll(names []string) ([]int, error) {
	indices := make([]int, len(names))
	for i, name := range names {
		var err error
		if indices[i], err = n.Find(name); err != nil {
			return nil, err
		}
	}
	return indices, nil
}

// ReLUAlone says that nothing but the ReLU behind it reads the i-th layer, which
// is not among those of keep either: a kernel that computes the layer can do
// the ReLU as well.
func (n *Network) ReLUAlone(i int, keep []int) bool {
	if i+1 == len(n.Layers) || slices.Contains(keep, i) {
		return false
	}
	next := n.Layers[i+1]
	if _, ok := next.Op.(ReLU); !ok || next.Inputs[0] != i {
		return false
	}
	return !slices.ContainsFunc(n.Layers[i+2:], func(l Layer) bool { return slices.Contains(l.Inputs, i) })
}

// maxMap bounds the sides of maps, so that no product of two overflows.
const maxMap = 1 << 28

// Sizes returns the size of every layer's result for an input of h rows and w
// columns. It fails where a layer cannot run at that size.
func (n *Network) Sizes(h, w int) ([]Size, error) {
	sizes := make([]Size, len(n.Layers))
	for i, l := range n.Layers {
		in := make([]Size, len(l.Inputs))
		for k, j := range l.Inputs {
			if j == Input {
				in[k] = Size{n.Channels, h, w}
			} else {
				in[k] = sizes[j]
			}
		}
		s, err := l.Op.shape(in)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Name, err)
		}
		if empty(s) {
			return nil, fmt.Errorf("layer %s: an input of %d×%d pixels is too small", l.Name, w, h)
		}
		if max(s.H, s.W) > maxMap {
			return nil, fmt.Errorf("layer %s: an input of %d×%d pixels becomes a map of %d×%d", l.Name, w, h, s.W, s.H)
		}
		sizes[i] = s
	}
	return sizes, nil
}

func empty(s Size) bool { return s.C < 1 || s.H < 1 || s.W < 1 }

// Shape returns the size of an operation's result for inputs of these sizes. It
// fails where a setting is out of range or the operation cannot run.
func Shape(op Op, in ...Size) (Size, error) {
	if problem := problem(op); problem != "" {
		return Size{}, errors.New(problem)
	}
	if len(in) == 0 {
		return Size{}, errors.New("no input")
	}
	s, err := op.shape(in)
	if err != nil {
		return Size{}, err
	}
	if empty(s) {
		return Size{}, fmt.Errorf("a map of %d×%d is too small", in[0].W, in[0].H)
	}
	if max(s.H, s.W) > maxMap {
		return Size{}, fmt.Errorf("a map of %d×%d becomes one of %d×%d", in[0].W, in[0].H, s.W, s.H)
	}
	return s, nil
}

// Check compares a set of weights with the network's parameters: every
// parameter must be there with its shape. Tensors that the network does not
// use are ignored only if their names are in ignore.
func (n *Network) Check(set *weights.Set, ignore func(name string) bool) error {
	known := map[string]bool{}
	for _, p := range n.Params() {
		known[p.Name] = true
		t := set.Get(p.Name)
		if t == nil {
			return fmt.Errorf("tensor %q is missing: the architecture wants it with shape %v", p.Name, p.Shape)
		}
		if fmt.Sprint(t.Shape) != fmt.Sprint(p.Shape) {
			return fmt.Errorf("tensor %q has shape %v, but the architecture wants %v", p.Name, t.Shape, p.Shape)
		}
	}
	for _, t := range set.Tensors() {
		if !known[t.Name] && (ignore == nil || !ignore(t.Name)) {
			return fmt.Errorf("tensor %q does not belong to the architecture", t.Name)
		}
	}
	return nil
}

// Init draws initial values for all parameters as PyTorch's layers do
// (convolutions uniform within ±1/√fan-in, norms 1 and 0). The same seed gives
// the same values on every machine.
func (n *Network) Init(seed uint64) (*weights.Set, error) {
	set := &weights.Set{}
	for i, p := range n.Params() {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		data := make([]float32, weights.Elements(p.Shape))
		for k := range data {
			data[k] = p.init(rnd)
		}
		if err := set.Add(p.Name, p.Shape, data); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func uniform(bound float64) func(*rand.Rand) float32 {
	return func(r *rand.Rand) float32 { return float32(bound * (2*r.Float64() - 1)) }
}

func constant(v float32) func(*rand.Rand) float32 {
	return func(*rand.Rand) float32 { return v }
}

func convParams(name string, shape []int, bias, fanIn int, noBias bool) []Param {
	bound := 1 / math.Sqrt(float64(fanIn))
	ps := []Param{{name + ".weight", shape, true, uniform(bound)}}
	if !noBias {
		ps = append(ps, Param{name + ".bias", []int{bias}, true, uniform(bound)})
	}
	return ps
}

func (c Conv) params(name string) []Param {
	return convParams(name, []int{c.Out, c.In, c.Kernel, c.Kernel}, c.Out, c.In*c.Kernel*c.Kernel, c.NoBias)
}

func (c Conv) shape(in []Size) (Size, error) {
	if err := want(in, 1, c.In); err != nil {
		return Size{}, err
	}
	h, w := in[0].H+c.Pad.Top+c.Pad.Bottom-c.Kernel, in[0].W+c.Pad.Left+c.Pad.Right-c.Kernel
	if h < 0 || w < 0 {
		return Size{}, fmt.Errorf("a map of %d×%d is smaller than the %d×%d kernel", in[0].W, in[0].H, c.Kernel, c.Kernel)
	}
	return Size{c.Out, h/c.Stride + 1, w/c.Stride + 1}, nil
}

func (c ConvTranspose) params(name string) []Param {
	return convParams(name, []int{c.In, c.Out, c.Kernel, c.Kernel}, c.Out, c.Out*c.Kernel*c.Kernel, c.NoBias)
}

func (c ConvTranspose) shape(in []Size) (Size, error) {
	if err := want(in, 1, c.In); err != nil {
		return Size{}, err
	}
	grow := func(n int) int { return (n-1)*c.Stride - 2*c.Pad + c.Kernel + c.OutputPad }
	return Size{c.Out, grow(in[0].H), grow(in[0].W)}, nil
}

func (n Norm) params(name string) []Param {
	shape := []int{n.Channels}
	ps := []Param{{name + ".weight", shape, true, constant(1)}, {name + ".bias", shape, true, constant(0)}}
	if n.Batch {
		ps = append(ps, Param{name + ".running_mean", shape, false, constant(0)}, Param{name + ".running_var", shape, false, constant(1)})
	}
	return ps
}

func (n Norm) shape(in []Size) (Size, error) {
	if err := want(in, 1, n.Channels); err != nil {
		return Size{}, err
	}
	return in[0], nil
}

func (ReLU) params(string) []Param         { return nil }
func (ReLU) shape(in []Size) (Size, error) { return in[0], want(in, 1, 0) }
func (Tanh) params(string) []Param         { return nil }
func (Tanh) shape(in []Size) (Size, error) { return in[0], want(in, 1, 0) }
func (Add) params(string) []Param          { return nil }

func (Add) shape(in []Size) (Size, error) {
	if err := want(in, 2, 0); err != nil {
		return Size{}, err
	}
	if in[0] != in[1] {
		return Size{}, fmt.Errorf("cannot add maps of %v and %v", in[0], in[1])
	}
	return in[0], nil
}

func (Pad) params(string) []Param { return nil }

func (p Pad) shape(in []Size) (Size, error) {
	if err := want(in, 1, 0); err != nil {
		return Size{}, err
	}
	b, s := p.Padding, in[0]
	if p.Mode == PadReflect && (max(b.Top, b.Bottom) >= s.H || max(b.Left, b.Right) >= s.W) {
		return Size{}, fmt.Errorf("a map of %d×%d is too small for a reflected border of %+v", s.W, s.H, b)
	}
	return Size{s.C, s.H + b.Top + b.Bottom, s.W + b.Left + b.Right}, nil
}

func (Upsample) params(string) []Param { return nil }

func (u Upsample) shape(in []Size) (Size, error) {
	return Size{in[0].C, in[0].H * u.Factor, in[0].W * u.Factor}, want(in, 1, 0)
}

func (Pool) params(string) []Param { return nil }

func (Pool) shape(in []Size) (Size, error) {
	return Size{in[0].C, in[0].H / 2, in[0].W / 2}, want(in, 1, 0)
}

func (Affine) params(string) []Param { return nil }

func (a Affine) shape(in []Size) (Size, error) { return in[0], want(in, 1, len(a.Scale)) }

// want checks the number of inputs and, unless 0, the channels of the first.
func want(in []Size, inputs, channels int) error {
	if len(in) != inputs {
		return fmt.Errorf("%d inputs, not %d", len(in), inputs)
	}
	if channels != 0 && in[0].C != channels {
		return fmt.Errorf("%d channels, not %d", in[0].C, channels)
	}
	return nil
}

// builder appends layers that each read the one before.
type builder struct {
	net  *Network
	last int
}

func newBuilder(channels int) *builder {
	return &builder{net: &Network{Channels: channels}, last: Input}
}

// add appends a layer that reads the last one and any others, and returns its
// index.
func (b *builder) add(name string, op Op, others ...int) int {
	b.net.Layers = append(b.net.Layers, Layer{Name: name, Op: op, Inputs: append([]int{b.last}, others...)})
	b.last = len(b.net.Layers) - 1
	return b.last
}
