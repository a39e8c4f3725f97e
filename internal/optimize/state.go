package optimize

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/weights"
)

// State is where an optimisation stands between two steps. With it one goes on
// as if it had never stopped, on the same machine and threads.
type State struct {
	Scale int `json:"scale"` // the index of the scale at hand
	Step  int `json:"step"`  // evaluations of it that are done
	// Inputs identifies the options, pictures and weights of VGG-19.
	Inputs string `json:"inputs"`
	// Optimizer is the optimiser's own, and Tensors what it keeps on the device
	// beside the picture, "x".
	Optimizer json.RawMessage `json:"optimizer"`
	Tensors   *weights.Set    `json:"-"`
}

// fits reports a state of other inputs.
func (r *Run) fits(s *State) error {
	if s.Inputs != r.inputs {
		return errors.New("the saved state is of other pictures, settings or weights of VGG-19: they have changed since")
	}
	if s.Scale < 0 || s.Scale >= len(r.o.Scales) || s.Step < 0 || s.Step > r.o.Scales[s.Scale].Steps || s.Tensors == nil {
		return fmt.Errorf("the saved state is of step %d at scale %d, which there is not", s.Step, s.Scale)
	}
	return nil
}

// checksum is of everything that the result depends on.
func (r *Run) checksum() string {
	h := sha256.New()
	o := &r.o
	picture := func(p *images.Picture) {
		if p == nil {
			fmt.Fprintln(h, "none")
			return
		}
		fmt.Fprintln(h, p.W, p.H, len(p.Alpha))
		binary.Write(h, binary.LittleEndian, p.Pix)
		binary.Write(h, binary.LittleEndian, p.Alpha)
	}
	picture(o.Content)
	picture(o.Start)
	for _, s := range o.Styles {
		picture(s.Picture)
		picture(s.Mask)
		picture(s.Region)
		fmt.Fprintln(h, s.Weight)
	}
	fmt.Fprintln(h, o.Noise, o.Seed, r.recipe, o.AveragePooling, o.Scales, o.StyleScale, o.Optimizer, o.History, o.Rate, r.vgg.Description)
	info := r.dev.Info()
	fmt.Fprintln(h, info.Backend, info.Threads, info.Exact, info.Precision)
	return hex.EncodeToString(h.Sum(nil))
}

// checkpoint hands the state to the caller.
func (w *work) checkpoint() error {
	s, err := w.state()
	if err != nil {
		return err
	}
	return w.r.o.Checkpoint(s)
}

func (w *work) state() (*State, error) {
	s := &State{Scale: w.scale, Step: w.step, Inputs: w.r.inputs, Tensors: &weights.Set{}}
	if err := s.put(w.f.machine.Device(), "x", w.f.x); err != nil {
		return nil, err
	}
	return s, w.m.save(s)
}

func (w *work) restore(s *State) error {
	w.step = s.Step
	if err := s.get(w.f.machine.Device(), "x", w.f.x); err != nil {
		return err
	}
	return w.m.restore(s)
}

// put adds an array's values, and get reads them.
func (s *State) put(dev kernels.Device, name string, a kernels.Array) error {
	shape := a.Shape()
	values := make([]float32, shape.Elements())
	if err := dev.Download(values, a); err != nil {
		return err
	}
	return s.Tensors.Add(name, []int{shape.N, shape.C, shape.H, shape.W}, values)
}

func (s *State) get(dev kernels.Device, name string, a kernels.Array) error {
	t := s.Tensors.Get(name)
	if t == nil || len(t.Data) != a.Shape().Elements() {
		return fmt.Errorf("the saved state has no tensor %q of %d values", name, a.Shape().Elements())
	}
	return dev.Upload(a, t.Data)
}

// lbfgsState is what L-BFGS knows beside its vectors.
type lbfgsState struct {
	Pairs int         `json:"pairs"`
	Known bool        `json:"known"`
	At    Losses      `json:"at"`
	SY    [][]float64 `json:"sy"`
	YY    [][]float64 `json:"yy"`
}

func (o *lbfgs) save(s *State) (err error) {
	if s.Optimizer, err = json.Marshal(lbfgsState{o.pairs, o.known, o.at, o.sy, o.yy}); err != nil {
		return err
	}
	return o.vectors(func(name string, a kernels.Array) error { return s.put(o.dev, name, a) })
}

func (o *lbfgs) restore(s *State) error {
	var state lbfgsState
	if err := json.Unmarshal(s.Optimizer, &state); err != nil {
		return fmt.Errorf("the saved state of the optimiser: %w", err)
	}
	if state.Pairs < 0 || !square(state.SY, o.history) || !square(state.YY, o.history) {
		return fmt.Errorf("the saved state of the optimiser is not one of %d steps", o.history)
	}
	o.pairs, o.known, o.at, o.sy, o.yy = state.Pairs, state.Known, state.At, state.SY, state.YY
	return o.vectors(func(name string, a kernels.Array) error { return s.get(o.dev, name, a) })
}

// vectors calls f with every array that later steps read.
func (o *lbfgs) vectors(f func(name string, a kernels.Array) error) error {
	if err := f("gradient", o.g); err != nil {
		return err
	}
	for i := range min(o.pairs, o.history) {
		err := errors.Join(f(fmt.Sprintf("s.%d", i), o.s[i]), f(fmt.Sprintf("y.%d", i), o.y[i]))
		if err != nil {
			return err
		}
	}
	return nil
}

func square(m [][]float64, n int) bool {
	for _, row := range m {
		if len(row) != n {
			return false
		}
	}
	return len(m) == n
}

func (o *adam) save(s *State) (err error) {
	if s.Optimizer, err = json.Marshal(o.settings.Step); err != nil {
		return err
	}
	return errors.Join(s.put(o.dev, "m", o.m), s.put(o.dev, "v", o.v))
}

func (o *adam) restore(s *State) error {
	if err := json.Unmarshal(s.Optimizer, &o.settings.Step); err != nil || o.settings.Step < 0 {
		return fmt.Errorf("the saved state of the optimiser: step %s", s.Optimizer)
	}
	return errors.Join(s.get(o.dev, "m", o.m), s.get(o.dev, "v", o.v))
}
