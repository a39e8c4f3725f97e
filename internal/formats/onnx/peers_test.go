package onnx

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/formats/pth"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

// peerCase is one network that ONNX Runtime and PyTorch both run.
type peerCase struct {
	Name     string      `json:"name"`
	Shapes   [][4]int    `json:"shapes"` // N, C, H, W of each input
	Multiple int         `json:"multiple"`
	Least    int         `json:"least"`
	Layers   []peerLayer `json:"layers"`
	Pth      string      `json:"pth,omitempty"`
	Fixed    bool        `json:"fixed"`
	Mixes    [][]float32 `json:"mixes"` // of styles, for each input; null for a network of one
	Style    string      `json:"style"` // the norm that takes its moments from a second picture
	Second   [][4]int    `json:"style_shapes"`
	// Reference has ONNX's own, slow evaluator run the file.
	Reference bool `json:"reference"`

	o      Options
	net    *networks.Network
	set    *weights.Set
	inputs [][]float32 // random where nil
}

type peerLayer struct {
	Name   string      `json:"name"`
	Kind   string      `json:"kind"`
	Op     networks.Op `json:"op"`
	Inputs []int       `json:"inputs"`
}

// ONNX Runtime runs an exported network as PyTorch runs its layers, at sizes
// of all kinds.
func TestPeers(t *testing.T) {
	var cases []*peerCase
	anySize := [][4]int{{1, 3, 1, 1}, {2, 3, 9, 6}, {1, 3, 16, 24}, {3, 3, 31, 17}}
	for name, j := range johnsons() {
		c := &peerCase{Name: name, Shapes: anySize}
		var err error
		if c.net, err = j.Build(); err != nil {
			t.Fatal(err)
		}
		if c.Multiple, c.Least, err = c.net.Multiple(); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	c := &peerCase{Name: "styles", Shapes: anySize, Mixes: [][]float32{{1, 0, 0}, {0, 0, 1}, {.2, .5, .3}, {.5, -.25, 1}}}
	c.net, _ = manyStyles(t)
	var err error
	if c.Multiple, c.Least, err = c.net.Multiple(); err != nil {
		t.Fatal(err)
	}
	cases = append(cases, c)
	for name, average := range map[string]bool{"vgg-max": false, "vgg-average": true} {
		net, err := networks.VGG19("relu2_1", networks.Torchvision, average)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, &peerCase{Name: name, Shapes: [][4]int{{1, 3, 7, 10}, {2, 3, 8, 5}}, net: net})
	}
	a := networks.AdaIN{Encoder: networks.Caffe, Layer: "relu2_1"}
	any := &peerCase{Name: "any-style", Shapes: anySize, Second: [][4]int{{1, 3, 9, 12}, {2, 3, 8, 5}, {1, 3, 33, 16}, {1, 3, 7, 7}}, Style: networks.AdaINNorm}
	if any.net, err = a.Build(); err != nil {
		t.Fatal(err)
	}
	if any.Multiple, any.Least, err = any.net.Multiple(); err != nil {
		t.Fatal(err)
	}
	decoder := &peerCase{Name: "decoder", Shapes: [][4]int{{1, 128, 4, 5}, {2, 128, 3, 2}}}
	if decoder.net, err = a.DecoderNetwork(); err != nil {
		t.Fatal(err)
	}
	cases = append(cases, any, decoder)
	cases = append(cases, &peerCase{Name: "operators", Shapes: [][4]int{{1, 4, 9, 12}, {2, 4, 7, 5}}, net: operators()})
	cases = append(cases, &peerCase{Name: "paddings", Shapes: [][4]int{{1, 2, 5, 6}, {2, 2, 8, 7}}, net: paddings()})
	for _, c := range cases {
		c.set = randomWeights(t, c.net)
	}
	comparePeers(t, cases)
}

