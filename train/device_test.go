package train

import (
	"context"
	"math"
	"testing"

	"stylenet/configs"
)

// moves trains half of a run on one device and the rest on another, and holds
// the losses to those of a run that stays on the first.
func moves(t *testing.T, w world, name, from, to, backend string, sets ...string) {
	t.Helper()
	sets = append(sets, "train.steps=6", "train.exact=true", "train.device="+from)
	straight, moved := w.path(name+"/straight"), w.path(name+"/moved")
	cfg := w.config(t, sets...)
	trainAll(t, cfg, straight)
	stopAt(t, func(ctx context.Context, o Options) (*Run, error) { return New(ctx, cfg, moved, o) }, 3)
	r, err := Resume(t.Context(), moved, []string{"train.device=" + to}, Options{})
	check(t, err)
	if got := r.Info().Device.Backend; got != backend {
		t.Errorf("resumed on %s, not %s", got, backend)
	}
	check(t, r.Train(t.Context()))
	check(t, r.Close())
	alike(t, metrics(t, moved), metrics(t, straight))
	// The run stays where it is now.
	cfg, err = configs.Load(moved+"/config.yaml", nil)
	check(t, err)
	if cfg.Train.Device != to {
		t.Errorf("the resumed run's device is %s, not %s", cfg.Train.Device, to)
	}
}

func metrics(t *testing.T, dir string) []Metrics {
	t.Helper()
	return readLines[Metrics](t, dir+"/metrics.jsonl")
}

// alike allows for devices that round otherwise.
func alike(t *testing.T, got, want []Metrics) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d steps, not %d", len(got), len(want))
	}
	for i, w := range want {
		if d := math.Abs(got[i].Loss-w.Loss) / w.Loss; !(d < 1e-3) || got[i].Step != w.Step {
			t.Errorf("the loss of step %d is %g, not %g of step %d", got[i].Step, got[i].Loss, w.Loss, w.Step)
		}
	}
}

func TestResumeOnAnotherDevice(t *testing.T) {
	w := newWorld(t, 4)
	moves(t, w, "to", "cpu", "reference", "reference", everything...)
}
