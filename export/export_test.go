package export_test

import (
	"bytes"
	"fmt"
	"image"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stylenet/export"
	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
)

func tiny(j networks.Johnson) *export.Model {
	net, err := j.Build()
	if err != nil {
		log.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		log.Fatal(err)
	}
	return &export.Model{Network: j, Weights: set, Recipe: `{"steps":1}`, VGG: "random (seed 1)", Version: "0.1.0"}
}

func johnson(architecture string) networks.Johnson {
	return networks.Johnson{Architecture: architecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
}

var reflectNet = johnson("c3s1-2,d4,R4,u2,c3s1-3")

func readONNX(t *testing.T, path string) *onnxpb.ModelProto {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestONNX(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	m := tiny(reflectNet)
	if err := export.ONNX(path, m); err != nil {
		t.Fatal(err)
	}
	p := readONNX(t, path)
	got := map[string]string{}
	for _, e := range p.MetadataProps {
		got[e.GetKey()] = e.GetValue()
	}
	for key, want := range map[string]string{
		"stylenet.network": `{"architecture":"c3s1-2,d4,R4,u2,c3s1-3","padding":"reflect","norm":"instance","upsample":"nearest","output":"linear"}`,
		"stylenet.recipe":  `{"steps":1}`, "stylenet.vgg": "random (seed 1)", "stylenet.version": "0.1.0",
		"Image.BitmapPixelFormat": "Rgb8", "Image.ColorSpaceGamma": "SRGB", "Image.NominalPixelRange": "NominalRange_0_255",
	} {
		if got[key] != want {
			t.Errorf("metadata %s is %q, want %q", key, got[key], want)
		}
	}
	if p.GetProducerVersion() != "0.1.0" || p.GetDocString() != "Style transfer network c3s1-2,d4,R4,u2,c3s1-3. Input and output are RGB planes from 0 to 255 of any size; clamp the output to 0 to 255." {
		t.Errorf("version %q, doc %q", p.GetProducerVersion(), p.GetDocString())
	}
	// Multiple and Least reach the graph: sides are rounded up to 2, and to 4,
	// since a 2×2 picture becomes a map of 1×1, too small to reflect.
	integers := map[string]byte{}
	for _, i := range p.Graph.Initializer {
		if strings.HasPrefix(i.GetName(), "border.") {
			integers[i.GetName()] = i.RawData[0]
		}
	}
	if integers["border.multiple"] != 2 || integers["border.least"] != 4 {
		t.Errorf("the border is %v, want multiple 2 and least 4", integers)
	}
}

func TestBrokenModelIsNotWritten(t *testing.T) {
	m := tiny(reflectNet)
	m.Network = johnson("c3s1-2,c3s1-3")
	for name, write := range map[string]func(string, *export.Model) error{
		"m.onnx": export.ONNX, "m.safetensors": export.Safetensors,
		"m.pth": func(path string, m *export.Model) error { return export.PyTorch(path, m, "") },
		"triton": func(dir string, m *export.Model) error {
			_, err := export.Triton(dir, m, export.TritonOptions{})
			return err
		},
	} {
		folder := t.TempDir()
		path := filepath.Join(folder, name)
		err := write(path, m)
		want := `tensor "conv2.conv2d.weight" has shape [4 2 3 3], but the architecture wants [3 2 3 3]`
		if err == nil || !strings.HasPrefix(err.Error(), "write "+path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%s: %v was written (%v)", name, left, err)
		}
	}
}

func TestSafetensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := tiny(reflectNet)
	if err := export.Safetensors(path, m); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := model.Write(&want, m); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the file is not what model.Write writes (%v)", err)
	}
	back, err := export.Load(path)
	if err != nil || back.Network != m.Network {
		t.Errorf("%v, %v", back, err)
	}
}

