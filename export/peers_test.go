package export_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/export"
	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/stylize"
	"stylenet/internal/testassets"
)

// peerCase is a model and the sizes of the batches that it gets.
type peerCase struct {
	Name   string   `json:"name"`
	Model  string   `json:"model"` // its file, in the folder of all
	Bytes  bool     `json:"bytes"`
	Shapes [][4]int `json:"shapes"` // N, H, W, 3
	limit           // of what may be apart from the network itself
}

// limit bounds differences, of 255: the largest, and the mean of all.
type limit struct{ most, mean float64 }

// peerPython is the Python that has the peers. Tests ask for it before they do
// anything that takes time.
func peerPython(t *testing.T) string {
	t.Helper()
	python := os.Getenv("STYLENET_PEERS_PYTHON")
	if python == "" {
		t.Skip("needs a Python with onnxruntime, opencv, torch and tritonclient: name it in STYLENET_PEERS_PYTHON, or run make test-serving")
	}
	return python
}

// runPeer has a peer run all cases in dir, and returns what it printed. The test
// is skipped where the peer is missing.
func runPeer(t *testing.T, peer, dir string, cases []*peerCase) string {
	t.Helper()
	python := peerPython(t)
	// Debian's OpenCV is older than PyPI's, and belongs to Debian's Python.
	if debian := os.Getenv("STYLENET_PEERS_OPENCV"); peer == "opencv" && debian != "" {
		python = debian
	}
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cases.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/peers.py", peer, dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
		t.Skipf("%s: %s: run make test-serving, which installs the peers", python, bytes.TrimSpace(stderr.Bytes()))
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", peer, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// photo is a batch of pictures that differ, as bytes.
func photo(n, h, w int) []byte {
	var pix []byte
	for k := range n {
		img := scenes.Photo(uint64(k+1), max(w, 32), max(h, 32))
		for y := range h {
			for x := range w {
				pix = append(pix, img.Pix[img.PixOffset(x, y):][:3]...)
			}
		}
	}
	return pix
}

// show is what a model makes of a batch here: N, H, W, 3, from 0 to 255.
func show(t *testing.T, s *stylize.Stylizer, batch []byte, shape [4]int) []float32 {
	t.Helper()
	n, h, w := shape[0], shape[1], shape[2]
	var out []float32
	for k := range n {
		p := images.New(w, h)
		for i, v := range batch[k*3*h*w : (k+1)*3*h*w] {
			p.Plane(i % 3)[i/3] = float32(v)
		}
		r, err := s.Picture(t.Context(), p, stylize.Options{Strength: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range h * w {
			out = append(out, r.Plane(0)[i], r.Plane(1)[i], r.Plane(2)[i])
		}
	}
	return out
}

// apart compares values that are first made those of a picture.
func apart(t *testing.T, a, b []float32) (most, mean float64) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d values, not %d", len(a), len(b))
	}
	for i := range a {
		// NaN stays NaN.
		d := math.Abs(float64(min(max(a[i], 0), 255) - min(max(b[i], 0), 255)))
		most, mean = max(most, d), mean+d/float64(len(a))
	}
	return most, mean
}

// peerModels are the network of PyTorch's example: a published one where it is
// there, and one that was not trained, but makes pictures of contrast.
func peerModels(t *testing.T) map[string]*export.Model {
	t.Helper()
	peerPython(t)
	random := tiny(johnson(networks.JohnsonArchitecture))
	for i, w := range random.Weights.Get("deconv3.conv2d.weight").Data {
		random.Weights.Get("deconv3.conv2d.weight").Data[i] = 40 * w
	}
	for i := range 3 {
		random.Weights.Get("deconv3.conv2d.bias").Data[i] = 128
	}
	models := map[string]*export.Model{"random": random}
	t.Run("starry", func(t *testing.T) { // its skip is told, and ends nothing else
		m, err := export.Load(testassets.Path(t, "models/pytorch-starry.pth"))
		if err != nil {
			t.Fatal(err)
		}
		models["starry"] = m
	})
	return models
}

// comparePeer writes the cases' inputs, has the peer run them, and compares its
// pictures with those of the model as stylenet shows it, and with those of the file
// that the peer read, opened by stylenet.
func comparePeer(t *testing.T, peer, dir string, models map[string]*export.Model, cases []*peerCase) {
	t.Helper()
	for _, c := range cases {
		for i, s := range c.Shapes {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%d.in", c.Name, i)), photo(s[0], s[1], s[2]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(runPeer(t, peer, dir, cases))
	dev, err := devices.Open("auto", devices.Options{Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	open := func(m *export.Model, err error) *stylize.Stylizer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s, err := stylize.Open(dev, m)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range cases {
		model, _, _ := strings.Cut(c.Name, "-")
		whole, file := open(models[model], nil), open(export.Load(filepath.Join(dir, c.Model)))
		for i, shape := range c.Shapes {
			raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.%d.out", c.Name, i)))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float32, len(raw)/4)
			if _, err := binary.Decode(raw, binary.LittleEndian, got); err != nil {
				t.Fatal(err)
			}
			batch := photo(shape[0], shape[1], shape[2])
			most, mean := apart(t, got, show(t, whole, batch, shape))
			fileMost, fileMean := apart(t, got, show(t, file, batch, shape))
			t.Logf("%s %v: at most %.3g of 255 from the network, %.2g on average; %.3g and %.2g from the file opened here",
				c.Name, shape, most, mean, fileMost, fileMean)
			if !(most <= c.most && mean <= c.mean && fileMost <= c.most && fileMean <= c.mean) {
				t.Errorf("%s %v: more than %g, or %g on average", c.Name, shape, c.most, c.mean)
			}
		}
		if err := errors.Join(whole.Close(), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, dir, name string, write func(path string) error) string {
	t.Helper()
	if err := write(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return name
}

// What runs the exported model elsewhere must show the picture that stylenet
// shows: exactly but for rounding, or as near as the numbers of the file allow.
func TestAgreesWithONNXRuntime(t *testing.T) {
	dir := t.TempDir()
	models := peerModels(t)
	shapes := [][4]int{{1, 1, 1, 3}, {2, 13, 17, 3}, {1, 64, 3, 3}, {3, 67, 101, 3}}
	var cases []*peerCase
	for name, m := range models {
		ranges, err := export.Calibrate(t.Context(), m, func(yield func(image.Image, error) bool) {
			for seed := range uint64(8) {
				if !yield(scenes.Photo(seed+1, 128, 96), nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for variant, v := range map[string]struct {
			o export.ONNXOptions
			limit
		}{
			"f32":       {export.ONNXOptions{}, limit{1, .05}},
			"newest":    {export.ONNXOptions{Opset: export.MaxOpset}, limit{1, .05}},
			"f32-bytes": {export.ONNXOptions{ImageIO: export.Uint8NHWC}, limit{1, .3}}, // rounded: .25 on average
			"f16":       {export.ONNXOptions{DType: export.F16}, limit{3, .2}},
			"f16-bytes": {export.ONNXOptions{DType: export.F16, ImageIO: export.Uint8NHWC}, limit{3, .4}},
			"int8":      {export.ONNXOptions{DType: export.Int8, Ranges: ranges}, limit{128, 6}},
		} {
			c := &peerCase{Name: name + "-" + variant, Bytes: v.o.ImageIO == export.Uint8NHWC, Shapes: shapes, limit: v.limit}
			if v.o.DType == export.Int8 {
				c.Shapes = shapes[3:] // few pixels are all unlike those of a photo
			}
			c.Model = write(t, dir, c.Name+".onnx", func(path string) error { return export.ONNXWith(path, m, v.o) })
			cases = append(cases, c)
		}
	}
	comparePeer(t, "onnxruntime", dir, models, cases)
}

// What 8-bit integers cost on photos that they were not calibrated on.
func TestInt8AgreesOnPhotos(t *testing.T) {
	peerPython(t)
	m, err := export.Load(testassets.Path(t, "models/pytorch-starry.pth"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(testassets.Path(t, "photos"), "*.jpg"))
	if err != nil || len(files) < 60 {
		t.Fatalf("%d photos, %v", len(files), err)
	}
	const w, h, calibrated, tested = 384, 256, 48, 12
	open := func(path string) *images.Picture {
		p, err := images.Open(path)
		if err == nil {
			p, err = images.Resize(p, w, h)
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ranges, err := export.Calibrate(t.Context(), m, func(yield func(image.Image, error) bool) {
		for _, path := range files[tested : tested+calibrated] {
			if !yield(open(path).Image(), nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &peerCase{Name: "int8", Bytes: true, Shapes: slices.Repeat([][4]int{{1, h, w, 3}}, tested)}
	c.Model = write(t, dir, "int8.onnx", func(path string) error {
		return export.ONNXWith(path, m, export.ONNXOptions{DType: export.Int8, Ranges: ranges, ImageIO: export.Uint8NHWC})
	})
	native := write(t, dir, "m.safetensors", func(path string) error { return export.Safetensors(path, m) })
	for i, path := range files[:tested] {
		rgba, pix := open(path).Image().(*image.RGBA), []byte(nil)
		for p := 0; p < len(rgba.Pix); p += 4 {
			pix = append(pix, rgba.Pix[p:p+3]...)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("int8.%d.in", i)), pix, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runPeer(t, "onnxruntime", dir, []*peerCase{c})
	s, err := export.Open(filepath.Join(dir, native))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sum, worst, shift := 0., math.Inf(1), 0.
	for i, path := range files[:tested] {
		painting, err := s.Stylize(open(path).Image())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("int8.%d.out", i)))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(raw)/4)
		if _, err := binary.Decode(raw, binary.LittleEndian, got); err != nil {
			t.Fatal(err)
		}
		squares, colour := 0., [3]float64{}
		for k, v := range got {
			d := float64(v) - float64(painting.(*image.RGBA).Pix[k/3*4+k%3])
			squares += d * d
			colour[k%3] += d / (w * h)
		}
		psnr := 10 * math.Log10(255*255/(squares/float64(len(got))))
		sum, worst = sum+psnr/tested, min(worst, psnr)
		for _, c := range colour {
			shift = max(shift, c, -c)
		}
		t.Logf("%s: %.1f dB, colours %+.2f", filepath.Base(path), psnr, colour)
	}
	t.Logf("%d photos of %d×%d after %d others: %.1f dB on average, %.1f dB the worst; colours shift by up to %.2f of 255", tested, w, h, calibrated, sum, worst, shift)
	if !(sum > 40 && worst > 28 && shift < .5) {
		t.Error("8-bit integers cost more than they should")
	}
}

// OpenCV 4.6, which Debian has, reads models of one size and float32; newer ones
// read what ONNX Runtime does.
func TestAgreesWithOpenCV(t *testing.T) {
	dir := t.TempDir()
	models := peerModels(t)
	var cases []*peerCase
	for name, m := range models {
		for _, size := range [][2]int{{64, 48}, {61, 47}} {
			c := &peerCase{Name: fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), Shapes: [][4]int{{1, size[1], size[0], 3}}, limit: limit{1, .05}}
			c.Model = write(t, dir, c.Name+".onnx", func(path string) error {
				return export.ONNXWith(path, m, export.ONNXOptions{Width: size[0], Height: size[1]})
			})
			cases = append(cases, c)
		}
	}
	comparePeer(t, "opencv", dir, models, cases)
}

// The class of PyTorch's examples loads what is written for it, with every name
// in its place, and shows the same.
func TestAgreesWithPyTorch(t *testing.T) {
	dir := t.TempDir()
	models := peerModels(t)
	var cases []*peerCase
	for name, m := range models {
		if err := export.FitsTransformerNet(m); err != nil {
			t.Fatal(err)
		}
		for dtype, l := range map[string]limit{export.F32: {1, .05}, export.F16: {3, .2}, export.BF16: {20, 2}} {
			// Whatever PyTorch computes in, the class holds float32. The network
			// keeps the size of multiples of 4 alone.
			c := &peerCase{Name: name + "-" + dtype, Shapes: [][4]int{{1, 48, 64, 3}, {2, 20, 24, 3}}, limit: l}
			c.Model = write(t, dir, c.Name+".pth", func(path string) error { return export.PyTorch(path, m, dtype) })
			cases = append(cases, c)
		}
	}
	comparePeer(t, "torch", dir, models, cases)
}

// Triton's own client holds the schema of config.pbtxt, and reads it as meant.
func TestTritonConfig(t *testing.T) {
	repository := t.TempDir()
	m := tiny(reflectNet)
	m.StyleName, m.StyleLicence = "Die große Welle\n\\", `CC BY "4.0"`
	var cases []*peerCase
	for name, o := range map[string]export.ONNXOptions{"any": {}, "fixed": {Width: 640, Height: 480, ImageIO: export.FloatNCHW}} {
		if _, err := export.Triton(filepath.Join(repository, name), m, export.TritonOptions{ONNXOptions: o}); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, &peerCase{Model: name + "/config.pbtxt"})
	}
	slices.SortFunc(cases, func(a, b *peerCase) int { return strings.Compare(a.Model, b.Model) })
	about := "stylenet.style_licence: CC BY \"4.0\"\nstylenet.style_name: Die große Welle\n\\"
	want := "any onnxruntime 8 True\ninput TYPE_UINT8 [-1, -1, 3]\noutput TYPE_UINT8 [-1, -1, 3]\n" + about +
		"\nfixed onnxruntime 8 True\ninput TYPE_FP32 [3, 480, 640]\noutput TYPE_FP32 [3, 480, 640]\n" + about
	if got := runPeer(t, "triton", repository, cases); got != want {
		t.Errorf("it reads\n%s\nwant\n%s", got, want)
	}
}
