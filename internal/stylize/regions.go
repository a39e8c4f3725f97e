package stylize

import (
	"context"
	"errors"
	"slices"
	"sync"

	"stylenet/internal/images"
)

// Regions paints pictures with several models at once: all of a picture with
// Base, and over it, where a mask says so, parts with others. It closes them all,
// and nobody else uses them meanwhile. It is safe for concurrent use; pictures are
// then computed one after the other.
type Regions struct {
	// Base is nil where the rest of a picture stays as it is.
	Base  *Stylizer
	Parts []Region

	mu    sync.Mutex
	masks []*images.Mask // of the parts, for the picture before; empty for none
}

// Region is a part of pictures with a model of its own.
type Region struct {
	Stylizer *Stylizer
	// Mask makes the mask of a picture of w×h pixels: the part is where it is 1.
	Mask func(w, h int) (*images.Mask, error)
}

// maskShare is the share of the memory, as its inverse, in which masks are kept
// for the next picture.
const maskShare = 16

// Paint is Stylizer.Paint. All models share o.Memory, and their plans are kept as
// far as that goes. It takes another 12 bytes for each pixel, and 4 for a mask;
// where the masks take a small share of the memory all of them are kept, for more
// pictures of that size, as of a clip.
func (r *Regions) Paint(ctx context.Context, src images.Reader, dst images.Writer, o Options) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, h := src.Size()
	mask := 4 * int64(w) * int64(h)
	masks := mask * int64(len(r.Parts))
	keep := masks <= o.limit()/maskShare
	if !keep {
		masks = mask
	}
	if len(r.masks) > 0 {
		if mw, mh := r.masks[0].Size(); mw != w || mh != h || !keep {
			r.masks = nil
		}
	}
	whole := o.Progress
	if whole == nil {
		whole = func(float64) {}
	}
	steps := float64(1 + len(r.Parts))
	b := &blender{Picture: images.New(w, h), beside: dst.Bytes() + masks}
	if !src.Opaque() {
		b.Alpha = make([]float32, w*h)
	}
	o.Progress = func(share float64) { whole(share / steps) }
	if r.Base == nil {
		src.ReadRows(b.Picture, 0)
	} else if err := r.paint(ctx, r.Base, src, b, o); err != nil {
		return err
	}
	for i, part := range r.Parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i < len(r.masks) {
			b.mask = r.masks[i]
		} else {
			var err error
			if b.mask, err = part.Mask(w, h); err != nil {
				return err
			}
			if keep {
				r.masks = append(r.masks, b.mask)
			}
		}
		o.Progress = func(share float64) { whole((float64(i+1) + share) / steps) }
		if err := r.paint(ctx, part.Stylizer, src, b, o); err != nil {
			return err
		}
	}
	dst.WriteRows(b.Picture, 0)
	return nil
}

// paint paints with one of the models, beside the others.
func (r *Regions) paint(ctx context.Context, s *Stylizer, src images.Reader, dst images.Writer, o Options) error {
	o.beside = slices.DeleteFunc(r.stylizers(), func(other *Stylizer) bool { return other == s })
	return s.Paint(ctx, src, dst, o)
}

// stylizers are all models.
func (r *Regions) stylizers() []*Stylizer {
	var all []*Stylizer
	if r.Base != nil {
		all = append(all, r.Base)
	}
	for _, part := range r.Parts {
		all = append(all, part.Stylizer)
	}
	return all
}

// Close frees all models.
func (r *Regions) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for _, s := range r.stylizers() {
		err = errors.Join(err, s.Close())
	}
	return err
}

// blender is a picture that is painted over where a mask says so.
type blender struct {
	*images.Picture
	mask   *images.Mask // nil is all of the picture
	beside int64        // bytes of what the picture is copied to, and of masks
}

func (b *blender) Bytes() int64 { return b.beside + b.Picture.Bytes() }

func (b *blender) WriteRows(rows *images.Picture, from int) {
	if b.mask == nil {
		b.Picture.WriteRows(rows, from)
		return
	}
	share := b.mask.Rows(from, rows.H)
	for c := range 3 {
		dst, src := b.Plane(c)[from*b.W:], rows.Plane(c)
		for i, k := range share {
			dst[i] += k * (src[i] - dst[i])
		}
	}
}
