package train

import (
	"errors"
	"fmt"
	"math"
	"time"

	"stylenet/internal/kernels"
)

// readings bring back what the host wants of each step: the losses, the norm of
// the gradients, the statistics of batch norms. A device that can does so while
// it computes the next step, whose launch need not wait for them then.
type readings struct {
	ahead  int // steps that may be launched before a step is read
	values []float32
	start  kernels.Kernel // behind a step's launches
	take   func([]float32) error
}

func newReadings(dev kernels.Device, arrays []kernels.Array) (*readings, error) {
	r := &readings{}
	for _, a := range arrays {
		r.values = append(r.values, make([]float32, a.Shape().Elements())...)
	}
	if f, ok := dev.(kernels.Fetcher); ok {
		var err error
		r.ahead = kernels.Fetches - 1
		r.start, r.take, err = f.Fetch(arrays)
		return r, err
	}
	r.start = func() {}
	r.take = func(dst []float32) error {
		for _, a := range arrays {
			n := a.Shape().Elements()
			if err := dev.Download(dst[:n], a); err != nil {
				return err
			}
			dst = dst[n:]
		}
		return nil
	}
	return r, nil
}

// openReadings lists what is read of a step, in the order in which read takes it.
func (r *Run) openReadings() (err error) {
	var arrays []kernels.Array
	for _, t := range r.terms {
		arrays = append(arrays, r.machine.Value(t.node))
	}
	arrays = append(arrays, r.squaredNorm)
	for _, l := range r.machine.Statistics() {
		arrays = append(arrays, l.Mean(), l.InvStd())
	}
	r.readings, err = newReadings(r.machine.Device(), arrays)
	return err
}

// settle reads launched steps, until no more than so many are left, and logs
// them. One whose losses or gradients are no numbers ends the run.
func (r *Run) settle(left int) error {
	for len(r.launched) > left {
		step := r.launched[0].Step
		m, err := r.read()
		if err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
		if problem := m.problem(); problem != "" {
			return r.diverged(step, problem)
		}
		if err := r.log(m); err != nil {
			return err // a checkpoint of this step would lack the line
		}
	}
	return nil
}

// read waits for the oldest step that was launched and takes in what it read.
func (r *Run) read() (Metrics, error) {
	m := r.launched[0]
	r.launched = r.launched[1:]
	rest := r.readings.values
	if err := r.readings.take(rest); err != nil {
		return m, err
	}
	next := func(n int) []float32 {
		v := rest[:n]
		rest = rest[n:]
		return v
	}
	for _, t := range r.terms {
		*t.metric(&m) += t.weight * float64(next(1)[0])
	}
	m.Loss = m.Content + m.Style + m.TotalVariation + m.Temporal
	m.squaredNorm = float64(next(1)[0])
	for _, l := range r.machine.Statistics() {
		channels := l.Mean().Shape().C
		r.running.update(l, next(channels), next(channels))
	}
	now := time.Now()
	elapsed := now.Sub(r.since).Seconds()
	r.since = now
	r.elapsed += elapsed
	m.ImagesPerSecond = float64(r.config.Train.Batch) / elapsed
	return m, nil
}

// problem says what of a step's losses and gradients is no number, or "". The
// loss alone does not tell: kernels that fuse ReLU turn a picture of NaN into
// features of zero, but its gradients stay NaN.
func (m Metrics) problem() string {
	switch {
	case !finite(m.Loss):
		return fmt.Sprintf("the loss is %g", m.Loss)
	case !finite(m.squaredNorm):
		return fmt.Sprintf("the norm of the gradients is %g", math.Sqrt(m.squaredNorm))
	}
	return ""
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// save writes a checkpoint before the run stops with err. It returns err as it
// is where that goes well.
func (r *Run) save(err error) error {
	failed := r.settle(0)
	if failed == nil {
		failed = r.checkpoint()
	}
	if failed != nil {
		return errors.Join(err, failed)
	}
	return err
}
