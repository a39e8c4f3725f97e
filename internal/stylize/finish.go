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
	w, h       int            // of the picture
	wide, high int            // with the border
	rows, out  images.Picture // at hand
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

// finisher makes the result of the network's picture, rows of which are written
// to it: values from 0 to 255.
type finisher struct {
	src   images.Reader
	dst   images.Writer
	o     Options
	alpha bool

	in images.Picture // rows at hand
}

// Bytes is the memory that the result takes, and what it is made with.
func (f *finisher) Bytes() int64 {
	n := f.dst.Bytes()
	if f.o.Mask != nil {
		n += f.o.Mask.Bytes()
	}
	return n
}

// WriteRows mixes rows of the network's picture with the content.
func (f *finisher) WriteRows(out *images.Picture, from int) {
	if f.alpha || f.o.KeepColors == KeepLuminance || f.o.Strength < 1 || f.o.Mask != nil {
		content := f.content(out.W, out.H, from)
		if f.o.KeepColors == KeepLuminance {
			out = images.KeepColors(out, content)
		}
		if f.o.Strength < 1 {
			out = images.Blend(content, out, f.o.Strength)
		}
		if f.o.Mask != nil {
			out = images.Mix(content, out, f.o.Mask.Rows(from, out.H))
		}
		clamp(out.Pix)
		out.Alpha = content.Alpha
	}
	f.dst.WriteRows(out, from)
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
	if err := each(ctx, w, h, func(y, n int) { f.dst.WriteRows(f.content(w, n, y), y) }); err != nil {
		return err
	}
	f.o.Progress(1)
	return nil
}

// emit writes the rows from ≤ y < to of the network's output, (3, to−from,
// wide), to dst: without the border, and within 0 to 255.
func (b *border) emit(dst images.Writer, values []float32, from, to int) error {
	to, n := min(to, b.h), to-from
	for y := from; y < to; {
		out := sized(&b.out, b.w, min(chunkRows(b.w), to-y), false)
		for c := range 3 {
			plane := out.Plane(c)
			for i := range out.H {
				copy(plane[i*b.w:(i+1)*b.w], values[(c*n+y-from+i)*b.wide:])
			}
		}
		if slices.ContainsFunc(out.Pix, func(v float32) bool { return v != v }) {
			// It would become black.
			return errors.New("stylize: the network's output is not a number: its weights are broken or beyond the range of float32")
		}
		clamp(out.Pix)
		dst.WriteRows(out, y)
		y += out.H
	}
	return nil
}

// clamp limits values to 0..255.
func clamp(pix []float32) {
	for i, v := range pix {
		pix[i] = min(max(v, 0), 255)
	}
}
