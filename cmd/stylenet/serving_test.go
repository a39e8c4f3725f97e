package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"stylenet/export"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
)

// servingDoc is the page whose examples run here.
const servingDoc = "../../docs/serving.md"

// examples are the blocks of code of the page that have a name, which is that of
// the file that they go into; under "" are the commands.
func examples(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(servingDoc)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]+)(?: ([a-z_.]+))?\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if m[1] != "sh" && m[2] == "" {
			t.Fatalf("an example has no name:\n%s", m[3])
		}
		if blocks[m[2]] != "" {
			t.Fatalf("two examples are called %q", m[2])
		}
		blocks[m[2]] = m[3]
	}
	return blocks
}

// command runs a command line of stylenet.
func command(t *testing.T, line string) {
	t.Helper()
	var args []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		args = append(args, m[1]+m[2])
	}
	if args[0] != "stylenet" {
		t.Fatalf("%q is no command of stylenet", line)
	}
	cmd := newRootCmd()
	cmd.SetArgs(args[1:])
	cmd.SetOut(t.Output())
	cmd.SetErr(t.Output())
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

// serving is a folder with the files that the page speaks of: a model, what the
// page's commands make of it, and a photo.
type serving struct {
	dir      string
	examples map[string]string
	photo    *image.RGBA
	painting image.Image // as stylenet has it
}

func newServing(t *testing.T, architecture string, w, h int) *serving {
	t.Helper()
	s := &serving{dir: t.TempDir(), examples: examples(t), photo: scenes.Photo(3, w, h)}
	j := networks.Johnson{Architecture: architecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	net, err := j.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	// The network is not trained, but makes pictures of contrast.
	last := set.Get("deconv3.conv2d.weight").Data
	for i := range last {
		last[i] *= 40
	}
	copy(set.Get("deconv3.conv2d.bias").Data, []float32{128, 128, 128})
	if err := model.Save(s.path("starry.safetensors"), &model.Model{Network: j, Weights: set}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(s.path("photo.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(png.Encode(f, s.photo), f.Close()); err != nil {
		t.Fatal(err)
	}
	style, err := export.Open(s.path("starry.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer style.Close()
	if s.painting, err = style.Stylize(s.photo); err != nil {
		t.Fatal(err)
	}
	back, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(s.dir)
	for line := range strings.Lines(s.examples[""]) {
		command(t, strings.TrimSpace(line))
	}
	t.Chdir(back)
	return s
}

func (s *serving) path(name string) string { return filepath.Join(s.dir, name) }

// compare wants the picture of stylenet, but for rounding.
func (s *serving) compare(t *testing.T, got image.Image, limit int) {
	t.Helper()
	if got.Bounds().Size() != s.painting.Bounds().Size() {
		t.Fatalf("a picture of %v, want %v", got.Bounds(), s.painting.Bounds())
	}
	worst := 0
	size := got.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			r, g, b, _ := got.At(got.Bounds().Min.X+x, got.Bounds().Min.Y+y).RGBA()
			wr, wg, wb, _ := s.painting.At(x, y).RGBA()
			for _, d := range []int{int(r>>8) - int(wr>>8), int(g>>8) - int(wg>>8), int(b>>8) - int(wb>>8)} {
				worst = max(worst, d, -d)
			}
		}
	}
	t.Logf("at most %d of 255 apart", worst)
	if worst > limit {
		t.Errorf("more than %d", limit)
	}
}

// python runs an example and compares the picture that it leaves. It is skipped
// where a module is missing.
func (s *serving) python(t *testing.T, name, text string, limit int) {
	t.Helper()
	python := os.Getenv("STYLENET_PEERS_PYTHON")
	if python == "" {
		t.Skip("needs a Python with the modules of the example: name it in STYLENET_PEERS_PYTHON, or run make test-serving")
	}
	if text == "" {
		t.Fatalf("%s has no example %s", servingDoc, name)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("painting.png")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	cmd := exec.Command(python, name)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); bytes.Contains(out, []byte("ModuleNotFoundError")) {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("%s: %s: run make test-serving, which installs the peers", python, lines[len(lines)-1])
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.compare(t, decodePNG(t, s.path("painting.png")), limit)
}

func decodePNG(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// The examples of docs/serving.md run as they stand there, and show what stylenet
// shows.
func TestServing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs networks in other programs")
	}
	if os.Getenv("STYLENET_PEERS_PYTHON")+os.Getenv("STYLENET_PEERS_BROWSER") == "" {
		t.Skip("needs other programs: run make test-serving, which installs them")
	}
	s := newServing(t, networks.JohnsonArchitecture, 320, 240)
	t.Run("onnxruntime", func(t *testing.T) { s.python(t, "onnxruntime_example.py", s.examples["onnxruntime_example.py"], 1) })
	t.Run("opencv", func(t *testing.T) { s.python(t, "opencv_example.py", s.examples["opencv_example.py"], 1) })
	t.Run("pytorch", func(t *testing.T) {
		class, err := os.ReadFile("../../export/testdata/transformer_net.py")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path("transformer_net.py"), class, 0o600); err != nil {
			t.Fatal(err)
		}
		s.python(t, "pytorch_example.py", s.examples["pytorch_example.py"], 1)
	})
	t.Run("triton", func(t *testing.T) {
		server := httptest.NewServer(&tritonStandIn{t: t, repository: s.path("repository")})
		defer server.Close()
		text := s.examples["triton_example.py"]
		if !strings.Contains(text, `"localhost:8000"`) {
			t.Fatal("the example does not name the server")
		}
		s.python(t, "triton_example.py", strings.Replace(text, "localhost:8000", strings.TrimPrefix(server.URL, "http://"), 1), 1)
	})
	t.Run("browser", s.browser)
}

// The commands and the Go program need nothing but Go.
func TestServingGo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	newServing(t, "c9s1-8,d16,d16,R16,u16,u8,c9s1-3", 64, 48).embedded(t)
}

// tritonStandIn answers inference requests by the protocol of Triton, with its
// extension for binary tensors, for a model of uint8 pictures
// (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md).
type tritonStandIn struct {
	t          *testing.T
	repository string
}

type tritonTensor struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]any `json:"parameters"`
}

