package images

import (
	"fmt"
	"image"
)

// Planes is a rectangle of an opaque picture of 8-bit samples, which is how
// photos are kept between decoding and cropping. Crops of any part of a picture
// that holds what [Resampler.Reach] says are the same, bit for bit.
type Planes struct {
	W, H int             // the size of the whole picture
	Rect image.Rectangle // the part of it that Pix holds
	Pix  []uint8         // (3, Rect.Dy(), Rect.Dx()): R, G, B
}

// Planes writes p.Rect of s, resized to p.W×p.H by the algorithm of Resize, to
// p.Pix, which it lengthens where it must. Samples are rounded as Encode does;
// alpha is dropped.
func (r *Resampler) Planes(p *Planes, s *Source) error {
	n := 3 * p.Rect.Dx() * p.Rect.Dy()
	if cap(r.exact) < n {
		r.exact = make([]float32, n)
	}
	exact := r.exact[:n]
	if err := r.Crop(exact, s, p.W, p.H, p.Rect, false); err != nil {
		return err
	}
	if cap(p.Pix) < n {
		p.Pix = make([]uint8, n)
	}
	p.Pix = p.Pix[:n]
	for i, v := range exact {
		p.Pix[i] = toByte(v)
	}
	return nil
}

// Reach returns the rectangle of a picture of fromW×fromH that crop is computed
// from where the picture is resized to w×h.
func (r *Resampler) Reach(fromW, fromH, w, h int, crop image.Rectangle) image.Rectangle {
	r.x.set(fromW, w, crop.Min.X, crop.Max.X)
	r.y.set(fromH, h, crop.Min.Y, crop.Max.Y)
	x0, x1 := r.x.span()
	y0, y1 := r.y.span()
	return image.Rect(x0, y0, x1, y1)
}

// CropPlanes is Crop of the picture that p is, or is a part of.
func (r *Resampler) CropPlanes(dst []float32, p *Planes, w, h int, crop image.Rectangle, flip bool) error {
	cw, ch := crop.Dx(), crop.Dy()
	n := cw * ch
	switch whole := image.Rect(0, 0, p.W, p.H); {
	case w < 1 || h < 1 || crop.Empty() || !crop.In(image.Rect(0, 0, w, h)) || whole.Empty():
		return fmt.Errorf("cannot crop %v from a picture of %d×%d made of one of %d×%d", crop, w, h, p.W, p.H)
	case len(dst) != 3*n:
		return fmt.Errorf("a crop of %d×%d has %d values, not %d", cw, ch, 3*n, len(dst))
	case len(p.Pix) != 3*p.Rect.Dx()*p.Rect.Dy() || !p.Rect.In(whole) || !r.Reach(p.W, p.H, w, h, crop).In(p.Rect):
		return fmt.Errorf("the crop %v of a picture of %d×%d needs more than the part %v of %d×%d", crop, w, h, p.Rect, p.W, p.H)
	}
	rows := planesRows{p}
	if w != p.W || h != p.H {
		r.resample([][]float32{dst[:n], dst[n : 2*n], dst[2*n:]}, rows, w, h, crop, flip, false)
		return nil
	}
	for y := range ch {
		for c := range 3 {
			src := rows.line(c, crop.Min.Y+y, crop.Min.X, crop.Max.X)
			line := dst[c*n+y*cw:][:len(src)]
			if !flip {
				for i, v := range src {
					line[i] = float32(v)
				}
				continue
			}
			for i, v := range src {
				line[len(src)-1-i] = float32(v)
			}
		}
	}
	return nil
}

// planesRows hands out the lines of a Planes, by the whole picture's numbers.
type planesRows struct{ p *Planes }

func (r planesRows) size() (int, int) { return r.p.W, r.p.H }

// line returns x0 ≤ x < x1 of one plane's line y.
func (r planesRows) line(plane, y, x0, x1 int) []uint8 {
	w, h := r.p.Rect.Dx(), r.p.Rect.Dy()
	at := (plane*h+y-r.p.Rect.Min.Y)*w - r.p.Rect.Min.X
	return r.p.Pix[at+x0 : at+x1]
}

func (r planesRows) row(y, x0, x1 int, dst [][]float32) {
	for c := range 3 {
		src := r.line(c, y, x0, x1)
		line := dst[c][:len(src)]
		for i, v := range src {
			line[i] = float32(v)
		}
	}
	if len(dst) > 3 {
		fill(dst[3][:x1-x0], 1)
	}
}
