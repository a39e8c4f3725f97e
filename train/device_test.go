package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"stylenet/configs"
	"stylenet/internal/kernels"
)

// single is a device that launches kernel by kernel.
type single struct{ kernels.Device }

func (d single) Scope() kernels.Device { return single{d.Device.Scope()} }

// recording is a device that counts, for each sequence of launches that it is
// given, how often it calls it.
type recording struct {
	kernels.Device
	calls *[]int
}

func (d recording) Scope() kernels.Device {
	return recording{d.Device.Scope(), d.calls}
}

func (d recording) Record(sequence func()) kernels.Kernel {
	i := len(*d.calls)
	*d.calls = append(*d.calls, 0)
	counted := func() {
		(*d.calls)[i]++
		sequence()
	}
	if r, ok := d.Device.(kernels.Recorder); ok {
		return r.Record(counted)
	}
	return counted
}

// later is a device that brings values back late: those of a copy's start, when
// they are taken. It notes what it is asked for.
type later struct {
	kernels.Device
	events *[]string
}

func readLate(d kernels.Device) kernels.Device { return later{d, new([]string)} }

func (d later) Scope() kernels.Device { return later{d.Device.Scope(), d.events} }

func (d later) note(event string) { *d.events = append(*d.events, event) }

func (d later) Upload(dst kernels.Array, src []float32) error {
	if dst.Shape().N == 2 { // a batch
		d.note("upload")
	}
	return d.Device.Upload(dst, src)
}

func (d later) Fetch(srcs []kernels.Array) (kernels.Kernel, func([]float32) error, error) {
	var copies [][]float32
	var failed error
	start := func() {
		d.note("start")
		var values []float32
		for _, a := range srcs {
			v := make([]float32, a.Shape().Elements())
			failed = errors.Join(failed, d.Device.Download(v, a))
			values = append(values, v...)
		}
		copies = append(copies, values)
		if len(copies) > kernels.Fetches {
			failed = errors.Join(failed, errors.New("too many copies are under way"))
		}
	}
	take := func(dst []float32) error {
		d.note("take")
		copy(dst, copies[0])
		copies = copies[1:]
		return failed
	}
	return start, take, nil
}

// A device that can brings the losses back one step late: the next step is
// launched, and its photos uploaded, before anyone waits for them. Before a
// checkpoint none is left.
func TestLossesAreReadLate(t *testing.T) {
	w := newWorld(t, 4)
	cfg := w.config(t, append(everything, "train.steps=6")...)
	trainAll(t, cfg, w.path("straight"))
	var events []string
	r, err := New(t.Context(), cfg, w.path("late"), Options{
		Device:  func(d kernels.Device) kernels.Device { return later{d, &events} },
		Observe: func(m Metrics) { events = append(events, fmt.Sprint("step ", m.Step)) },
	})
	check(t, err)
	events = nil // of the start
	check(t, errors.Join(r.Train(t.Context()), r.Close()))
	got := strings.Join(events, ", ")
	launch, read := "upload, start, ", func(step int) string { return fmt.Sprintf("take, step %d, ", step) }
	want := launch + launch + read(1) + launch + read(2) + launch + read(3) + read(4) + launch + launch + read(5) + "take, step 6"
	if got != want {
		t.Errorf("the run does\n%s\nand not\n%s", got, want)
	}
	same(t, outcome(t, w.path("late")), outcome(t, w.path("straight")))
}

// recorded trains with and without recorded steps and compares what is left
// behind. It returns how often the recorded steps' launches were called.
func recorded(t *testing.T, w world, sets ...string) (called int) {
	t.Helper()
	cfg := w.config(t, append(everything, sets...)...)
	var calls []int
	train := func(dir string, wrap func(kernels.Device) kernels.Device) map[string]string {
		r, err := New(t.Context(), cfg, w.path(dir), Options{Device: wrap})
		check(t, err)
		check(t, r.Train(t.Context()))
		check(t, r.Close())
		return outcome(t, w.path(dir))
	}
	want := train("single", func(d kernels.Device) kernels.Device { return single{d} })
	same(t, train("recorded", func(d kernels.Device) kernels.Device { return recording{d, &calls} }), want)
	return slices.Max(calls) // the others run for pictures between the steps
}

// Steps are given to a device that records them, and otherwise do the same.
func TestStepsAreRecorded(t *testing.T) {
	for _, sets := range [][]string{{"kind=johnson"}, {"kind=video", "video.motion=2"}} {
		w := newWorld(t, 4)
		if called := recorded(t, w, append(sets, "train.device=cpu", "train.steps=5")...); called != 5 {
			t.Errorf("%v: the launches of %d steps were called, not of 5", sets, called)
		}
	}
}

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