func (h *tritonStandIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.infer(w, r); err != nil {
		h.t.Error(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (h *tritonStandIn) infer(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/models/"), "/infer")
	if !ok || r.Method != http.MethodPost {
		return fmt.Errorf("%s %s is no request for inference", r.Method, r.URL.Path)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.Header.Get("Inference-Header-Content-Length"))
	if err != nil || n > len(body) {
		return fmt.Errorf("a header of %q bytes", r.Header.Get("Inference-Header-Content-Length"))
	}
	var request struct {
		Inputs []tritonTensor `json:"inputs"`
	}
	if err := json.Unmarshal(body[:n], &request); err != nil {
		return err
	}
	pixels := body[n:]
	if len(request.Inputs) != 1 {
		return fmt.Errorf("%d inputs", len(request.Inputs))
	}
	in := request.Inputs[0]
	if in.Name != "input" || in.Datatype != "UINT8" || len(in.Shape) != 4 || in.Shape[0] != 1 || in.Shape[3] != 3 ||
		len(pixels) != in.Shape[1]*in.Shape[2]*3 || in.Parameters["binary_data_size"] != float64(len(pixels)) {
		return fmt.Errorf("%+v with %d bytes", in, len(pixels))
	}
	style, err := export.Open(filepath.Join(h.repository, name, "1", "model.onnx"))
	if err != nil {
		return err
	}
	defer style.Close()
	img := image.NewRGBA(image.Rect(0, 0, in.Shape[2], in.Shape[1]))
	for i := range in.Shape[1] * in.Shape[2] {
		copy(img.Pix[4*i:], append(pixels[3*i:3*i+3:3*i+3], 255))
	}
	painting, err := style.Stylize(img)
	if err != nil {
		return err
	}
	for i := range in.Shape[1] * in.Shape[2] {
		copy(pixels[3*i:3*i+3], painting.(*image.RGBA).Pix[4*i:])
	}
	out := in
	out.Name = "output"
	reply, err := json.Marshal(map[string]any{"model_name": name, "model_version": "1", "outputs": []tritonTensor{out}})
	if err != nil {
		return err
	}
	w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(reply)))
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err = w.Write(append(reply, pixels...))
	return err
}

// reporter is added to the page: it sends the canvas when the page is done, and
// what goes wrong.
const reporter = `<script type="module">
addEventListener("error", e => fetch("failed", { method: "POST", body: String(e.message) }));
addEventListener("unhandledrejection", e => fetch("failed", { method: "POST", body: String(e.reason) }));
const wait = setInterval(() => {
  if (document.title !== "painted") return;
  clearInterval(wait);
  document.getElementById("painting").toBlob(png => fetch("painted", { method: "POST", body: png }));
}, 50);
</script>`

// browser opens the example in a headless Chromium.
func (s *serving) browser(t *testing.T) {
	browser, dist := os.Getenv("STYLENET_PEERS_BROWSER"), os.Getenv("STYLENET_PEERS_WEB")
	if browser == "" || dist == "" {
		t.Skip("needs Chromium and onnxruntime-web: name the program in STYLENET_PEERS_BROWSER and the package's folder dist in STYLENET_PEERS_WEB, or run make test-serving")
	}
	page, ok := s.examples["index.html"]
	if !ok {
		t.Fatalf("%s has no example index.html", servingDoc)
	}
	type result struct {
		img image.Image
		err error
	}
	done := make(chan result, 1)
	send := func(r result) {
		select {
		case done <- r:
		default: // the first counts
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(s.dir)))
	mux.Handle("/ort/", http.StripPrefix("/ort/", http.FileServer(http.Dir(dist))))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, strings.Replace(page, "<script", reporter+"<script", 1))
	})
	mux.HandleFunc("POST /painted", func(_ http.ResponseWriter, r *http.Request) {
		img, err := png.Decode(r.Body)
		send(result{img, err})
	})
	mux.HandleFunc("POST /failed", func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		send(result{nil, errors.Join(fmt.Errorf("the page says: %s", text), err)})
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	// Its processes may write there after the first has ended.
	profile, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--user-data-dir="+profile, server.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // it was killed
	}()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatal(r.err)
		}
		s.compare(t, r.img, 2) // the model is of half precision
	case <-time.After(2 * time.Minute):
		t.Fatal("the page was not done in two minutes")
	}
}

// embedded builds the Go program as a module of its own.
func (s *serving) embedded(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module stylenet\n", "module example\n", 1) +
		fmt.Sprintf("\nrequire stylenet v0.0.0\nreplace stylenet => %q\n", root)
	dir := t.TempDir()
	for name, content := range map[string]string{"go.mod": text, "go.sum": string(sum), "main.go": s.examples["main.go"]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "example.exe")
	build := exec.Command("go", "build", "-mod=mod", "-o", program, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOPROXY=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(s.path("painting.png")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	run := exec.Command(program)
	run.Dir = s.dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.compare(t, decodePNG(t, s.path("painting.png")), 1)
}
