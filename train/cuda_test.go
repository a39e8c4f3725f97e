//go:build cudnn

package train

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"stylenet/internal/devices"
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
}

func cpuBackend(t *testing.T) string {
	t.Helper()
	d, err := devices.Open("cpu", devices.Options{})
	check(t, err)
	defer d.Close()
	return d.Info().Backend
}
