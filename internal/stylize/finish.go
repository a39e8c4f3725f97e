package stylize

import (
	"context"
	"errors"
	"slices"

	"stylenet/internal/images"
)

// border reads a picture whose last column and row are repeated until the
// network can take it.
type border struct {
	src        images.Reader
	w, h       int // of the picture
	wide, high int // with the border
	rows       images.Picture
}

// read fills values, (3, to−from, wide), with rows.
func (b *border) read(values []float32, from, to int) {
	for y := from; y < to; y += chunkRows(b.w) {
		b.chunk(values, from, to, y, min(y+chunkRows(b.w), to))
	}
}

// chunk fills the rows y0 to y1 of values.
func (b *border) chunk(values []float32, from, to, y0, y1 int) {
	first := min(y0, b.h-1)
	p := sized(&b.rows, b.w, max(min(y1, b.h)-first, 1), false)
	b.src.ReadRows(p, first)
	for c := range 3 {
		plane := p.Plane(c)
		for y := y0; y < y1; y++ {
			src := plane[min(y-first, p.H-1)*b.w:][:b.w]
			dst := values[(c*(to-from)+y-from)*b.wide:][:b.wide]
			for x := copy(dst, src); x < len(dst); x++ {
				dst[x] = src[b.w-1]
			}
		}
	}
}

// chunkRows is how many rows are converted at once: few, so that they stay in
// the caches and need no memory to speak of.
func chunkRows(w int) int { return max(1, 1<<16/w) }

// sized makes p a picture of w×h pixels, in the memory that it has.
func sized(p *images.Picture, w, h int, alpha bool) *images.Picture {
	p.W, p.H = w, h
	p.Pix = slices.Grow(p.Pix[:0], 3*w*h)[:3*w*h]
	if !alpha {
		p.Alpha = nil
		return p
	}
	p.Alpha = slices.Grow(p.Alpha[:0], w*h)[:w*h]
	return p
}

// finisher makes the result's rows of the network's.
type finisher struct {
	src   images.Reader
	dst   images.Writer
	o     Options
	alpha bool

	out, in images.Picture // rows at hand
}

// finish takes the rows from ≤ y < to of the network's output, (3, to−from,
// wide), border included.
func (f *finisher) finish(b *border, values []float32, from, to int) error {
	to, n := min(to, b.h), to-from
	for y := from; y < to; {
		out := sized(&f.out, b.w, min(chunkRows(b.w), to-y), false)
		for c := range 3 {
			plane := out.Plane(c)
			for i := range out.H {
				copy(plane[i*b.w:(i+1)*b.w], values[(c*n+y-from+i)*b.wide:])
			}
		}
		if err := f.write(out, y); err != nil {
			return err
		}
		y += out.H
	}
	return nil
}

// write mixes rows of the network's output with the content.
func (f *finisher) write(out *images.Picture, from int) error {
	if err := clamp(out.Pix); err != nil {
		return err
	}
	if f.alpha || f.o.KeepColors || f.o.Strength < 1 {
		content := f.content(out.W, out.H, from)
		if f.o.KeepColors {
			out = images.KeepColors(out, content)
		}
		if f.o.Strength < 1 {
			out = images.Blend(content, out, f.o.Strength)
		}
		if err := clamp(out.Pix); err != nil {
			return err
		}
		out.Alpha = content.Alpha
	}
	f.dst.WriteRows(out, from)
	return nil
}

// content reads rows of the content.
func (f *finisher) content(w, n, from int) *images.Picture {
	p := sized(&f.in, w, n, f.alpha)
	f.src.ReadRows(p, from)
	return p
}

// copy makes the result the content.
func (f *finisher) copy(ctx context.Context) error {
	w, h := f.src.Size()
	for y := 0; y < h; y += chunkRows(w) {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.dst.WriteRows(f.content(w, min(chunkRows(w), h-y), y), y)
	}
	f.o.Progress(1)
	return nil
}

// clamp limits values to 0..255. Not a number would become black, so it is an
// error instead.
func clamp(pix []float32) error {
	if i := slices.IndexFunc(pix, func(v float32) bool { return v != v }); i >= 0 {
		return errors.New("stylize: the network's output is not a number: its weights are broken or beyond the range of float32")
	}
	for i, v := range pix {
		pix[i] = min(max(v, 0), 255)
	}
	return nil
}
