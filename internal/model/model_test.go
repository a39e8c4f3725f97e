package model

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/formats"
	"stylenet/internal/formats/onnx"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

func example(architecture string) networks.Johnson {
	return networks.Johnson{Architecture: architecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
}

func initialised(t *testing.T, j networks.Johnson) *Model {
	t.Helper()
	net, err := j.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(5)
	if err != nil {
		t.Fatal(err)
	}
	return &Model{Network: j, Weights: set}
}

// writeSet writes tensors as a .safetensors file with that metadata.
func writeSet(t *testing.T, set *weights.Set, meta map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Encode(&b, set, meta, safetensors.F32); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file.safetensors")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSaveOpen(t *testing.T) {
	j := networks.Johnson{Architecture: "c9s1-4,d6,R6,u4,c9s1-3", Padding: "reflect-start", Norm: "batch", Upsample: "transposed",
		Output: "tanh", OutputScale: 150, OutputOffset: 127.5}
	m := initialised(t, j)
	m.Recipe, m.VGG, m.Version = `{"steps": 3, "name": "é"}`, "random (seed 1)", "0.1.0"
	m.StyleName, m.StyleLicence = "Starry Night", "public domain"
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := Save(path, m); err != nil {
		t.Fatal(err)
	}
	got, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("%+v became %+v", m, got)
	}

	file, err := formats.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"format": "pt", "stylenet.recipe": m.Recipe, "stylenet.vgg": m.VGG, "stylenet.version": "0.1.0",
		"stylenet.style_name": "Starry Night", "stylenet.style_licence": "public domain",
		"stylenet.network": `{"architecture":"c9s1-4,d6,R6,u4,c9s1-3","padding":"reflect-start","norm":"batch","upsample":"transposed","output":"tanh","output_scale":150,"output_offset":127.5}`,
	}
	if !reflect.DeepEqual(file.Metadata, want) {
		t.Errorf("metadata %v, want %v", file.Metadata, want)
	}

	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := Write(&again, got); err != nil || !bytes.Equal(first, again.Bytes()) {
		t.Errorf("the model written again differs (%v)", err)
	}
}

