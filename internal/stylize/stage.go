package stylize

import (
	"context"
	"fmt"
	"math"

	"stylenet/internal/images"
)

// stage holds the network's picture until all of it is known, in 16 bits a
// sample: colours that are matched later are not to show steps.
type stage struct {
	w, h   int
	beside int64 // bytes of the result
	canvas *images.Canvas
	err    error
}

// stageDepth is the bits a sample; stagePixel what a pixel takes, in bytes.
const (
	stageDepth = 16
	stagePixel = 4 * stageDepth / 8
)

// Bytes is the memory that it takes, and that of the result.
func (s *stage) Bytes() int64 { return s.beside + stagePixel*int64(s.w)*int64(s.h) }

// WriteRows keeps rows. Room is made when there are some: what is too large for
// the memory has been refused then.
func (s *stage) WriteRows(p *images.Picture, from int) {
	if s.canvas == nil && s.err == nil {
		s.canvas, s.err = images.NewCanvas(s.w, s.h, "PNG", images.CanvasOptions{Depth: stageDepth})
	}
	if s.err == nil {
		s.canvas.WriteRows(p, from)
	}
}

// paintStaged runs the network at its scale, matches colours, and only then makes
// the result.
func (s *Stylizer) paintStaged(ctx context.Context, src images.Reader, f *finisher, o Options) error {
	w, h := src.Size()
	st := &stage{w: w, h: h, beside: f.Bytes()}
	in := src
	if o.Scale != 0 && o.Scale != 1 {
		st.w, st.h = side(w, o.Scale), side(h, o.Scale)
		scaled, err := images.NewScaled(src, st.w, st.h)
		if err != nil {
			return err
		}
		in = scaled
	}
	if err := s.run(ctx, in, st, o); err != nil {
		return err
	}
	if st.err != nil {
		return st.err
	}
	colors := func(*images.Picture) {}
	if o.KeepColors == KeepMatch {
		var from, to images.ColorStats
		var rows, alpha images.Picture
		err := each(ctx, st.w, st.h, func(y, n int) {
			p := sized(&rows, st.w, n, false)
			st.canvas.ReadRows(p, y)
			if f.alpha { // colours that nobody sees do not count
				content := sized(&alpha, st.w, n, true)
				in.ReadRows(content, y)
				p.Alpha = content.Alpha
			}
			from.Add(p)
		})
		if err != nil {
			return err
		}
		if err := each(ctx, w, h, func(y, n int) { to.Add(f.content(w, n, y)) }); err != nil {
			return err
		}
		m, err := images.NewColorMap(&from, &to)
		if err != nil {
			return fmt.Errorf("stylize: %w", err)
		}
		colors = func(p *images.Picture) {
			m.Apply(p)
			clamp(p.Pix)
		}
	}
	painted, err := images.NewScaled(st.canvas, w, h)
	if err != nil {
		return err
	}
	var rows images.Picture
	return each(ctx, w, h, func(y, n int) {
		p := sized(&rows, w, n, false)
		painted.ReadRows(p, y)
		colors(p)
		f.WriteRows(p, y)
	})
}

// side is that of the picture that the network sees.
func side(n int, scale float64) int { return max(1, int(math.Round(float64(n)/scale))) }

// each calls f for n rows from y on, over and over until all h are done or ctx
// ends, whose error it returns.
func each(ctx context.Context, w, h int, f func(y, n int)) error {
	for y := 0; y < h; y += chunkRows(w) {
		if err := ctx.Err(); err != nil {
			return err
		}
		f(y, min(chunkRows(w), h-y))
	}
	return nil
}
