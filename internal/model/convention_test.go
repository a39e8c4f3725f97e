package model

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stylenet/internal/formats/onnx"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

func TestParseConvention(t *testing.T) {
	for _, text := range []string{"rgb-255", "bgr-255", "rgb-1", "rgb-signed", "torchvision", "caffe", "caffe-bgr", "torchvision:rgb-1",
		"caffe-bgr+tanh", "torchvision:rgb-signed+tanh"} {
		if c, err := ParseConvention(text); err != nil || c.String() != text {
			t.Errorf("%s: %s, %v", text, c, err)
		}
	}
	for text, want := range map[string]string{
		"":                 `convention "": "" is none of rgb-255, bgr-255, rgb-1, rgb-signed, torchvision, caffe, caffe-bgr`,
		"rgb":              `"rgb" is none of`,
		"rgb-1:":           `"" is none of`,
		"rgb-1+tanh:rgb-1": `"rgb-1+tanh" is none of`,
		"torchvision+tanh": "no network's tanh gives torchvision",
	} {
		if _, err := ParseConvention(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// outer is what a network of one convention makes of a picture of RGB 0-255.
func outer(t *testing.T, c Convention, m *Model, picture []float32) []float32 {
	t.Helper()
	const plane = goldenH * goldenW
	order := func(a networks.Convention) [3]int {
		if a.BGR() {
			return [3]int{2, 1, 0}
		}
		return [3]int{0, 1, 2}
	}
	in, _ := c.In.Affine()
	inside := make([]float32, 3*plane)
	for ch, from := range order(c.In) {
		for i := range plane {
			inside[ch*plane+i] = picture[from*plane+i]*in.Scale[from] + in.Shift[from]
		}
	}
	if c.Tanh {
		head, _ := c.head()
		net, err := m.Network.Build()
		if err != nil {
			t.Fatal(err)
		}
		longer := &networks.Network{Channels: 3, Layers: append(net.Layers[:len(net.Layers):len(net.Layers)],
			networks.Layer{Name: "head", Op: head, Inputs: []int{len(net.Layers) - 1}})}
		m = &Model{Network: longer, Weights: m.Weights}
	}
	got := run(t, m, inside, goldenH, goldenW)
	out, _ := c.Out.Affine()
	result := make([]float32, 3*plane)
	for ch, to := range order(c.Out) {
		for i := range plane {
			result[to*plane+i] = (got[ch*plane+i] - out.Shift[to]) / out.Scale[to]
		}
	}
	return result
}

// Whatever a network takes and gives, the model takes and gives RGB 0-255, with
// what lies between in its weights or as layers.
func TestApply(t *testing.T) {
	for _, test := range []struct {
		convention string
		padding    string
		folded     bool
	}{
		{"bgr-255", "reflect", true}, {"rgb-1", "reflect", true}, {"rgb-signed", "reflect-start", false}, {"torchvision", "reflect", true},
		{"caffe", "reflect", true}, {"caffe-bgr", "reflect", true}, {"torchvision:rgb-1", "reflect", true},
		{"rgb-1:rgb-signed+tanh", "reflect", true}, {"rgb-255+tanh", "reflect", true},
		{"caffe-bgr+tanh", "reflect", false}, {"torchvision", "zero", false}, {"bgr-255", "zero", false}, {"caffe-bgr+tanh", "reflect-start", false},
	} {
		c, err := ParseConvention(test.convention)
		if err != nil {
			t.Fatal(err)
		}
		j := example("c3s1-4,d6,R6,u4,c3s1-3")
		j.Padding = test.padding
		m := initialised(t, j)
		want := outer(t, c, m, goldenPicture())
		if err := c.apply(m); err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		if _, folded := m.Network.(networks.Johnson); folded != test.folded {
			t.Errorf("%+v: the network became a %T", test, m.Network)
		}
		if worst := apart(t, run(t, m, goldenPicture(), goldenH, goldenW), want); !(worst < 2e-2) {
			t.Errorf("%+v: %g apart", test, worst)
		}
	}
}

// The network is recognised by what the file says, and by how it begins and ends.
func TestRecognise(t *testing.T) {
	conv := networks.Layer{Name: "c", Op: networks.Conv{In: 3, Out: 3, Kernel: 1, Stride: 1}, Inputs: []int{networks.Input}}
	behind := func(ops ...networks.Op) []networks.Layer {
		layers := []networks.Layer{conv}
		for i, op := range ops {
			layers = append(layers, networks.Layer{Name: strings.Repeat("l", i+1), Op: op, Inputs: []int{i}})
		}
		return layers
	}
	before := func(c networks.Convention, scale float32) []networks.Layer {
		a := turned(c)
		for i := range a.Scale {
			a.Scale[i] *= scale
		}
		second := conv
		second.Inputs = []int{0}
		return []networks.Layer{{Name: "a", Op: a, Inputs: []int{networks.Input}}, second}
	}
	for name, test := range map[string]struct {
		layers     []networks.Layer
		properties map[string]string
		want, why  string
	}{
		"nothing":       {behind(), nil, "rgb-255", "nothing in the file tells"},
		"bgr":           {behind(), map[string]string{"Image.BitmapPixelFormat": "Bgra8"}, "bgr-255", "Image.BitmapPixelFormat Bgra8"},
		"rgb":           {behind(), map[string]string{"Image.BitmapPixelFormat": "Rgb8"}, "rgb-255", "Image.BitmapPixelFormat Rgb8"},
		"range":         {behind(), map[string]string{"Image.NominalPixelRange": "Normalized_0_1"}, "rgb-1", "its metadata say Image.NominalPixelRange Normalized_0_1"},
		"both":          {behind(), map[string]string{"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_1_1"}, "rgb-signed", "Rgb8, its metadata"},
		"sigmoid":       {behind(networks.Pointwise{Function: networks.Sigmoid}), nil, "rgb-1", "ends with values of 0 to 1, and is taken to take the same"},
		"scaled":        {behind(networks.Pointwise{Function: networks.Sigmoid}, networks.Affine{Scale: []float32{255, 255, 255}, Shift: []float32{0, 0, 0}}), nil, "rgb-255", "ends with values of 0 to 255"},
		"tanh":          {behind(networks.Tanh{Scale: 1}), nil, "rgb-signed", "-1 to 1"},
		"tanh 0-1":      {behind(networks.Tanh{Scale: .5, Offset: .5}), nil, "rgb-1", "0 to 1"},
		"lengstrom":     {behind(networks.Tanh{Scale: 150, Offset: 127.5}), nil, "rgb-255", "-22.5 to 277.5"},
		"jcjohnson":     {behind(networks.Tanh{Scale: 150}), nil, "caffe-bgr", "before the mean is added"},
		"clip":          {behind(networks.Pointwise{Function: networks.Clip, A: 0, B: 255}), nil, "rgb-255", "0 to 255"},
		"odd":           {behind(networks.Tanh{Scale: 7}), nil, "rgb-255", "nothing in the file tells"},
		"normalises":    {before(networks.Torchvision, 1), nil, "rgb-255", "begins by turning RGB 0-255 into other values"},
		"normalises 1":  {before(networks.Torchvision, 255), nil, "rgb-1", "begins by turning RGB 0-1"},
		"bgr by mean":   {before(networks.CaffeBGR, 1), nil, "bgr-255", "mean from BGR 0-255"},
		"unit and tanh": {append(before(networks.RGB1, 1), networks.Layer{Name: "t", Op: networks.Tanh{Scale: 1}, Inputs: []int{1}}), nil, "rgb-255:rgb-signed", "begins by turning RGB 0-255"},
	} {
		net := &networks.Network{Channels: 3, Layers: test.layers}
		set, err := net.Init(1)
		if err != nil {
			t.Fatal(err)
		}
		var raw bytes.Buffer
		if err := onnx.Encode(&raw, net, set, onnx.Options{Properties: test.properties}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := os.WriteFile(path, raw.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Read(path, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if o.Kind != KindONNX || o.Convention.String() != test.want || !strings.Contains(o.Why, test.why) {
			t.Errorf("%s: %s, %s because %q", name, o.Kind, o.Convention, o.Why)
		}
	}
}

// What is asked for is believed, but not of a file that says what it is.
func TestAsked(t *testing.T) {
	c, err := ParseConvention("rgb-1")
	if err != nil {
		t.Fatal(err)
	}
	o, err := Read("testdata/example.pth", &c)
	if err != nil || o.Convention != c || o.Why != "asked for" {
		t.Errorf("%+v, %v", o, err)
	}
	m := initialised(t, example("c3s1-3"))
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := Save(path, m); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, &c); err == nil || !strings.Contains(err.Error(), "takes and gives RGB 0-255: --convention is for files that do not say") {
		t.Errorf("a native file: %v", err)
	}
}

// Two names that become one are left alone.
func TestExampleNames(t *testing.T) {
	set := &weights.Set{}
	for _, name := range []string{"up1.conv2d.conv2d.weight", "deconv1.conv2d.weight"} {
		if err := set.Add(name, []int{1}, []float32{1}); err != nil {
			t.Fatal(err)
		}
	}
	if named, kind := exampleNames(set); named != set || kind != KindVariant {
		t.Errorf("%v, %s", named, kind)
	}
}
