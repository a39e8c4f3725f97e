package networks

import (
	"fmt"
	"math"
)

// The operations below are those of networks that others have trained. They
// run forward alone.
type (
	// Pointwise computes each value from those at its place. Parameters: with
	// PReLU a weight (Channels).
	Pointwise struct {
		Function Function `json:"function"`
		A        float32  `json:"a,omitempty"`
		B        float32  `json:"b,omitempty"`
		Channels int      `json:"channels,omitempty"` // with PReLU alone
	}
	// Concat puts two or more maps of one size behind each other.
	Concat struct{}
	// Channels takes the channels From ≤ c < To.
	Channels struct {
		From int `json:"from"`
		To   int `json:"to"`
	}
	// DepthToSpace turns Block×Block channels into a square of pixels. The
	// channel of row i and column j of the square of channel c is
	// c·Block² + i·Block + j with CRD (PyTorch's pixel shuffle), or
	// (i·Block + j)·C + c without.
	DepthToSpace struct {
		Block int  `json:"block"`
		CRD   bool `json:"crd,omitempty"`
	}
	// Resize scales rows and columns, of which there are ⌊n·Scale⌋ then, in the
	// terms of ONNX.
	Resize struct {
		Scale   float64 `json:"scale"`
		Columns float64 `json:"columns,omitempty"` // the scale of columns, where it is another
		Linear  bool    `json:"linear,omitempty"`  // between two pixels; else the nearest
		// Coordinates is "half_pixel", "pytorch_half_pixel", "align_corners" or
		// "asymmetric".
		Coordinates string `json:"coordinates"`
		// Rounding of the nearest is "round_prefer_floor", "round_prefer_ceil",
		// "floor" or "ceil".
		Rounding string `json:"rounding,omitempty"`
	}
	// WindowPool takes the maximum, or the average with Average, of each
	// Kernel×Kernel window, or one of Kernel rows and Width columns, or with Global
	// of each map.
	WindowPool struct {
		Average  bool    `json:"average,omitempty"`
		Global   bool    `json:"global,omitempty"`
		Kernel   int     `json:"kernel,omitempty"`
		Width    int     `json:"width,omitempty"` // where it is not Kernel
		Stride   int     `json:"stride,omitempty"`
		Pad      Padding `json:"pad,omitzero"`
		CountPad bool    `json:"count_pad,omitempty"` // the border counts in averages, as zeros
	}
	// GroupNorm normalises with the mean and variance of groups of channels (Wu
	// and He 2018). Parameters: weight and bias (Channels).
	GroupNorm struct {
		Channels int     `json:"channels"`
		Groups   int     `json:"groups"`
		Eps      float32 `json:"eps"`
	}
)

// Function is what Pointwise computes.
type Function string

// The functions of one map x, and of two. The second of two may have one
// channel, one row or one column where the first has more: it is repeated.
const (
	LeakyReLU Function = "leaky_relu" // x, or A·x below 0
	PReLU     Function = "prelu"      // x, or weight[c]·x below 0
	Sigmoid   Function = "sigmoid"    // 1/(1+e⁻ˣ)
	Clip      Function = "clip"       // at least A, at most B
	Plus      Function = "add"
	Minus     Function = "sub"
	Times     Function = "mul"
	Over      Function = "div"
)

// Binary tells the functions of two maps.
func (f Function) Binary() bool { return f == Plus || f == Minus || f == Times || f == Over }

func (p Pointwise) params(name string) []Param {
	if p.Function != PReLU {
		return nil
	}
	return []Param{{name + ".weight", []int{p.Channels}, true, constant(.25)}}
}

func (p Pointwise) shape(in []Size) (Size, error) {
	if !p.Function.Binary() {
		return in[0], want(in, 1, p.Channels)
	}
	if err := want(in, 2, 0); err != nil {
		return Size{}, err
	}
	a, b := in[0], in[1]
	if b.C != a.C && b.C != 1 || b.H != a.H && b.H != 1 || b.W != a.W && b.W != 1 {
		return Size{}, fmt.Errorf("maps of %v and %v do not go together", a, b)
	}
	return a, nil
}

func (Concat) params(string) []Param { return nil }

func (Concat) shape(in []Size) (Size, error) {
	if len(in) < 2 {
		return Size{}, fmt.Errorf("%d inputs, not 2 or more", len(in))
	}
	out := in[0]
	for _, s := range in[1:] {
		if s.H != out.H || s.W != out.W {
			return Size{}, fmt.Errorf("maps of %v and %v cannot stand behind each other", in[0], s)
		}
		out.C += s.C
	}
	return out, nil
}