// Every file of a type of numbers is read as the same network, with weights as
// near as the type allows.
func TestDTypes(t *testing.T) {
	m := tiny(reflectNet)
	m.StyleName, m.StyleLicence = "Great Wave", "public domain"
	copy(m.Weights.Get("deconv2.conv2d.bias").Data, []float32{128, 128, 128})
	for i := range m.Weights.Get("deconv2.conv2d.weight").Data {
		m.Weights.Get("deconv2.conv2d.weight").Data[i] *= 60 // the picture has contrast
	}
	photos := func(yield func(image.Image, error) bool) {
		for seed := range uint64(6) {
			if !yield(scenes.Photo(seed, 160, 128), nil) {
				return
			}
		}
	}
	ranges, err := export.Calibrate(t.Context(), m, photos)
	if err != nil {
		t.Fatal(err)
	}
	scene := scenes.Photo(5, 61, 47)
	shown := func(path string) image.Image {
		s, err := export.OpenWith(path, export.Options{Exact: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out, err := s.Stylize(scene)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	whole := filepath.Join(t.TempDir(), "m.safetensors")
	if err := export.Safetensors(whole, m); err != nil {
		t.Fatal(err)
	}
	want := shown(whole).(*image.RGBA)
	for name, c := range map[string]struct {
		write     func(path string) error
		relative  float64
		tensors   bool // and nothing else
		quantized bool
	}{
		"f16.safetensors":  {func(p string) error { return export.SafetensorsAs(p, m, export.F16) }, 1. / 2048, false, false},
		"bf16.safetensors": {func(p string) error { return export.SafetensorsAs(p, m, export.BF16) }, 1. / 256, false, false},
		"f32.pth":          {func(p string) error { return export.PyTorch(p, m, export.F32) }, 0, true, false},
		"f16.pth":          {func(p string) error { return export.PyTorch(p, m, export.F16) }, 1. / 2048, true, false},
		"bf16.pth":         {func(p string) error { return export.PyTorch(p, m, export.BF16) }, 1. / 256, true, false},
		"f16.onnx":         {func(p string) error { return export.ONNXWith(p, m, export.ONNXOptions{DType: export.F16}) }, 1. / 2048, false, false},
		"uint8.onnx": {func(p string) error {
			return export.ONNXWith(p, m, export.ONNXOptions{ImageIO: export.Uint8NHWC, Opset: 21})
		}, 0, false, false},
		"int8.onnx": {func(p string) error {
			return export.ONNXWith(p, m, export.ONNXOptions{DType: export.Int8, Ranges: ranges})
		}, 0, false, true},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := c.write(path); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := export.Load(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !c.tensors && (back.StyleName != m.StyleName || back.StyleLicence != m.StyleLicence || back.Recipe != m.Recipe) {
			t.Errorf("%s says %q, %q, %q", name, back.StyleName, back.StyleLicence, back.Recipe)
		}
		worst, mean := 0, 0.
		for i, v := range shown(path).(*image.RGBA).Pix {
			d := max(int(v)-int(want.Pix[i]), int(want.Pix[i])-int(v))
			worst, mean = max(worst, d), mean+float64(d)/float64(len(want.Pix))
		}
		t.Logf("%s shows a picture that is at most %d of 255 apart, %.2g on average", name, worst, mean)
		if limit := 1 + 500*c.relative; c.quantized && mean > 1.5 || !c.quantized && float64(worst) > limit {
			t.Errorf("%s shows another picture", name)
		}
		if c.quantized {
			continue // limits of integers make it another network
		}
		if back.Network != m.Network {
			t.Errorf("%s holds %v", name, back.Network)
			continue
		}
		for _, want := range m.Weights.Tensors() {
			got := back.Weights.Get(want.Name)
			for i, v := range want.Data {
				if math.Abs(float64(got.Data[i]-v)) > c.relative*math.Abs(float64(v))+1e-7 {
					t.Fatalf("%s: %s holds %g, want %g", name, want.Name, got.Data[i], v)
				}
			}
		}
	}
}

func TestOptionErrors(t *testing.T) {
	m := tiny(reflectNet)
	for want, o := range map[string]export.ONNXOptions{
		`numbers of "bf16" are not written`:      {DType: export.BF16},
		`pictures as "nchw" are not known`:       {ImageIO: "nchw"},
		`opset 16 is none of 17 to`:              {Opset: 16},
		`ranges are for int8, not for ""`:        {Ranges: &export.Ranges{}},
		`int8 needs the ranges of the network's`: {DType: export.Int8},
		`a size of 0×4: give sides of 1 to`:      {Height: 4},
	} {
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := export.ONNXWith(path, m, o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "m")
	if err := export.SafetensorsAs(path, m, export.Int8); err == nil || !strings.Contains(err.Error(), `cannot hold numbers of "int8"`) {
		t.Error(err)
	}
	if err := export.PyTorch(path, m, export.Int8); err == nil || !strings.Contains(err.Error(), `a state_dict of "int8" is not written`) {
		t.Error(err)
	}
}

// A state_dict says nothing but its tensors: what they do not tell is refused.
func TestPyTorchRefuses(t *testing.T) {
	for want, change := range map[string]func(*networks.Johnson){
		`they do not say that the padding is "zero"`: func(j *networks.Johnson) { j.Padding = "zero" },
		"they do not say that the output is tanh":    func(j *networks.Johnson) { j.Output, j.OutputScale = "tanh", 150 },
		"could as well be of":                        func(j *networks.Johnson) { j.Architecture, j.Upsample = "c3s1-4,d4,u4,c3s1-3", "transposed" },
		"those of c3s1-3 do not tell it":             func(j *networks.Johnson) { j.Architecture = "c3s1-3" },
	} {
		j := reflectNet
		change(&j)
		err := export.PyTorch(filepath.Join(t.TempDir(), "m.pth"), tiny(j), "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", j, err, want)
		}
	}
	layers, err := reflectNet.Build()
	if err != nil {
		t.Fatal(err)
	}
	// A list of layers that is one of Johnson's networks is as good as its name.
	m := tiny(reflectNet)
	m.Network = layers
	if err := export.PyTorch(filepath.Join(t.TempDir(), "m.pth"), m, ""); err != nil {
		t.Error(err)
	}
}

func TestFitsTransformerNet(t *testing.T) {
	batch, transposed := johnson(networks.JohnsonArchitecture), johnson(networks.JohnsonArchitecture)
	batch.Norm, transposed.Upsample = "batch", "transposed"
	for want, j := range map[string]networks.Johnson{
		"": johnson(networks.JohnsonArchitecture),
		"it is c3s1-2,d4,R4,u2,c3s1-3, not c9s1-32,d64":  reflectNet,
		"it has batch norms, not instance norms":         batch,
		`it upsamples by "transposed", not by "nearest"`: transposed,
	} {
		err := export.FitsTransformerNet(&export.Model{Network: j})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", j, err, want)
		}
	}
}

func TestTriton(t *testing.T) {
	repository := t.TempDir()
	dir := filepath.Join(repository, "wave")
	m := tiny(reflectNet)
	o := export.TritonOptions{ONNXOptions: export.ONNXOptions{ImageIO: export.FloatNCHW, Width: 64, Height: 48}, MaxBatch: 2}
	for want := 1; want <= 2; want++ {
		if got, err := export.Triton(dir, m, o); err != nil || got != want {
			t.Errorf("version %d, %v, want %d", got, err, want)
		}
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.pbtxt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`name: "wave"`, "max_batch_size: 2", "data_type: TYPE_FP32", "dims: [ 3, 48, 64 ]"} {
		if !strings.Contains(string(config), line) {
			t.Errorf("config.pbtxt lacks %s:\n%s", line, config)
		}
	}
	got := readONNX(t, filepath.Join(dir, "2", "model.onnx")).Graph.Input[0]
	if got.GetName() != "input" || !strings.Contains(string(config), `name: "input"`) {
		t.Errorf("the input is called %q", got.GetName())
	}
	for want, path := range map[string]string{
		`"a b" is no name for a model`:      filepath.Join(repository, "a b"),
		`".hidden" is no name`:              filepath.Join(repository, ".hidden"),
		"holds a model with another config": dir,
		"exists, and is no model of Triton": repository,
		"missing":                           filepath.Join(repository, "missing", "wave"),
	} {
		if _, err := export.Triton(path, m, export.TritonOptions{}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "write "+path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	// A version that cannot be written leaves the others as they are.
	broken := tiny(reflectNet)
	broken.Weights.Get("in1.bias").Data[0] = float32(math.NaN())
	if _, err := export.Triton(dir, broken, o); err == nil {
		t.Error("a broken model was written")
	}
	for _, folder := range []string{repository, dir} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		want := map[string][]string{repository: {"wave"}, dir: {"1", "2", "config.pbtxt"}}[folder]
		if !slices.Equal(names, want) {
			t.Errorf("%s holds %v, want %v", folder, names, want)
		}
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trained := filepath.Join(dir, "starry.safetensors")
	if err := export.Safetensors(trained, tiny(reflectNet)); err != nil {
		log.Fatal(err)
	}

	m, err := export.Load(trained)
	if err != nil {
		log.Fatal(err)
	}
	if err := export.ONNX(filepath.Join(dir, "starry.onnx"), m); err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Network, "trained with VGG-19 features", m.VGG)
	// Output: c3s1-2,d4,R4,u2,c3s1-3 trained with VGG-19 features random (seed 1)
}