// The network of the PyTorch example, from the file that torch.save wrote to
// the picture, on a photo whose sides are odd.
func TestPeersTransformerNet(t *testing.T) {
	path := testassets.Path(t, "models/pytorch-starry.pth")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c := &peerCase{Name: "starry", Pth: path}
	if c.set, _, err = pth.Decode(f, info.Size()); err != nil {
		t.Fatal(err)
	}
	j := networks.Johnson{Architecture: networks.JohnsonArchitecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	if c.net, err = j.Build(); err != nil {
		t.Fatal(err)
	}
	if c.Multiple, c.Least, err = c.net.Multiple(); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]int{{61, 87}, {5, 2}} {
		c.inputs = append(c.inputs, photo(t, s[0], s[1]))
		c.Shapes = append(c.Shapes, [4]int{1, 3, s[0], s[1]})
	}
	comparePeers(t, []*peerCase{c})
}

// photo reads the top left h×w pixels of an asset, as N, C, H, W.
func photo(t *testing.T, h, w int) []float32 {
	t.Helper()
	f, err := os.Open(testassets.Path(t, "photos/0000.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, 3*h*w)
	for y := range h {
		for x := range w {
			r, g, b, _ := img.At(x, y).RGBA()
			for c, v := range [3]uint32{r, g, b} {
				values[(c*h+y)*w+x] = float32(v >> 8)
			}
		}
	}
	return values
}

// johnsons are small networks that together use every option.
func johnsons() map[string]networks.Johnson {
	return map[string]networks.Johnson{
		"reflect": {Architecture: "c9s1-4,d6,d8,R8,u6,u4,c9s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"},
		"start": {Architecture: "c5s1-4,d6,R6,R6,u4,c5s1-3", Padding: "reflect-start", Norm: "instance", Upsample: "transposed",
			Output: "tanh", OutputScale: 150, OutputOffset: 127.5},
		"zero":    {Architecture: "c3s1-4,c3s4-6,R6,U2,c1s1-5,U2,c3s1-3", Padding: "zero", Norm: "batch", Upsample: "nearest", Output: "linear"},
		"stride1": {Architecture: "c3s1-4,c3s1-3", Padding: "reflect", Norm: "batch", Upsample: "nearest", Output: "linear"},
	}
}

// paddings is a network of what no builder in package networks makes.
func paddings() *networks.Network {
	in := func(i int) []int { return []int{i} }
	return &networks.Network{Channels: 2, Layers: []networks.Layer{
		{Name: "edge", Op: networks.Pad{Mode: networks.PadEdge, Padding: networks.Padding{Top: 1, Bottom: 2, Left: 3, Right: 4}}, Inputs: in(networks.Input)},
		{Name: "reflect", Op: networks.Pad{Mode: networks.PadReflect, Padding: networks.Padding{Top: 4, Bottom: 3, Left: 2, Right: 1}}, Inputs: in(0)},
		{Name: "zero", Op: networks.Pad{Mode: networks.PadZero, Padding: networks.Padding{Top: 2, Bottom: 1, Left: 1, Right: 3}}, Inputs: in(1)},
		{Name: "crop", Op: networks.Pad{Mode: networks.PadZero, Padding: networks.Padding{Top: -1, Bottom: -2, Left: -4, Right: -3}}, Inputs: in(2)},
		{Name: "mixed", Op: networks.Pad{Mode: networks.PadZero, Padding: networks.Padding{Top: 2, Bottom: -3, Left: -1, Right: 5}}, Inputs: in(3)},
		{Name: "conv", Op: networks.Conv{In: 2, Out: 3, Kernel: 3, Stride: 2, Pad: networks.Padding{Top: 0, Bottom: 1, Left: 2, Right: 0}, NoBias: true}, Inputs: in(4)},
		{Name: "up", Op: networks.Upsample{Factor: 3}, Inputs: in(5)},
		{Name: "transposed", Op: networks.ConvTranspose{In: 3, Out: 4, Kernel: 4, Stride: 2, Pad: 1, NoBias: true}, Inputs: in(6)},
		{Name: "sum", Op: networks.Add{}, Inputs: []int{7, 7}},
	}}
}

// operators is a network of what others have trained.
func operators() *networks.Network {
	net := &networks.Network{Channels: 4}
	add := func(name string, op networks.Op, inputs ...int) int {
		net.Layers = append(net.Layers, networks.Layer{Name: name, Op: op, Inputs: inputs})
		return len(net.Layers) - 1
	}
	point := func(f networks.Function, a, b float32) networks.Op {
		return networks.Pointwise{Function: f, A: a, B: b}
	}
	x := add("scale", networks.Affine{Scale: []float32{.01, -.02, .03, .01}, Shift: []float32{-1, 2, -3, .5}}, networks.Input)
	x = add("conv", networks.Conv{In: 4, Out: 8, Kernel: 3, Stride: 1, Pad: networks.Same(1)}, x)
	x = add("group", networks.GroupNorm{Channels: 8, Groups: 2, Eps: 1e-5}, x)
	leaky := add("leaky", point(networks.LeakyReLU, .2, 0), x)
	prelu := add("prelu", networks.Pointwise{Function: networks.PReLU, Channels: 8}, x)
	sigmoid := add("sigmoid", point(networks.Sigmoid, 0, 0), x)
	clip := add("clip", point(networks.Clip, -.5, .75), x)
	low := add("low", point(networks.Clip, -.25, math.MaxFloat32), x)
	all := add("all", networks.Concat{}, leaky, prelu, sigmoid, clip, low)
	shuffle := add("shuffle", networks.DepthToSpace{Block: 2, CRD: true}, add("some", networks.Channels{From: 3, To: 35}, all))
	other := add("other", networks.DepthToSpace{Block: 2}, add("more", networks.Channels{From: 0, To: 32}, all))
	x = add("sum", point(networks.Plus, 0, 0), shuffle, other)
	gate := add("gate", networks.Channels{From: 0, To: 1}, x)
	mean := add("mean", networks.WindowPool{Average: true, Global: true}, x)
	most := add("most", networks.WindowPool{Global: true}, x)
	x = add("gated", point(networks.Times, 0, 0), x, gate)
	x = add("centred", point(networks.Minus, 0, 0), x, mean)
	x = add("divided", point(networks.Over, 0, 0), x, most)
	var scaled []int
	for i, r := range []networks.Resize{
		{Scale: 1.5, Linear: true, Coordinates: "half_pixel"},
		{Scale: 1.5, Linear: true, Coordinates: "align_corners"},
		{Scale: 1.5, Linear: true, Coordinates: "asymmetric"},
		{Scale: 1.5, Linear: true, Coordinates: "pytorch_half_pixel"},
		{Scale: 1.5, Coordinates: "half_pixel", Rounding: "round_prefer_floor"},
		{Scale: 1.5, Coordinates: "asymmetric", Rounding: "ceil"},
		{Scale: 1.5, Coordinates: "asymmetric", Rounding: "floor"},
		{Scale: 1.5, Coordinates: "half_pixel", Rounding: "round_prefer_ceil"},
	} {
		scaled = append(scaled, add(fmt.Sprintf("resize%d", i), r, x))
	}
	x = add("scaled", networks.Concat{}, scaled...)
	add("pools", networks.Concat{},
		add("max", networks.WindowPool{Kernel: 3, Stride: 2, Pad: networks.Padding{Top: 1, Left: 1}}, x),
		add("average", networks.WindowPool{Average: true, Kernel: 3, Stride: 2, Pad: networks.Padding{Top: 1, Left: 1}}, x),
		add("counted", networks.WindowPool{Average: true, CountPad: true, Kernel: 3, Stride: 2, Pad: networks.Padding{Top: 1, Left: 1}}, x))
	return net
}

// randomWeights draws values that no default hides: norms that scale, shift
// and carry statistics, variances that are positive.
func randomWeights(t testing.TB, net *networks.Network) *weights.Set {
	t.Helper()
	set, err := net.Init(7)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, tensor := range set.Tensors() {
		if len(tensor.Shape) == 1 {
			for i := range tensor.Data {
				tensor.Data[i] = .5 + rnd.Float32()
			}
		}
	}
	return set
}

// comparePeers exports each case, runs it with ONNX Runtime and with PyTorch,
// and compares within 1e-5 of the largest value, plus 1e-4.
func comparePeers(t *testing.T, cases []*peerCase) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Python")
	}
	dir := writeCases(t, cases)
	for _, c := range cases {
		create(t, filepath.Join(dir, c.Name+".safetensors"), func(f *os.File) error { return safetensors.Encode(f, c.set, nil, safetensors.F32) })
	}
	onnxShapes := shapesBy(t, "onnx and onnxruntime", "testdata/run_onnx.py", dir)
	torchShapes := shapesBy(t, "torch", "testdata/run_torch.py", dir)
	for _, c := range cases {
		for i, shape := range c.Shapes {
			got, want := onnxShapes[c.Name][i], torchShapes[c.Name][i]
			if !slices.Equal(got, want) || c.Multiple > 0 && !slices.Equal(got, shape[:]) {
				t.Errorf("%s: an input of %v gives %v in ONNX Runtime and %v in PyTorch", c.Name, shape, got, want)
				continue
			}
			base := filepath.Join(dir, fmt.Sprintf("%s.%d", c.Name, i))
			a, b := read(t, base+".onnx", weights.Elements(got)), read(t, base+".torch", weights.Elements(got))
			difference, least, most := 0., math.Inf(1), math.Inf(-1)
			for k := range b {
				difference = max(difference, math.Abs(float64(a[k]-b[k]))) // NaN stays NaN
				least, most = min(least, float64(b[k])), max(most, float64(b[k]))
			}
			if limit := 1e-4 + 1e-5*max(most, -least); !(difference <= limit) {
				t.Errorf("%s: an input of %v gives values up to %g apart, more than %g", c.Name, shape, difference, limit)
			}
			t.Logf("%s %v: %g apart, values %.3g to %.3g", c.Name, shape, difference, least, most)
		}
	}
}

