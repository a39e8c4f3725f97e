package stylize

import (
	"context"
	"errors"

	"stylenet/internal/images"
)

// Regions paints pictures with several models at once: all of a picture with
// Base, and over it, where a mask says so, parts with others. It closes them all.
type Regions struct {
	// Base is nil where the rest of a picture stays as it is.
	Base  *Stylizer
	Parts []Region
}

// Region is a part of pictures with a model of its own.
type Region struct {
	Stylizer *Stylizer
	// Mask makes the mask of a picture of w×h pixels: the part is where it is 1.
	Mask func(w, h int) (*images.Mask, error)
}

// Paint is Stylizer.Paint. It takes another 12 bytes for each pixel, and 4 for a
// mask.
func (r *Regions) Paint(ctx context.Context, src images.Reader, dst images.Writer, o Options) error {
	w, h := src.Size()
	whole := o.Progress
	if whole == nil {
		whole = func(float64) {}
	}
	steps := float64(1 + len(r.Parts))
	b := &blender{Picture: images.New(w, h), beside: dst.Bytes()}
	if !src.Opaque() {
		b.Alpha = make([]float32, w*h)
	}
	o.Progress = func(share float64) { whole(share / steps) }
	if r.Base == nil {
		src.ReadRows(b.Picture, 0)
	} else if err := r.Base.Paint(ctx, src, b, o); err != nil {
		return err
	}
	for i, part := range r.Parts {
		var err error
		if b.mask, err = part.Mask(w, h); err != nil {
			return err
		}
		o.Progress = func(share float64) { whole((float64(i+1) + share) / steps) }
		if err := part.Stylizer.Paint(ctx, src, b, o); err != nil {
			return err
		}
	}
	dst.WriteRows(b.Picture, 0)
	return nil
}

// Close frees all models.
func (r *Regions) Close() error {
	var err error
	if r.Base != nil {
		err = r.Base.Close()
	}
	for _, part := range r.Parts {
		err = errors.Join(err, part.Stylizer.Close())
	}
	return err
}

// blender is a picture that is painted over where a mask says so.
type blender struct {
	*images.Picture
	mask   *images.Mask // nil is all of the picture
	beside int64        // bytes of what the picture is copied to
}

func (b *blender) Bytes() int64 {
	if b.mask == nil {
		return b.beside + b.Picture.Bytes()
	}
	return b.beside + b.Picture.Bytes() + b.mask.Bytes()
}

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
