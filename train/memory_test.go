package train

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"stylenet/configs"
	"stylenet/internal/stylize"
)

// What a step takes at least is neither more than it takes, nor so little that a
// step ten times too large would be tried.
func TestLeastBytes(t *testing.T) {
	w := newWorld(t, 4)
	large := []string{"data.size=96", "train.batch=4", "train.steps=1", "train.checkpoint_every=0"}
	for name, cfg := range map[string]*configs.Config{
		"johnson":    w.config(t, large...),
		"plain":      w.config(t, append([]string{"network.architecture=" + strings.Repeat("c3s1-64,", 9) + "c3s1-3", "network.padding=zero"}, large...)...),
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

// A batch that no machine holds is refused before anything is computed or written,
// and one that is short by little begins with a warning.
func TestBatchBeyondMemory(t *testing.T) {
	w := newWorld(t, 1)
	var warnings []string
	r, err := New(t.Context(), w.config(t, "train.device=cpu"), w.path("run"), Options{Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	check(t, err)
	defer func() { check(t, r.Close()) }()
	net, err := r.model.Network.Build()
	check(t, err)
	least, err := r.leastBytes(net)
	check(t, err)
	for _, c := range []struct {
		share          float64 // of what is needed, that is free
		known          bool
		refused, warns bool
	}{{2, true, false, false}, {0.5, true, false, true}, {0.2, true, true, false}, {0, false, false, false}} {
		warnings = nil
		err := r.checkMemory(net, int64(c.share*least), c.known)
		if (err != nil) != c.refused || (len(warnings) == 1) != c.warns {
			t.Errorf("with %.1f of it free: %v, warnings %q", c.share, err, warnings)
		}
		if text := fmt.Sprint(err, warnings); (c.refused || c.warns) && !strings.Contains(text, "a step of train.batch 2 at data.size 32 takes ") {
			t.Error(text)
		}
	}

	// All memory of this machine and much more.
	free, known := stylize.FreeMemory()
	r.config.Train.Batch, r.config.Data.Size = 4096, 8192
	if huge, err := r.leastBytes(net); err != nil || !known || huge < 2*stylize.RefusedMemory*float64(free) {
		t.Skipf("what is free is not known, or very much: %d bytes (%v)", free, err)
	}
	_, err = New(t.Context(), w.config(t, "train.device=cpu", "data.size=8192", "train.batch=4096"), w.path("huge"), Options{})
	if err == nil || !strings.Contains(err.Error(), "a step of train.batch 4096 at data.size 8192 takes ") || !strings.Contains(err.Error(), "lower one of them") {
		t.Error(err)
	}
	if _, err := os.Stat(w.path("huge")); !os.IsNotExist(err) {
		t.Errorf("the run's folder is left: %v", err)
	}
}