// writeCases exports the cases into a folder, with their inputs.
func writeCases(t *testing.T, cases []*peerCase) string {
	t.Helper()
	dir := t.TempDir()
	for _, c := range cases {
		for _, l := range c.net.Layers {
			kind := strings.TrimPrefix(fmt.Sprintf("%T", l.Op), "networks.")
			c.Layers = append(c.Layers, peerLayer{l.Name, kind, l.Op, l.Inputs})
		}
		base := filepath.Join(dir, c.Name)
		c.o.Multiple, c.o.Least, c.o.Style = c.Multiple, c.Least, c.Style
		for i, shape := range c.Second {
			create(t, fmt.Sprintf("%s.%d.style", base, i), func(f *os.File) error { return binary.Write(f, binary.LittleEndian, noise(shape)) })
		}
		create(t, base+".onnx", func(f *os.File) error { return Encode(f, c.net, c.set, c.o) })
		for i, shape := range c.Shapes {
			values := noise(shape)
			if c.inputs != nil {
				values = c.inputs[i]
			}
			create(t, fmt.Sprintf("%s.%d.in", base, i), func(f *os.File) error { return binary.Write(f, binary.LittleEndian, values) })
		}
	}
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cases.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}

	return dir
}

func create(t *testing.T, path string, write func(*os.File) error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string, n int) []float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != 4*n {
		t.Fatalf("%s has %d bytes, not %d", path, len(raw), 4*n)
	}
	values := make([]float32, n)
	if _, err := binary.Decode(raw, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return values
}

// shapesBy runs a script that prints the shapes of what it made.
func shapesBy(t *testing.T, modules, script, dir string) (shapes map[string][][]int) {
	t.Helper()
	out := python(t, modules, script, dir)
	if err := json.Unmarshal(out, &shapes); err != nil {
		t.Fatalf("%s printed %q: %v", script, out, err)
	}
	return shapes
}

// python runs a script with the first Python that has its modules, and skips
// the test where none has. It returns what the script printed.
func python(t *testing.T, modules, script string, args ...string) []byte {
	t.Helper()
	for _, p := range []string{os.Getenv("STYLENET_PEERS_PYTHON"), "python3", "/usr/bin/python3"} {
		cmd := exec.Command(p, append([]string{script}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() != 3 {
			t.Fatalf("%s %s: %v\n%s", p, script, err, stderr.String())
		}
		if err != nil {
			continue
		}
		return out
	}
	t.Skipf("needs a Python with numpy, %s: set STYLENET_PEERS_PYTHON to its path", modules)
	return nil
}