// Architectures come back from the names and shapes of tensors alone.
func TestInfer(t *testing.T) {
	transposed := example("c5s1-4,d8,d16,R16,u8,u4,c7s1-3")
	transposed.Upsample = "transposed"
	batch := example("c3s1-4,d5,u4,c3s1-3")
	batch.Norm = "batch"
	for _, j := range []networks.Johnson{
		example(networks.JohnsonArchitecture),
		example("c9s1-8,d16,d32,R32,R32,u16,u8,c9s1-3"),
		example("c3s1-4,c5s2-6,u4,c1s1-3"),
		example("c3s1-4,d4,u4,c3s1-3"), // equal channels: taken to be nearest
		transposed,
		batch,
	} {
		m := initialised(t, j)
		set := m.Weights.Clone()
		for _, extra := range []string{"in1.running_mean", "in1.running_var", "bn1.num_batches_tracked"} {
			if err := set.Add(extra, []int{1}, []float32{float32(math.NaN())}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Open(writeSet(t, set, nil))
		if err != nil {
			t.Errorf("%s: %v", j.Architecture, err)
		} else if !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v", m.Network, got.Network)
		}
	}
}

// The parameters come in the order of the layers, whatever the file's.
func TestOrder(t *testing.T) {
	m := initialised(t, example("c3s1-4,d6,R6,u4,c3s1-3"))
	shuffled := &weights.Set{}
	for _, tensor := range slices.Backward(m.Weights.Tensors()) {
		if err := shuffled.Add(tensor.Name, tensor.Shape, tensor.Data); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Open(writeSet(t, shuffled, nil))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Error("the tensors are not in the order of the layers")
	}
}

func TestOpenPyTorch(t *testing.T) {
	m, err := Open(testassets.Path(t, "models/pytorch-starry.pth"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Network != example(networks.JohnsonArchitecture) || m.Weights.Len() != 62 || m.Weights.Elements() != 1679235 {
		t.Errorf("%+v with %d tensors of %d values", m.Network, m.Weights.Len(), m.Weights.Elements())
	}
	if m.Recipe != "" || m.VGG != "" || m.Version != "" {
		t.Errorf("a .pth file says %q, %q, %q", m.Recipe, m.VGG, m.Version)
	}
}

func TestOpenErrors(t *testing.T) {
	j := example("c3s1-4,d6,R6,u4,c3s1-3")
	described, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	network := func(s string) map[string]string {
		return map[string]string{"stylenet.network": s, "stylenet.version": "9.9"}
	}
	for name, test := range map[string]struct {
		edit func(*weights.Set) *weights.Set
		meta map[string]string
		want string
	}{
		"vgg": {
			func(*weights.Set) *weights.Set { return set(t, "features.0.weight", []int{64, 3, 3, 3}) }, nil,
			"it holds VGG features, which train a style network but are none: give it as vgg.weights instead",
		},
		"something": {
			func(*weights.Set) *weights.Set { return set(t, "decoder.1.bias", []int{4}) }, nil,
			`its tensors are not those of PyTorch's example or gordicaleksa's variant (the first of 1 is "decoder.1.bias")`,
		},
		"no tensors":   {func(*weights.Set) *weights.Set { return &weights.Set{} }, nil, "variant (none)"},
		"half a model": {without("deconv2.conv2d.weight", "deconv2.conv2d.bias"), nil, "do not make one: architecture: "},
		"no bias":      {without("res1.in2.bias"), nil, `tensor "res1.in2.bias" is missing: the architecture wants it with shape [6]`},
		"other shape": {
			func(s *weights.Set) *weights.Set { return s }, network(strings.Replace(string(described), "c3s1-4,", "c3s1-5,", 1)),
			`tensor "conv1.conv2d.weight" has shape [4 3 3 3], but the architecture wants [5 3 3 3]`,
		},
		"extra tensor": {
			func(s *weights.Set) *weights.Set {
				if err := s.Add("mask", []int{1}, []float32{1}); err != nil {
					t.Fatal(err)
				}
				return s
			}, network(string(described)), `tensor "mask" does not belong to the architecture`,
		},
		"newer": {
			func(s *weights.Set) *weights.Set { return s }, network(`{"attention":true}`),
			`metadata stylenet.network: json: unknown field "attention" (the file was written by stylenet "9.9")`,
		},
		"empty network": {func(s *weights.Set) *weights.Set { return s }, network(`{}`), `architecture: "" (layer 1)`},
		"not finite": {
			func(s *weights.Set) *weights.Set { s.Get("in2.bias").Data[3] = float32(math.NaN()); return s }, nil,
			`tensor "in2.bias" holds NaN (element 3): the training diverged`,
		},
	} {
		path := writeSet(t, test.edit(initialised(t, j).Weights), test.meta)
		m, err := Open(path)
		if err == nil || m != nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
}

func set(t *testing.T, name string, shape []int) *weights.Set {
	t.Helper()
	s := &weights.Set{}
	if err := s.Add(name, shape, make([]float32, weights.Elements(shape))); err != nil {
		t.Fatal(err)
	}
	return s
}

func without(names ...string) func(*weights.Set) *weights.Set {
	return func(s *weights.Set) *weights.Set {
		rest := &weights.Set{}
		for _, tensor := range s.Tensors() {
			if !slices.Contains(names, tensor.Name) {
				// Cannot fail: s accepted it.
				_ = rest.Add(tensor.Name, tensor.Shape, tensor.Data)
			}
		}
		return rest
	}
}

// A model that is broken is not written over one that works.
func TestSaveRefusesBrokenModels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	good := initialised(t, example("c3s1-4,c3s1-3"))
	if err := Save(path, good); err != nil {
		t.Fatal(err)
	}
	diverged := &Model{Network: good.Network, Weights: good.Weights.Clone()}
	diverged.Weights.Get("in1.bias").Data[0] = float32(math.Inf(1))
	extra := &Model{Network: good.Network, Weights: good.Weights.Clone()}
	if err := extra.Weights.Add("more", []int{1}, []float32{0}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    *Model
		want string
	}{
		{diverged, `tensor "in1.bias" holds +Inf (element 0)`},
		{extra, `tensor "more" does not belong to the architecture`},
		{&Model{Network: good.Network}, "the model has no weights"},
		{&Model{Network: example("x"), Weights: good.Weights}, `architecture: "x" (layer 1)`},
	} {
		err := Save(path, c.m)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if got, err := Open(path); err != nil || !reflect.DeepEqual(got, good) {
		t.Errorf("the file that was there is %+v, %v", got, err)
	}
}

// A model that was written as ONNX comes back as it was; where the metadata
// describe another network than the file holds, the file's is taken.
func TestOpenONNX(t *testing.T) {
	m := initialised(t, networks.Johnson{Architecture: "c9s1-4,d6,R6,u4,c9s1-3", Padding: "reflect-start", Norm: "instance", Upsample: "transposed",
		Output: "tanh", OutputScale: 150, OutputOffset: 127.5})
	m.Recipe, m.VGG, m.Version = `{"steps":3}`, "random (seed 1)", "0.1.0"
	net, err := m.Network.Build()
	if err != nil {
		t.Fatal(err)
	}
	meta := onnx.Options{Version: m.Version}
	if meta.Multiple, meta.Least, err = net.Multiple(); err != nil {
		t.Fatal(err)
	}
	if meta.Properties, err = m.Metadata(); err != nil {
		t.Fatal(err)
	}
	open := func() *Model {
		path := filepath.Join(t.TempDir(), "m.onnx")
		var raw bytes.Buffer
		if err := onnx.Encode(&raw, net, m.Weights, meta); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, raw.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := open(); !reflect.DeepEqual(got, m) {
		t.Errorf("%+v became %+v", m, got)
	}
	for _, described := range []string{`{"architecture":"c9s1-3","padding":"zero","norm":"instance","upsample":"nearest","output":"linear"}`, "{", ""} {
		meta.Properties["stylenet.network"] = described
		want := *m
		want.Network = net
		if got := open(); !reflect.DeepEqual(got, &want) {
			t.Errorf("described as %q: %+v", described, got)
		}
	}
}

// The published conversions of jcjohnson's models are of his architecture.
func TestOpenPublishedONNX(t *testing.T) {
	for _, name := range []string{"candy", "mosaic"} {
		o, err := Read(testassets.Path(t, "models/"+name+".onnx"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.Convention.String() != "bgr-255" {
			t.Errorf("%s takes and gives %s because %q", name, o.Convention, o.Why)
		}
		m := o.Model
		net, err := m.Network.Build()
		if err != nil {
			t.Fatal(err)
		}
		multiple, least, err := net.Multiple()
		if err != nil || multiple != 4 || least != 44 || len(net.Layers) != 63 || m.Weights.Elements() != 424899 {
			t.Errorf("%s: %d layers, %d weights, multiple %d, least %d, %v", name, len(net.Layers), m.Weights.Elements(), multiple, least, err)
		}
	}
}