func (Channels) params(string) []Param { return nil }

func (c Channels) shape(in []Size) (Size, error) {
	if err := want(in, 1, 0); err != nil {
		return Size{}, err
	}
	if c.From < 0 || c.To <= c.From || c.To > in[0].C {
		return Size{}, fmt.Errorf("channels %d to %d of %d", c.From, c.To, in[0].C)
	}
	return Size{c.To - c.From, in[0].H, in[0].W}, nil
}

func (DepthToSpace) params(string) []Param { return nil }

func (d DepthToSpace) shape(in []Size) (Size, error) {
	if err := want(in, 1, 0); err != nil {
		return Size{}, err
	}
	n := d.Block * d.Block
	if in[0].C%n != 0 {
		return Size{}, fmt.Errorf("%d channels are no multiple of %d×%d", in[0].C, d.Block, d.Block)
	}
	return Size{in[0].C / n, in[0].H * d.Block, in[0].W * d.Block}, nil
}

func (Resize) params(string) []Param { return nil }

func (r Resize) shape(in []Size) (Size, error) {
	if err := want(in, 1, 0); err != nil {
		return Size{}, err
	}
	return Size{in[0].C, r.side(in[0].H), r.OfColumns().side(in[0].W)}, nil
}

// OfColumns scales rows as r does columns.
func (r Resize) OfColumns() Resize {
	if r.Columns != 0 {
		r.Scale, r.Columns = r.Columns, 0
	}
	return r
}

func (r Resize) side(n int) int { return int(math.Floor(float64(n) * r.Scale)) }

// Taps says from where n pixels in a row get the values of the scaled row: Tap
// of each.
func (r Resize) Taps(n int) (first, second []int, weight []float32) {
	out := r.side(n)
	first, second, weight = make([]int, out), make([]int, out), make([]float32, out)
	for i := range out {
		first[i], second[i], weight[i] = r.Tap(i, n)
	}
	return first, second, weight
}

// Tap says from where the i-th pixel of a row of n that is scaled gets its value,
// (1−weight)·pixel[first] + weight·pixel[second]. Neither index falls as i grows.
func (r Resize) Tap(i, n int) (first, second int, weight float32) {
	x := r.source(i, n, r.side(n))
	if !r.Linear {
		first = min(max(r.round(x), 0), n-1)
		return first, first, 0
	}
	x = min(max(x, 0), float64(n-1))
	first = int(x)
	return first, min(first+1, n-1), float32(x - float64(first))
}

// source is where the i-th of out pixels lies among n.
func (r Resize) source(i, n, out int) float64 {
	switch r.Coordinates {
	case "align_corners":
		if out == 1 {
			return 0
		}
		return float64(i) * float64(n-1) / float64(out-1)
	case "asymmetric":
		return float64(i) / r.Scale
	case "pytorch_half_pixel":
		if out == 1 {
			return 0
		}
	}
	return (float64(i)+.5)/r.Scale - .5
}

func (r Resize) round(x float64) int {
	switch r.Rounding {
	case "floor":
		return int(math.Floor(x))
	case "ceil":
		return int(math.Ceil(x))
	case "round_prefer_ceil":
		return int(math.Floor(x + .5))
	}
	return int(math.Ceil(x - .5))
}

func (WindowPool) params(string) []Param { return nil }

func (p WindowPool) shape(in []Size) (Size, error) {
	if err := want(in, 1, 0); err != nil {
		return Size{}, err
	}
	if p.Global {
		return Size{in[0].C, 1, 1}, nil
	}
	rows, columns := p.Window()
	h, w := in[0].H+p.Pad.Top+p.Pad.Bottom-rows, in[0].W+p.Pad.Left+p.Pad.Right-columns
	if h < 0 || w < 0 {
		return Size{}, fmt.Errorf("a map of %d×%d is smaller than the %d×%d window", in[0].W, in[0].H, columns, rows)
	}
	return Size{in[0].C, h/p.Stride + 1, w/p.Stride + 1}, nil
}

// Window is the size of a window that is not Global.
func (p WindowPool) Window() (rows, columns int) {
	if p.Width == 0 {
		return p.Kernel, p.Kernel
	}
	return p.Kernel, p.Width
}

func (n GroupNorm) params(name string) []Param { return Norm{Channels: n.Channels}.params(name) }

func (n GroupNorm) shape(in []Size) (Size, error) { return in[0], want(in, 1, n.Channels) }
