package train

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
)

// The same recipe trains the same with either kind of VGG-19 weights, whose
// features differ in size: weights of the loss that are meant for the
// authors' would take all style out of it with torchvision's.
func TestLossesOfEitherConvention(t *testing.T) {
	w := newWorld(t, 3)
	// The network of vgg.safetensors, with the numbers that torchvision's would have.
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	check(t, err)
	set, err := net.Init(1)
	check(t, err)
	size := 1 / networks.Torchvision.Features()
	for _, p := range set.Tensors() {
		switch p.Name {
		case "features.0.weight": // [64, 3, 3, 3]
			for i := range p.Data {
				p.Data[i] *= float32(255 * []float64{.229, .224, .225}[i/9%3] / size)
			}
		case "features.0.bias", "features.2.bias":
			for i := range p.Data {
				p.Data[i] /= float32(size)
			}
		}
	}
	check(t, atomicfile.Write(w.path("torchvision.safetensors"), 0o666, func(out io.Writer) error {
		return safetensors.Encode(out, set, nil, safetensors.F32)
	}))
	torchvision := []string{"vgg.weights=" + w.path("torchvision.safetensors"), "vgg.convention=torchvision"}

	run := func(name string, sets ...string) []Metrics {
		trainAll(t, w.config(t, append([]string{"train.steps=3", "train.exact=true"}, sets...)...), w.path(name))
		return readLines[Metrics](t, filepath.Join(w.path(name), "metrics.jsonl"))
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) <= 2e-2*want) { // the means that are taken off differ by up to half a level
			t.Errorf("%s is %g, not %g", what, got, want)
		}
	}
	caffe := run("caffe")
	theirs := run("torchvision", torchvision...)
	for i := range caffe {
		near("content", theirs[i].Content, caffe[i].Content)
		near("style", theirs[i].Style, caffe[i].Style)
	}
	// Weights that are meant for torchvision's features are taken as they are.
	meant := run("meant", append(torchvision, "loss.convention=torchvision")...)
	near("content, of weights as they are,", meant[0].Content*math.Pow(size, 2), caffe[0].Content)
	near("style, of weights as they are,", meant[0].Style*math.Pow(size, 4), caffe[0].Style)

	// A run of version 0.1, which had no convention, goes on as it began.
	old := w.path("meant/config.yaml")
	b, err := os.ReadFile(old)
	check(t, err)
	kept := bytes.Replace(b, []byte("  convention: torchvision\nvideo:"), []byte("video:"), 1)
	if says, err := configs.Says(old, "loss.convention", nil); !says || err != nil {
		t.Error(says, err)
	}
	check(t, os.WriteFile(old, kept, 0o666))
	if says, err := configs.Says(old, "loss.convention", nil); says || err != nil {
		t.Fatalf("%v %v in\n%s", says, err, kept)
	}
	if says, err := configs.Says(old, "loss.convention", []string{"loss.convention=caffe"}); !says || err != nil {
		t.Error(says, err)
	}
	r, err := Resume(t.Context(), w.path("meant"), []string{"train.steps=4"}, Options{})
	check(t, err)
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	on := readLines[Metrics](t, w.path("meant/metrics.jsonl"))
	if got := on[3].Style / on[2].Style; !(got > 0.5 && got < 2) {
		t.Errorf("the style loss becomes %g times as large where the run goes on", got)
	}
	if b, err := os.ReadFile(old); err != nil || !strings.Contains(string(b), "  convention: torchvision\nvideo:") {
		t.Errorf("%v: the run does not say what its loss is meant for:\n%s", err, b)
	}
}
