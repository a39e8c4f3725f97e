package networks

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"stylenet/internal/weights"
)

// everyOp is a network of every kind of layer.
func everyOp() *Network {
	b := newBuilder(3)
	b.add("pad", Pad{PadReflect, Padding{1, 2, 3, 4}})
	b.add("crop", Pad{PadZero, Padding{-1, -2, -3, -4}})
	b.add("affine", Affine{[]float32{1, .1, 3}, []float32{0, -1, 2.5}})
	b.add("conv", Conv{In: 3, Out: 8, Kernel: 3, Stride: 2, Pad: Padding{0, 1, 0, 1}, NoBias: true})
	b.add("norm", Norm{Channels: 8, Eps: 1e-3})
	b.add("relu", ReLU{})
	b.add("batch", Norm{Channels: 8, Eps: 1e-5, Batch: true})
	b.add("groups", GroupNorm{8, 2, 1e-5})
	b.add("styles", StyleNorm{8, 1e-5, []string{"a", "Der-Schrei_2"}})
	b.add("prelu", Pointwise{Function: PReLU, Channels: 8})
	b.add("leaky", Pointwise{Function: LeakyReLU, A: .2})
	trunk := b.add("clip", Pointwise{Function: Clip, A: 0, B: 6})
	b.add("mean", WindowPool{Average: true, Global: true})
	b.add("gate", Pointwise{Function: Sigmoid})
	gate := b.last
	b.last = trunk
	b.add("times", Pointwise{Function: Times}, gate)
	b.add("max", WindowPool{Kernel: 3, Stride: 1, Pad: Same(1)})
	b.add("wide", WindowPool{Kernel: 1, Width: 3, Stride: 1, Pad: Padding{Left: 1, Right: 1}})
	b.add("concat", Concat{}, trunk)
	b.add("channels", Channels{2, 14})
	b.add("shuffle", DepthToSpace{2, true})
	b.add("transposed", ConvTranspose{In: 3, Out: 4, Kernel: 3, Stride: 2, Pad: 1, OutputPad: 1})
	b.add("pool", Pool{})
	b.add("up", Upsample{2})
	b.add("resize", Resize{Scale: .5, Linear: true, Coordinates: "half_pixel"})
	b.add("again", Add{}, b.last)
	b.add("last", Conv{In: 4, Out: 3, Kernel: 1, Stride: 1})
	b.add("tanh", Tanh{150, 127.5})
	return b.net
}

func TestNetworkAsJSON(t *testing.T) {
	want := everyOp()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseDesign(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, Design(want)) {
		t.Errorf("%s became %+v", text, got)
	}
	if m, least, err := want.Multiple(); err != nil || m != 2 || least != 6 {
		t.Errorf("multiple %d, least %d, %v", m, least, err)
	}
	used := map[string]bool{}
	for _, l := range want.Layers {
		used[reflect.TypeOf(l.Op).Name()] = true
	}
	for kind, op := range ops() {
		if !used[reflect.TypeOf(op).Name()] {
			t.Errorf("no layer of kind %s is tested", kind)
		}
	}
}

func TestParseDesignErrors(t *testing.T) {
	layer := func(s string) string { return `{"channels":3,"layers":[` + s + `]}` }
	for text, want := range map[string]string{
		`[`:                  "unexpected end",
		`{"architecture":1}`: "cannot unmarshal number",
		`{"depth":1}`:        `unknown field "depth"`,
		layer(``):            "the network has no layers",
		`{"channels":0,"layers":[{"name":"a","kind":"relu","inputs":[-1]}]}`:                                   "takes 0 channels",
		layer(`{"name":"a","kind":"softmax","inputs":[-1]}`):                                                   `layer "a": unknown kind "softmax"`,
		layer(`{"name":"a","kind":"relu","inputs":[]}`):                                                        "layer a has no input",
		layer(`{"name":"a","kind":"relu","inputs":[0]}`):                                                       "layer a reads layer 0, which is not before it",
		layer(`{"name":"a","kind":"relu","inputs":[-2]}`):                                                      "reads layer -2",
		layer(`{"name":"","kind":"relu","inputs":[-1]}`):                                                       "layer 0 has no name of its own",
		layer(`{"name":"a","kind":"relu","inputs":[-1]},{"name":"a","kind":"relu","inputs":[-1]}`):             `layer 1 has no name of its own: "a"`,
		layer(`{"name":"a","kind":"conv","inputs":[-1],"op":{"in":3,"out":3,"kernel":3}}`):                     "layer a: settings",
		layer(`{"name":"a","kind":"conv","inputs":[-1],"op":{"groups":3}}`):                                    `layer "a": json: unknown field "groups"`,
		layer(`{"name":"a","kind":"upsample","inputs":[-1],"op":{"factor":1000000}}`):                          "out of range",
		layer(`{"name":"a","kind":"pad","inputs":[-1],"op":{"mode":"reflect","padding":{"top":-1}}}`):          "out of range",
		layer(`{"name":"a","kind":"resize","inputs":[-1],"op":{"scale":2,"coordinates":"tf"}}`):                "out of range",
		layer(`{"name":"a","kind":"pointwise","inputs":[-1],"op":{"function":"exec"}}`):                        `unknown function "exec"`,
		layer(`{"name":"a","kind":"style_norm","inputs":[-1],"op":{"channels":3,"eps":0,"styles":["x","x"]}}`): `layer a: styles: two are called "x"`,
		layer(`{"name":"a","kind":"style_norm","inputs":[-1],"op":{"channels":0,"eps":0,"styles":["x"]}}`):     "out of range",
		layer(`{"name":"a","kind":"style_norm","inputs":[-1],"op":{"channels":3,"eps":0,"styles":["x"]}},` +
			`{"name":"b","kind":"style_norm","inputs":[0],"op":{"channels":3,"eps":0,"styles":["y"]}}`): `layer b has the styles ["y"], another layer ["x"]`,
		`{"styles":[]}`:               "styles: there is none",
		`{"styles":["a b"]}`:          `the name "a b" is not 1 to 64 letters, digits, - and _`,
		`{"styles":["a"],"layer":[]}`: `unknown field "layer"`,
		layer(`{"name":"a","kind":"group_norm","inputs":[-1],"op":{"channels":3,"groups":2,"eps":0}}`): "out of range",
	} {
		if d, err := ParseDesign([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", text, d, err, want)
		}
	}
}

// Maps that grow without end are refused before anybody multiplies their sides.
func TestHugeMaps(t *testing.T) {
	b := newBuilder(3)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"} {
		b.add(name, Upsample{64})
	}
	if _, err := b.net.Sizes(64, 64); err == nil || !strings.Contains(err.Error(), "layer d: an input of 64×64 pixels becomes a map of 1073741824×1073741824") {
		t.Errorf("%v", err)
	}
}

