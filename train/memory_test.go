package train

import (
	"os"
	"strings"
	"testing"

	"stylenet/configs"
)

// What a step takes at least is neither more than it takes, nor so little that a
// step ten times too large would be tried.
func TestLeastBytes(t *testing.T) {
	w := newWorld(t, 4)
	large := []string{"data.size=96", "train.batch=4", "train.steps=1", "train.checkpoint_every=0"}
	for name, cfg := range map[string]*configs.Config{
		"johnson":    w.config(t, large...),
		"multistyle": w.config(t, append(w.twoStyles(t), large...)...),
		"video":      w.config(t, append([]string{"kind=video", "video.motion=2"}, large...)...),
		"adain":      w.anyStyle(t, append(w.quick(t), large...)...),
	} {
		t.Run(name, func(t *testing.T) {
			r := trainAll(t, cfg, w.path(name))
			net, err := r.model.Network.Build()
			check(t, err)
			least, err := r.leastBytes(net)
			check(t, err)
			if peak := float64(r.Info().PeakBytes); least > peak || least < peak/10 {
				t.Errorf("a step is said to take %.1f MiB at least, and takes %.1f", least/(1<<20), peak/(1<<20))
			} else {
				t.Logf("%.1f of %.1f MiB", least/(1<<20), peak/(1<<20))
			}
		})
	}
}

// A batch that no machine holds is refused before anything is computed or written.
func TestBatchBeyondMemory(t *testing.T) {
	w := newWorld(t, 1)
	sets := []string{"data.size=2048", "train.batch=4096"}
	for name, cfg := range map[string]*configs.Config{
		"johnson": w.config(t, sets...),
		"video":   w.config(t, append([]string{"kind=video"}, sets...)...),
		"adain":   w.anyStyle(t, append(w.quick(t), sets...)...),
	} {
		_, err := New(t.Context(), cfg, w.path(name), Options{})
		if err == nil || !strings.Contains(err.Error(), "a step of train.batch 4096 at data.size 2048 takes ") || !strings.Contains(err.Error(), "lower one of them") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(w.path(name)); !os.IsNotExist(err) {
			t.Errorf("%s: the run's folder is left: %v", name, err)
		}
	}
}
