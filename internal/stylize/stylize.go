// Package stylize runs a style network on pictures of any size.
//
// It owns the border that makes a picture fit the network, the plans that are
// kept for the sizes seen last, and what strength and colours mean. It refuses
// files, training, and pictures that need more memory than there is.
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

// Options say what Picture does besides running the network.
type Options struct {
	// MaxSize shrinks a picture whose long side is longer, in pixels. 0 keeps
	// every size.
	MaxSize int
	// Strength mixes the result with the content: 0 gives the content as it
	// is, 1 the network's output alone.
	Strength float32
	// KeepColors gives the result the chroma of the content.
	KeepColors bool
}

func (o Options) check() error {
	if o.MaxSize < 0 {
		return fmt.Errorf("stylize: a largest side of %d pixels: give 1 or more, or 0 for no limit", o.MaxSize)
	}
	if !(o.Strength >= 0 && o.Strength <= 1) { // not a number fails too
		return fmt.Errorf("stylize: strength %v is not between 0 and 1", o.Strength)
	}
	return nil
}

// SizeError reports a picture that is too large for the memory of the device.
type SizeError struct {
	W, H int // pixels
	Err  error
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("a picture of %d×%d pixels is too large for this machine's memory: %v", e.W, e.H, e.Err)
}

func (e *SizeError) Unwrap() error { return e.Err }

// Stylizer is a model on a device. It is safe for concurrent use; pictures are
// then computed one after the other.
type Stylizer struct {
	net             *networks.Network
	multiple, least int

	mu     sync.Mutex
	dev    kernels.Device // nil after Close
	params inference.Arrays
	plans  []*plan // used last first
}

// plan is the network bound to one size.
type plan struct {
	*inference.Plan
	h, w int
	buf  []float32 // (3, h, w)
}

// Open puts a model on a device, which must stay open as long as the Stylizer.
func Open(dev kernels.Device, m *model.Model) (*Stylizer, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	net, err := m.Network.Build()
	if err != nil {
		return nil, err
	}
	s := &Stylizer{net: net}
	if s.multiple, s.least, err = m.Network.Multiple(); err != nil {
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

// Picture returns p in the model's style: in p's size, or smaller where
// o.MaxSize says so, with p's alpha and values from 0 to 255. p is not changed.
//
// A picture that does not fit into memory gives a *SizeError. ctx is looked at
// before the network starts; a picture under way is finished.
func (s *Stylizer) Picture(ctx context.Context, p *images.Picture, o Options) (*images.Picture, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if p.W < 1 || p.H < 1 || len(p.Pix) != 3*p.W*p.H {
		return nil, fmt.Errorf("stylize: a picture of %d×%d with %d values", p.W, p.H, len(p.Pix))
	}
	if o.MaxSize > 0 {
		var err error
		if p, err = images.FitWithin(p, o.MaxSize); err != nil {
			return nil, err
		}
	}
	if o.Strength == 0 {
		return p.Clone(), ctx.Err()
	}
	out, err := s.run(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := clamp(out.Pix); err != nil {
		return nil, err
	}
	if o.KeepColors {
		out = images.KeepColors(out, p)
	}
	if o.Strength < 1 {
		out = images.Blend(p, out, o.Strength)
	}
	if o.KeepColors || o.Strength < 1 {
		if err := clamp(out.Pix); err != nil {
			return nil, err
		}
	}
	out.Alpha = slices.Clone(p.Alpha)
	return out, nil
}

// run returns the network's output for p, as large as p.
func (s *Stylizer) run(ctx context.Context, p *images.Picture) (*images.Picture, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err // it may have ended while another picture was computed
	}
	if s.dev == nil {
		return nil, errors.New("stylize: the model was closed")
	}
	pl, err := s.plan(s.side(p.H), s.side(p.W))
	if err != nil {
		return nil, &SizeError{p.W, p.H, err}
	}
	pl.put(p)
	if err := pl.Device().Upload(pl.Input(), pl.buf); err != nil {
		return nil, err
	}
	pl.Run()
	if err := pl.Device().Download(pl.buf, pl.Output(0)); err != nil {
		return nil, err
	}
	return pl.get(p.W, p.H), nil
}

// side is the side of the padded picture: the next multiple that the network
// can take. The exported ONNX model computes the same.
func (s *Stylizer) side(n int) int {
	return max((n+s.multiple-1)/s.multiple*s.multiple, s.least)
}

// plan returns the plan for a size, a new one unless that size was among the
// last.
func (s *Stylizer) plan(h, w int) (*plan, error) {
	if i := slices.IndexFunc(s.plans, func(p *plan) bool { return p.h == h && p.w == w }); i >= 0 {
		p := s.plans[i]
		s.plans = slices.Insert(slices.Delete(s.plans, i, i+1), 0, p)
		return p, nil
	}
	if err := s.drop(maxPlans - 1); err != nil {
		return nil, err
	}
	p, err := s.compile(h, w)
	if err != nil && len(s.plans) > 0 {
		// What is kept for other sizes may be what is in the way.
		if err := s.drop(0); err != nil {
			return nil, err
		}
		p, err = s.compile(h, w)
	}
	if err != nil {
		return nil, err
	}
	s.plans = slices.Insert(s.plans, 0, p)
	return p, nil
}

func (s *Stylizer) compile(h, w int) (*plan, error) {
	if err := s.fits(h, w); err != nil {
		return nil, err
	}
	c, err := inference.Compile(s.dev, s.net, s.params, 1, h, w)
	if err != nil {
		return nil, err
	}
	return &plan{Plan: c, h: h, w: w, buf: make([]float32, 3*h*w)}, nil
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

// put copies p into the buffer and repeats its last column and row.
func (pl *plan) put(p *images.Picture) {
	for c := range 3 {
		src, dst := p.Plane(c), pl.buf[c*pl.h*pl.w:(c+1)*pl.h*pl.w]
		for y := range pl.h {
			row := dst[y*pl.w : (y+1)*pl.w]
			if y >= p.H {
				copy(row, dst[(p.H-1)*pl.w:])
				continue
			}
			for x := copy(row, src[y*p.W:(y+1)*p.W]); x < pl.w; x++ {
				row[x] = row[p.W-1]
			}
		}
	}
}

// get copies the top left w×h pixels out of the buffer.
func (pl *plan) get(w, h int) *images.Picture {
	out := images.New(w, h)
	for c := range 3 {
		dst, src := out.Plane(c), pl.buf[c*pl.h*pl.w:]
		for y := range h {
			copy(dst[y*w:(y+1)*w], src[y*pl.w:])
		}
	}
	return out
}

// clamp limits values to 0..255. Not a number would become black, so it is an
// error instead.
func clamp(pix []float32) error {
	for i, v := range pix {
		if v != v {
			return errors.New("stylize: the network's output is not a number: its weights are broken or beyond the range of float32")
		}
		pix[i] = min(max(v, 0), 255)
	}
	return nil
}