func TestShape(t *testing.T) {
	conv := Conv{In: 3, Out: 8, Kernel: 3, Stride: 2, Pad: Same(1)}
	if s, err := Shape(conv, Size{3, 9, 6}); err != nil || s != (Size{8, 5, 3}) {
		t.Errorf("%v, %v", s, err)
	}
	for _, test := range []struct {
		op   Op
		in   []Size
		want string
	}{
		{conv, nil, "no input"},
		{conv, []Size{{4, 9, 6}}, "4 channels, not 3"},
		{Conv{In: 3, Out: 8, Kernel: 3}, []Size{{3, 9, 6}}, "out of range"},
		{Pad{PadZero, Same(-5)}, []Size{{3, 9, 20}}, "a map of 20×9 is too small"},
		{Upsample{64}, []Size{{3, 9, 1 << 23}}, "a map of 8388608×9 becomes one of 536870912×576"},
	} {
		if s, err := Shape(test.op, test.in...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v of %v: %v, %v; want %q", test.op, test.in, s, err, test.want)
		}
	}
}

func TestResizeTaps(t *testing.T) {
	for name, test := range map[string]struct {
		op            Resize
		n             int
		first, second []int
		weight        []float32
	}{
		"nearest":       {Resize{Scale: 2, Coordinates: "asymmetric", Rounding: "floor"}, 2, []int{0, 0, 1, 1}, []int{0, 0, 1, 1}, []float32{0, 0, 0, 0}},
		"half pixel":    {Resize{Scale: 2, Linear: true, Coordinates: "half_pixel"}, 2, []int{0, 0, 0, 1}, []int{1, 1, 1, 1}, []float32{0, .25, .75, 0}},
		"align corners": {Resize{Scale: 2, Linear: true, Coordinates: "align_corners"}, 2, []int{0, 0, 0, 1}, []int{1, 1, 1, 1}, []float32{0, 1. / 3, 2. / 3, 0}},
		"half":          {Resize{Scale: .5, Linear: true, Coordinates: "half_pixel"}, 5, []int{0, 2}, []int{1, 3}, []float32{.5, .5}},
		"one pixel":     {Resize{Scale: 1, Linear: true, Coordinates: "pytorch_half_pixel"}, 1, []int{0}, []int{0}, []float32{0}},
		"ceil":          {Resize{Scale: 2, Coordinates: "half_pixel", Rounding: "round_prefer_ceil"}, 2, []int{0, 0, 1, 1}, []int{0, 0, 1, 1}, []float32{0, 0, 0, 0}},
	} {
		first, second, weight := test.op.Taps(test.n)
		if !reflect.DeepEqual(first, test.first) || !reflect.DeepEqual(second, test.second) || !reflect.DeepEqual(weight, test.weight) {
			t.Errorf("%s: %v, %v, %v", name, first, second, weight)
		}
	}
}

// A description from a hostile file is refused, or makes a network whose sizes
// can be computed, soon and without a panic.
func FuzzParseDesign(f *testing.F) {
	j := Johnson{Architecture: "c9s1-4,d6,R6,u4,U2,c9s2-3,c3s1-3", Padding: "reflect-start", Norm: "batch", Upsample: "transposed", Output: "tanh", OutputScale: 150}
	for _, d := range []Design{j, everyOp(), MultiStyle{j, []string{"a", "b"}}} {
		text, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ParseDesign(text)
		if err != nil {
			return
		}
		net, err := d.Build()
		if err != nil {
			return
		}
		if d.String() == "" {
			t.Error("a network without a description")
		}
		if _, least, err := net.Multiple(); err == nil {
			if _, err := net.Sizes(least, least); err != nil {
				t.Errorf("%d is too small: %v", least, err)
			}
		}
		for _, p := range net.Params() {
			if weights.Elements(p.Shape) < 0 {
				t.Errorf("%s has the shape %v", p.Name, p.Shape)
			}
		}
	})
}
