package networks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// Design is a description of a network that a file can hold as JSON: that of
// Johnson's networks, with one style or with many, an AdaIN, or a *Network
// itself, which lists its layers.
type Design interface {
	Build() (*Network, error)
	// String says in a few words what the network is.
	String() string
}

// ParseDesign reads the JSON of a design. It comes from a file that anybody may
// have written, and is checked.
func ParseDesign(text []byte) (Design, error) {
	var kind struct {
		Layers  json.RawMessage `json:"layers"`
		Styles  json.RawMessage `json:"styles"`
		Encoder json.RawMessage `json:"encoder"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	if kind.Layers != nil {
		n := &Network{}
		if err := strict(text, n); err != nil {
			return nil, err
		}
		return n, n.check()
	}
	if kind.Styles != nil {
		var m MultiStyle
		if err := strict(text, &m); err != nil {
			return nil, err
		}
		return m, CheckStyles(m.Styles)
	}
	if kind.Encoder != nil {
		var a AdaIN
		err := strict(text, &a)
		return a, err
	}
	var j Johnson
	err := strict(text, &j)
	return j, err
}

// strict refuses keys that are not known: they would change the network.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// String is the list of layers of Johnson's notation.
func (j Johnson) String() string { return j.Architecture }

// Build checks the network and returns it.
func (n *Network) Build() (*Network, error) { return n, n.check() }

// String counts the layers.
func (n *Network) String() string { return fmt.Sprintf("%d layers", len(n.Layers)) }

// ops are the kinds of layers by their name in JSON.
func ops() map[string]Op {
	return map[string]Op{
		"conv": Conv{}, "conv_transpose": ConvTranspose{}, "norm": Norm{}, "relu": ReLU{}, "tanh": Tanh{}, "add": Add{}, "pad": Pad{},
		"upsample": Upsample{}, "pool": Pool{}, "affine": Affine{},
		"pointwise": Pointwise{}, "concat": Concat{}, "channels": Channels{}, "depth_to_space": DepthToSpace{}, "resize": Resize{},
		"window_pool": WindowPool{}, "group_norm": GroupNorm{}, "style_norm": StyleNorm{},
	}
}

type layerJSON struct {
	Name   string          `json:"name"`
	Kind   string          `json:"kind"`
	Inputs []int           `json:"inputs"`
	Op     json.RawMessage `json:"op,omitempty"`
}

// Kind is the name of an operation's kind in JSON, or "" for an unknown one.
func Kind(op Op) string {
	for kind, other := range ops() {
		if reflect.TypeOf(other) == reflect.TypeOf(op) {
			return kind
		}
	}
	return ""
}

// MarshalJSON writes a layer as its name, its kind, the indices of its inputs
// (−1 is the network's) and the settings of its kind.
func (l Layer) MarshalJSON() ([]byte, error) {
	if kind := Kind(l.Op); kind != "" {
		settings, err := json.Marshal(l.Op)
		if string(settings) == "{}" {
			settings = nil
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Name, err)
		}
		return json.Marshal(layerJSON{l.Name, kind, l.Inputs, settings})
	}
	return nil, fmt.Errorf("layer %s: a %T cannot be written", l.Name, l.Op)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Layer) UnmarshalJSON(text []byte) error {
	var j layerJSON
	if err := strict(text, &j); err != nil {
		return err
	}
	op, ok := ops()[j.Kind]
	if !ok {
		return fmt.Errorf("layer %q: unknown kind %q", j.Name, j.Kind)
	}
	into := reflect.New(reflect.TypeOf(op))
	if j.Op != nil {
		if err := strict(j.Op, into.Interface()); err != nil {
			return fmt.Errorf("layer %q: %w", j.Name, err)
		}
	}
	l.Name, l.Inputs, l.Op = j.Name, j.Inputs, into.Elem().Interface().(Op)
	return nil
}

// Limits of networks that come from files. Published style networks have up to
// some hundred layers of up to some hundred channels.
const (
	maxLayers   = 4096
	maxChannels = 1 << 14
	maxSide     = 1 << 10 // of kernels and borders
)

// check refuses layers that no network has, so that nothing after it fails on
// sizes that overflow, indices outside, or divisions by zero.
func (n *Network) check() error {
	if len(n.Layers) == 0 {
		return errors.New("the network has no layers")
	}
	if len(n.Layers) > maxLayers {
		return fmt.Errorf("the network has %d layers; at most %d are read", len(n.Layers), maxLayers)
	}
	if n.Channels < 1 || n.Channels > maxChannels {
		return fmt.Errorf("the network takes %d channels", n.Channels)
	}
	names := map[string]bool{}
	for i, l := range n.Layers {
		if l.Name == "" || names[l.Name] {
			return fmt.Errorf("layer %d has no name of its own: %q", i, l.Name)
		}
		names[l.Name] = true
		if len(l.Inputs) == 0 {
			return fmt.Errorf("layer %s has no input", l.Name)
		}
		for _, j := range l.Inputs {
			if j != Input && (j < 0 || j >= i) {
				return fmt.Errorf("layer %s reads layer %d, which is not before it", l.Name, j)
			}
		}
		if problem := problem(l.Op); problem != "" {
			return fmt.Errorf("layer %s: %s", l.Name, problem)
		}
	}
	return n.sameStyles()
}

// problem says what is wrong with the settings of an operation, or "".
func problem(op Op) string {
	in := func(low, high int, values ...int) bool {
		for _, v := range values {
			if v < low || v > high {
				return false
			}
		}
		return true
	}
	padding := func(p Padding, low int) bool { return in(low, maxSide, p.Top, p.Bottom, p.Left, p.Right) }
	finite := func(values ...float32) bool {
		for _, v := range values {
			if v-v != 0 {
				return false
			}
		}
		return true
	}
	ok := true
	switch o := op.(type) {
	case Conv:
		ok = in(1, maxChannels, o.In, o.Out) && in(1, maxSide, o.Kernel, o.Stride) && padding(o.Pad, 0)
	case ConvTranspose:
		ok = in(1, maxChannels, o.In, o.Out) && in(1, maxSide, o.Kernel, o.Stride) && in(0, o.Kernel-1, o.Pad) && in(0, o.Stride-1, o.OutputPad)
	case Norm:
		ok = in(1, maxChannels, o.Channels) && finite(o.Eps) && o.Eps >= 0
	case Tanh:
		ok = finite(o.Scale, o.Offset)
	case Pad:
		ok = padding(o.Padding, -maxSide) && (o.Mode == PadZero || (o.Mode == PadReflect || o.Mode == PadEdge) && padding(o.Padding, 0))
	case Upsample:
		ok = in(1, maxScale, o.Factor)
	case Affine:
		ok = len(o.Scale) > 0 && len(o.Scale) == len(o.Shift) && finite(o.Scale...) && finite(o.Shift...)
	case Pointwise:
		switch o.Function {
		case PReLU:
			ok = in(1, maxChannels, o.Channels)
		case Clip:
			ok = o.A <= o.B
		case LeakyReLU, Sigmoid, Plus, Minus, Times, Over:
			ok = finite(o.A)
		default:
			return fmt.Sprintf("unknown function %q", o.Function)
		}
	case DepthToSpace:
		ok = in(1, maxScale, o.Block)
	case Resize:
		known := o.Coordinates == "half_pixel" || o.Coordinates == "pytorch_half_pixel" || o.Coordinates == "align_corners" || o.Coordinates == "asymmetric"
		columns := o.OfColumns().Scale
		ok = known && min(o.Scale, columns) >= 1./maxScale && max(o.Scale, columns) <= maxScale
	case WindowPool:
		rows, columns := o.Window()
		ok = o.Global || in(1, maxSide, rows, columns, o.Stride) && padding(o.Pad, 0) && in(0, rows-1, o.Pad.Top, o.Pad.Bottom) && in(0, columns-1, o.Pad.Left, o.Pad.Right)
	case StyleNorm:
		if err := CheckStyles(o.Styles); err != nil {
			return err.Error()
		}
		ok = in(1, maxChannels, o.Channels) && finite(o.Eps) && o.Eps >= 0
	case GroupNorm:
		ok = in(1, maxChannels, o.Channels, o.Groups) && o.Channels%o.Groups == 0 && finite(o.Eps) && o.Eps >= 0
	}
	if !ok {
		return fmt.Sprintf("settings %+v are out of range", op)
	}
	return ""
}

// Multiple is the number that an input's sides must be a multiple of for the
// output to have the size of the input, and least the smallest side that all
// layers can take.
func (n *Network) Multiple() (multiple, least int, err error) {
	keeps := func(side int) bool {
		sizes, e := n.Sizes(side, side)
		if e != nil {
			err = e
			return false
		}
		last := sizes[len(sizes)-1]
		if last.H != side || last.W != side {
			err = fmt.Errorf("a picture of %d×%d comes out as %d×%d", side, side, last.W, last.H)
			return false
		}
		return true
	}
	for multiple = 1; multiple <= maxScale; multiple++ {
		if !keepsSome(keeps, multiple) {
			continue
		}
		for least = multiple; ; least += multiple {
			if keeps(least) {
				return multiple, least, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("the network keeps the size of no picture: %w", err)
}

// keepsSome tries sides that are multiples of m: those large enough for any
// border, and neighbours, which tell strides apart.
func keepsSome(keeps func(int) bool, m int) bool {
	const large, neighbours = 1 << 13, 5
	first := int(math.Ceil(large/float64(m))) * m
	for k := range neighbours {
		if !keeps(first + k*m) {
			return false
		}
	}
	return true
}
