// Package stylize runs a style network on pictures of any size.
//
// It owns the border that makes a picture fit the network, the choice between
// the whole picture at once and strips of it, the plans that are kept for the
// sizes seen last, and what strength and colours mean. It refuses files and
// training.
package stylize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
)

// maxPlans bounds the memory that is held between pictures: photos of one
// camera come in two sizes, upright and across.
const maxPlans = 2

// Options say what is done besides running the network.
type Options struct {
	// Strength mixes the result with the content: 0 gives the content as it
	// is, 1 the network's output alone.
	Strength float32
	// KeepColors gives the result the colours of the content: KeepLuminance or
	// KeepMatch; "" takes the network's.
	KeepColors string
	// Scale is how large strokes are beside those that the network paints, 1/16
	// to 16: 2 shows the network the picture at half its size, and enlarges what
	// it paints. 0 is 1.
	Scale float64
	// Mask, unless nil, says where the result is painted: at 1. At 0 it is the
	// content. It has the size of the picture.
	Mask *images.Mask

	// Memory is what the process may take in all, in bytes; 0 is
	// DefaultMemory. A picture whose feature maps do not fit is run by strips,
	// with statistics of the whole picture, and as much of the maps as does not
	// fit is kept in temporary files. The result is the same but for rounding:
	// in float32 no value differs by more than 1.
	Memory int64
	// Rows runs every picture by strips of so many rows of the result. 0 leaves
	// the choice to the memory.
	Rows int
	// Progress, unless nil, is told the share of the picture that is done, 0 to
	// 1, on the way.
	Progress func(share float64)

	// beside are models that share the memory. Nobody uses them meanwhile.
	beside []*Stylizer
}

// The ways to keep the content's colours.
const (
	// KeepLuminance takes the luminance of the network's picture alone, and each
	// pixel's chroma from the content (Gatys et al. 2016, arXiv:1606.05897, 5.2).
	// Colours stay exactly where they were, so that strokes end at them.
	KeepLuminance = "luminance"
	// KeepMatch gives the network's colours, as a whole, the mean and the
	// covariance of the content's (5.1 there): strokes keep colours of their own,
	// from the content's range. It needs another 8 bytes for each pixel.
	KeepMatch = "match"
)

// MaxScale is the largest Scale; the smallest is 1/MaxScale.
const MaxScale = 16

// DefaultMemory is what the process may take unless it is told otherwise.
const DefaultMemory = 2 << 30

func (o Options) check() error {
	if !(o.Strength >= 0 && o.Strength <= 1) { // not a number fails too
		return fmt.Errorf("stylize: strength %v is not between 0 and 1", o.Strength)
	}
	if o.KeepColors != "" && o.KeepColors != KeepLuminance && o.KeepColors != KeepMatch {
		return fmt.Errorf("stylize: colours are kept by %s or %s, not by %q", KeepLuminance, KeepMatch, o.KeepColors)
	}
	if o.Scale != 0 && !(o.Scale >= 1./MaxScale && o.Scale <= MaxScale) {
		return fmt.Errorf("stylize: scale %v is not between 1/%d and %[2]d", o.Scale, MaxScale)
	}
	if o.Memory < 0 {
		return fmt.Errorf("stylize: a memory of %d bytes", o.Memory)
	}
	if o.Rows < 0 {
		return fmt.Errorf("stylize: strips of %d rows: give 1 or more, or 0 for as many as fit", o.Rows)
	}
	return nil
}

// Stylizer is a model on a device. It is safe for concurrent use; pictures are
// then computed one after the other.
type Stylizer struct {
	net             *networks.Network
	multiple, least int
	weights         int64                            // bytes
	free            func() (bytes int64, known bool) // for this process

	mu     sync.Mutex
	dev    kernels.Device // nil after Close
	params inference.Arrays
	plans  []*plan // used last first
}

// plan is the network bound to one size.
type plan struct {
	*inference.Plan
	h, w   int
	values []float32 // of the picture, and then of the result
	bytes  int64     // of maps and values
}

// Open puts a model on a device, which must stay open as long as the Stylizer. A
// network of many styles is to be mixed before: see model.Model's Mix.
func Open(dev kernels.Device, m *model.Model) (*Stylizer, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if _, ok := m.AnyStyle(); ok {
		return nil, errors.New("the model takes its style from a picture, and was given none")
	}
	m, err := m.Mix(nil)
	if err != nil {
		return nil, err
	}
	net, err := m.Network.Build()
	if err != nil {
		return nil, err
	}
	s := &Stylizer{net: net, free: FreeMemory}
	for _, t := range m.Weights.Tensors() {
		s.weights += 4 * int64(len(t.Data))
	}
	if s.multiple, s.least, err = net.Multiple(); err != nil {
		return nil, err
	}
	s.dev = dev.Scope()
	if s.params, err = inference.Upload(s.dev, net, m.Weights); err != nil {
		return nil, errors.Join(err, s.dev.Close())
	}
	return s, nil
}

// Close frees the model and the plans, but not the device.
func (s *Stylizer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dev == nil {
		return nil
	}
	err := errors.Join(s.drop(0), s.dev.Close())
	s.dev = nil
	return err
}

// Picture returns p in the model's style: in p's size, with p's alpha and values
// from 0 to 255. p is not changed. Errors are those of Paint.
func (s *Stylizer) Picture(ctx context.Context, p *images.Picture, o Options) (*images.Picture, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if p.W < 1 || p.H < 1 || len(p.Pix) != 3*p.W*p.H {
		return nil, fmt.Errorf("stylize: a picture of %d×%d with %d values", p.W, p.H, len(p.Pix))
	}
	out := images.New(p.W, p.H)
	out.Alpha = slices.Clone(p.Alpha)
	if err := s.Paint(ctx, p, out, o); err != nil {
		return nil, err
	}
	return out, nil
}

