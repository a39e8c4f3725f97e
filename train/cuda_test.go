//go:build cudnn

package train

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/stylize"
)

// onGPU makes device cuda:0 a GPU, or where none works the fake of one that
// package cuda is tested with. It returns where algorithms that are measured
// are kept.
func onGPU(t *testing.T) (cache string) {
	t.Helper()
	cache = t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if d, err := devices.Open("cuda:0", devices.Options{}); err == nil {
		check(t, d.Close())
		return cache
	}
	t.Log("no GPU works here: a fake takes its place")
	fake := filepath.Join(t.TempDir(), "fake.so")
	c := exec.Command("c++", "-shared", "-fPIC", "-I.", "-O2", "-std=gnu++17", "-w", "-Wl,-Bsymbolic", "-o", fake, "testdata/fake.cc")
	c.Dir = filepath.Join("..", "internal", "kernels", "cuda")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
	for _, name := range []string{"STYLENET_LIBCUDA", "STYLENET_CUDNN", "STYLENET_CUBLAS"} {
		t.Setenv(name, fake)
	}
	return cache
}

func TestTrainingOnGPU(t *testing.T) {
	cache := onGPU(t)
	w := newWorld(t, 4)
	measured := filepath.Join(cache, "stylenet", "convolutions.json")

	// A picture between the steps may move the memory that kernels share, and so
	// has the step recorded again.
	called := recorded(t, w, "train.device=cuda:0", "train.deterministic=true", "train.exact=true", "train.steps=6", "train.preview_every=4")
	if t.Logf("the launches of %d of 6 steps were called", called); called > 3 {
		t.Error("they should have been recorded in the second step, and at the most once more")
	}
	if _, err := os.Stat(measured); err == nil {
		t.Error("a deterministic run measured algorithms")
	}
	// Losses that are read late, with an optimiser that is recorded, too, change no
	// bit.
	cfg := w.config(t, append(everything, "train.device=cuda:0", "train.deterministic=true", "train.exact=true", "train.steps=6", "train.preview_every=4")...)
	if r := trainAll(t, cfg, w.path("late")); r.readings.ahead != 1 {
		t.Errorf("losses are read %d steps late, not one", r.readings.ahead)
	}
	same(t, outcome(t, w.path("late")), outcome(t, w.path("single")))
	moves(t, w, "to", "cpu", "cuda:0", "cuda")
	if _, err := os.Stat(measured); err != nil {
		t.Errorf("no algorithms were measured: %v", err)
	}
	moves(t, w, "back", "cuda", "cpu", cpuBackend(t))
	// Flow and masks are uploaded beside the batch of a step that is recorded.
	if called := recorded(t, newWorld(t, 4), "kind=video", "video.motion=2", "train.device=cuda:0", "train.deterministic=true", "train.exact=true", "train.steps=5"); called > 3 {
		t.Errorf("kind video: the launches of %d of 5 steps were called", called)
	}
	moves(t, w, "video", "cpu", "cuda:0", "cuda", "kind=video", "video.motion=2")
	t.Run("stylizing", stylizes)
	// A recorded step serves every style: what tells them apart is in the device's
	// memory.
	t.Run("many styles", func(t *testing.T) {
		w := newWorld(t, 4)
		sets := append(w.twoStyles(t), "network.norm=instance", "train.device=cuda:0", "train.deterministic=true", "train.exact=true", "train.steps=6")
		if called := recorded(t, w, sets...); called > 3 {
			t.Errorf("the launches of %d of 6 steps were called", called)
		}
		moves(t, w, "to", "cpu", "cuda:0", "cuda", append(w.twoStyles(t), "train.steps=6")...)
	})
}

func cpuBackend(t *testing.T) string {
	t.Helper()
	d, err := devices.Open("cpu", devices.Options{})
	check(t, err)
	defer d.Close()
	return d.Info().Backend
}

// stylizes checks that pictures of one size are a recorded launch each, from the
// third on, and come out as those of a network that runs once.
func stylizes(t *testing.T) {
	dev, err := devices.Open("cuda:0", devices.Options{Exact: true, Deterministic: true})
	check(t, err)
	defer func() { check(t, dev.Close()) }()
	m := &model.Model{Network: networks.Johnson{Architecture: "c9s1-8,d16,R16,u8,c9s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}}
	net, err := m.Network.Build()
	check(t, err)
	m.Weights, err = net.Init(1)
	check(t, err)
	paint := func(s *stylize.Stylizer, seed uint64) []float32 {
		t.Helper()
		p, err := images.FromImage(scenes.Photo(seed, 36, 28))
		check(t, err)
		p, err = s.Picture(t.Context(), p, stylize.Options{Strength: 1})
		check(t, err)
		return p.Pix
	}
	var calls []int
	s, err := stylize.Open(recording{dev, &calls}, m)
	check(t, err)
	for seed := range uint64(6) {
		once, err := stylize.Open(dev, m)
		check(t, err)
		if want := paint(once, seed); !slices.Equal(paint(s, seed), want) {
			t.Errorf("picture %d is another one when it is recorded", seed)
		}
		check(t, once.Close())
	}
	check(t, s.Close())
	// Other pictures between them may have moved what kernels share.
	if len(calls) != 1 || calls[0] > 3 {
		t.Errorf("sequences were recorded whose launches were called %v times for 6 pictures", calls)
	}
}