// Paint writes src in the model's style to dst, which has its size: values from
// 0 to 255, with src's alpha.
//
// A picture that does not fit into o.Memory, or what is free of it, even by
// strips gives a *SizeError. When ctx ends, Paint ends after the strip at hand,
// or after the network where the picture is run whole; dst is then incomplete.
func (s *Stylizer) Paint(ctx context.Context, src images.Reader, dst images.Writer, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Mask != nil {
		w, h := src.Size()
		if mw, mh := o.Mask.Size(); mw != w || mh != h {
			return fmt.Errorf("stylize: a mask of %d×%d for a picture of %d×%d", mw, mh, w, h)
		}
	}
	if o.Progress == nil {
		o.Progress = func(float64) {}
	}
	f := &finisher{src: src, dst: dst, o: o, alpha: !src.Opaque()}
	if o.Strength == 0 {
		return f.copy(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err // it may have ended while another picture was computed
	}
	if s.dev == nil {
		return errors.New("stylize: the model was closed")
	}
	if o.KeepColors == KeepMatch || o.Scale != 0 && o.Scale != 1 {
		return s.paintStaged(ctx, src, f, o)
	}
	return s.run(ctx, src, f, o)
}

// run writes what the network makes of src, within 0 to 255, to dst.
func (s *Stylizer) run(ctx context.Context, src images.Reader, dst images.Writer, o Options) error {
	w, h := src.Size()
	in := &border{src: src, w: w, h: h, wide: s.side(w), high: s.side(h)}
	have, full := s.memory(src, dst, o)
	maps, err := inference.MapBytes(s.dev, s.net, 1, in.high, in.wide)
	if err != nil {
		return err
	}
	whole := maps + 2*4*3*int64(in.high)*int64(in.wide) // values off the device
	if o.Rows == 0 && whole <= have {
		return s.paintWhole(ctx, in, dst, o, maps, have-whole)
	}
	err = s.paintStrips(ctx, in, dst, o, have)
	var memory *inference.MemoryError
	if errors.As(err, &memory) {
		return &SizeError{w, h, o.Rows, full, err}
	}
	return err
}

// side is the side of the padded picture: the next multiple that the network
// can take. The exported ONNX model computes the same.
func (s *Stylizer) side(n int) int {
	return max((n+s.multiple-1)/s.multiple*s.multiple, s.least)
}

// paintWhole runs the network on the whole picture at once, in maps of that many
// bytes. Plans for other sizes, and of other models, may go on taking left bytes.
func (s *Stylizer) paintWhole(ctx context.Context, in *border, dst images.Writer, o Options, maps, left int64) error {
	for _, other := range o.beside {
		var err error
		if left, err = other.keep(len(other.plans), left); err != nil {
			return err
		}
	}
	pl, err := s.plan(in.high, in.wide, maps, left)
	if err != nil {
		return err
	}
	values := pl.values
	in.read(values, 0, in.high)
	if err := pl.Device().Upload(pl.Input(), values); err != nil {
		return err
	}
	pl.Run()
	if err := pl.Device().Download(values, pl.Output(0)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	o.Progress(1)
	return in.emit(dst, values, 0, in.high)
}

// paintStrips runs the network by strips.
func (s *Stylizer) paintStrips(ctx context.Context, in *border, dst images.Writer, o Options, have int64) (err error) {
	for _, holder := range append([]*Stylizer{s}, o.beside...) {
		if err := holder.drop(0); err != nil {
			return err
		}
	}
	strips, err := inference.NewStrips(s.dev, s.net, s.params, in.high, in.wide, inference.Limits{Bytes: have, Rows: o.Rows})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, strips.Close()) }()
	read := func(values []float32, from, to int) error {
		in.read(values, from, to)
		return nil
	}
	write := func(values []float32, from, to int) error { return in.emit(dst, values, from, to) }
	return strips.Run(ctx, read, write, o.Progress)
}

// plan returns the plan for a size, a new one unless that size was among the
// last; its maps take that many bytes. Plans for other sizes are closed until they
// take no more than left bytes.
func (s *Stylizer) plan(h, w int, bytes, left int64) (*plan, error) {
	p := &plan{h: h, w: w, bytes: bytes + 4*3*int64(h)*int64(w)}
	if i := slices.IndexFunc(s.plans, func(p *plan) bool { return p.h == h && p.w == w }); i >= 0 {
		p = s.plans[i]
		s.plans = slices.Delete(s.plans, i, i+1)
	}
	if _, err := s.keep(maxPlans-1, left); err != nil {
		return nil, err
	}
	if p.Plan == nil {
		var err error
		if p.Plan, err = inference.Compile(s.dev, s.net, s.params, 1, h, w); err != nil {
			return nil, err
		}
		p.values = make([]float32, 3*h*w)
	}
	s.plans = slices.Insert(s.plans, 0, p)
	return p, nil
}

// keep closes plans until there are no more than most, those used last, which
// take no more than left bytes. It returns how much of left they do not take.
func (s *Stylizer) keep(most int, left int64) (int64, error) {
	n := 0
	for n < min(len(s.plans), most) && s.plans[n].bytes <= left {
		left -= s.plans[n].bytes
		n++
	}
	return left, s.drop(n)
}

// drop closes all plans but the n used last.
func (s *Stylizer) drop(n int) error {
	var err error
	for len(s.plans) > n {
		last := len(s.plans) - 1
		err = errors.Join(err, s.plans[last].Close())
		s.plans = s.plans[:last]
	}
	return err
}
