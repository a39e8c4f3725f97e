package images

import (
	"fmt"
	"image"
	"math"
)

// Resize returns p at w×h pixels, both at least 1 and no more than
// DefaultMaxPixels in all, by the triangle filter
// whose support grows with the reduction, so that shrinking averages instead
// of skipping pixels: Pillow's BILINEAR, without its rounding to bytes.
// Colours are weighted by alpha while they are mixed, so that what hides under
// transparent pixels does not bleed out.
func Resize(p *Picture, w, h int) (*Picture, error) {
	if w < 1 || h < 1 {
		return nil, fmt.Errorf("cannot resize a picture to %d×%d: both sides must be at least 1", w, h)
	}
	if w == p.W && h == p.H {
		return p.Clone(), nil
	}
	if h > DefaultMaxPixels/w { // a product could overflow
		return nil, fmt.Errorf("cannot resize a picture to %d×%d: that is more than the limit of %d pixels", w, h, DefaultMaxPixels)
	}
	out := New(w, h)
	if p.Alpha != nil {
		out.Alpha = make([]float32, w*h)
	}
	var r Resampler
	r.resample(out.planes(), pictureRows{p}, w, h, image.Rect(0, 0, w, h), false, false)
	straighten(out.planes()[:3], out.Alpha)
	return out, nil
}

// FitWithin returns p with its long side at most maxSize pixels: p itself
// where it fits already.
func FitWithin(p *Picture, maxSize int) (*Picture, error) {
	if maxSize < 1 {
		return nil, fmt.Errorf("cannot fit a picture within %d pixels", maxSize)
	}
	if max(p.W, p.H) <= maxSize {
		return p, nil
	}
	w, h := LongSide(p.W, p.H, maxSize)
	return Resize(p, w, h)
}

// LongSide returns the size of a w×h picture scaled so that its long side is
// size pixels. Neither side is less than 1.
func LongSide(w, h, size int) (int, int) {
	k := float64(size) / float64(max(w, h))
	return max(1, scaled(w, k)), max(1, scaled(h, k))
}

// ShortSide returns the size of a w×h picture scaled so that its short side is
// size pixels. Neither side is less than that.
func ShortSide(w, h, size int) (int, int) {
	k := float64(size) / float64(min(w, h))
	return max(size, scaled(w, k)), max(size, scaled(h, k))
}

// scaled rounds halves to even, as Python's round does: the sizes then equal
// those of the PyTorch recipes that training is compared with.
func scaled(n int, k float64) int { return int(math.RoundToEven(float64(n) * k)) }

// Crop returns the w×h pixels of p from (x, y) on, as a copy.
func Crop(p *Picture, x, y, w, h int) (*Picture, error) {
	if w < 1 || h < 1 || x < 0 || y < 0 || w > p.W-x || h > p.H-y {
		return nil, fmt.Errorf("cannot crop %d×%d at (%d, %d) from a picture of %d×%d", w, h, x, y, p.W, p.H)
	}
	out := New(w, h)
	if p.Alpha != nil {
		out.Alpha = make([]float32, w*h)
	}
	src := p.planes()
	for c, dst := range out.planes() {
		for i := range h {
			copy(dst[i*w:(i+1)*w], src[c][(y+i)*p.W+x:])
		}
	}
	return out, nil
}

// Centre returns the square in the middle of p, as large as fits, at side×side
// pixels.
func Centre(p *Picture, side int) (*Picture, error) {
	w, h := ShortSide(p.W, p.H, side)
	p, err := Resize(p, w, h)
	if err != nil {
		return nil, err
	}
	return Crop(p, (w-side)/2, (h-side)/2, side, side)
}

// FlipHorizontal returns p mirrored left to right.
func FlipHorizontal(p *Picture) *Picture {
	out := p.Clone()
	for _, plane := range out.planes() {
		for y := range p.H {
			line := plane[y*p.W : (y+1)*p.W]
			for i, j := 0, len(line)-1; i < j; i, j = i+1, j-1 {
				line[i], line[j] = line[j], line[i]
			}
		}
	}
	return out
}

// pictureRows hands out a Picture's lines; with alpha, premultiplied ones.
type pictureRows struct{ p *Picture }

func (r pictureRows) size() (int, int) { return r.p.W, r.p.H }

func (r pictureRows) row(y, x0, x1 int, dst [][]float32) {
	at := y * r.p.W
	for c, plane := range r.p.planes() {
		copy(dst[c][:x1-x0], plane[at+x0:at+x1])
	}
	if r.p.Alpha == nil {
		return
	}
	alpha := dst[3][:x1-x0]
	for c := range 3 {
		line := dst[c]
		for i, a := range alpha {
			line[i] *= a
		}
	}
}

// Resampler cuts resized crops out of sources. The zero value is ready for
// use; it keeps its buffers between calls and is not for use by several
// goroutines at once.
type Resampler struct {
	x, y  taps
	line  [][]float32 // one source line, as wide as the crop needs
	thin  [][]float32 // the same, resampled to the crop's width
	turn  []float32   // the crop before it is turned upright
	lines []float32   // backs line and thin
	exact []float32   // what Planes rounds
}

// Crop writes what cropping crop from s, resized to w×h, gives: the algorithm
// of Resize, but only the pixels of the crop are computed. dst is
// (3, crop.Dy(), crop.Dx()), RGB 0 to 255; alpha is dropped, as Pillow's
// conversion to RGB does. flip mirrors the crop left to right.
func (r *Resampler) Crop(dst []float32, s *Source, w, h int, crop image.Rectangle, flip bool) error {
	if w < 1 || h < 1 || crop.Empty() || !crop.In(image.Rect(0, 0, w, h)) {
		return fmt.Errorf("cannot crop %v from a picture of %d×%d", crop, w, h)
	}
	cw, ch := crop.Dx(), crop.Dy()
	n := cw * ch
	if len(dst) != 3*n {
		return fmt.Errorf("a crop of %d×%d has %d values, not %d", cw, ch, 3*n, len(dst))
	}
	flipX, flipY := s.orient.flips()
	if !s.orient.transposed() {
		// The crop's place in the picture as it is stored.
		if flipX {
			crop.Min.X, crop.Max.X = w-crop.Max.X, w-crop.Min.X
		}
		if flipY {
			crop.Min.Y, crop.Max.Y = h-crop.Max.Y, h-crop.Min.Y
		}
		r.resample([][]float32{dst[:n], dst[n : 2*n], dst[2*n:]}, s.pixels, w, h, crop, flipX != flip, flipY)
		return nil
	}
	crop.Min.X, crop.Min.Y = crop.Min.Y, crop.Min.X
	crop.Max.X, crop.Max.Y = crop.Max.Y, crop.Max.X
	if flipX {
		crop.Min.X, crop.Max.X = h-crop.Max.X, h-crop.Min.X
	}
	if flipY {
		crop.Min.Y, crop.Max.Y = w-crop.Max.Y, w-crop.Min.Y
	}
	if cap(r.turn) < 3*n {
		r.turn = make([]float32, 3*n)
	}
	turn := r.turn[:3*n]
	r.resample([][]float32{turn[:n], turn[n : 2*n], turn[2*n:]}, s.pixels, h, w, crop, flipX, flipY != flip)
	for c := range 3 {
		src, dst := turn[c*n:], dst[c*n:]
		for y := range ch {
			for x := range cw {
				dst[y*cw+x] = src[x*ch+y]
			}
		}
	}
	return nil
}

// resample writes the rectangle crop of src, resized to w×h, to dst, one slice
// of crop.Dy()×crop.Dx() a plane; flipX and flipY mirror the result.
//
// Each source line is shrunk to the crop's width once and then added to the
// few output lines that it weighs in, so that nothing of the source's size is
// ever kept.
func (r *Resampler) resample(dst [][]float32, src rows, w, h int, crop image.Rectangle, flipX, flipY bool) {
	sw, sh := src.size()
	cw, ch := crop.Dx(), crop.Dy()
	r.x.set(sw, w, crop.Min.X, crop.Max.X)
	r.y.set(sh, h, crop.Min.Y, crop.Max.Y)
	x0, x1 := r.x.span()
	r.buffers(len(dst), x1-x0, cw)
	for _, plane := range dst {
		clear(plane)
	}

	first := 0 // output lines before it are complete
	y0, y1 := r.y.span()
	for sy := y0; sy < y1; sy++ {
		src.row(sy, x0, x1, r.line)
		for c, line := range r.line {
			thin := r.thin[c]
			for i := range thin {
				k := r.x.weights(i)
				from := line[r.x.start[i]-x0:][:len(k)]
				var sum float32
				for j, kj := range k {
					sum += kj * from[j]
				}
				thin[i] = sum
			}
		}
		for first < ch && r.y.end(first) <= sy {
			first++
		}
		for oy := first; oy < ch && r.y.start[oy] <= sy; oy++ {
			k := r.y.weights(oy)[sy-r.y.start[oy]]
			at := oy * cw
			if flipY {
				at = (ch - 1 - oy) * cw
			}
			for c, plane := range dst {
				thin := r.thin[c]
				out := plane[at : at+cw][:len(thin)]
				for i, v := range thin {
					out[i] += k * v
				}
			}
		}
	}
	if flipX {
		for _, plane := range dst {
			for y := range ch {
				line := plane[y*cw : (y+1)*cw]
				for i, j := 0, cw-1; i < j; i, j = i+1, j-1 {
					line[i], line[j] = line[j], line[i]
				}
			}
		}
	}
}

func (r *Resampler) buffers(planes, wide, thin int) {
	n := planes * (wide + thin)
	if cap(r.lines) < n {
		r.lines = make([]float32, n)
	}
	rest := r.lines[:n]
	r.line, r.thin = r.line[:0], r.thin[:0]
	for range planes {
		r.line, rest = append(r.line, rest[:wide:wide]), rest[wide:]
		r.thin, rest = append(r.thin, rest[:thin:thin]), rest[thin:]
	}
}

// taps holds, for a range of output pixels along one side, the input pixels
// that each mixes and their weights.
type taps struct {
	start []int // first input pixel of each output pixel
	off   []int // its weights are all[off[i]:off[i+1]]
	all   []float32
}

func (t *taps) weights(i int) []float32 { return t.all[t.off[i]:t.off[i+1]] }

// end returns the input pixel after the last that output pixel i mixes.
func (t *taps) end(i int) int { return t.start[i] + t.off[i+1] - t.off[i] }

// span returns the range of input pixels that any output pixel mixes.
func (t *taps) span() (from, to int) { return t.start[0], t.end(len(t.start) - 1) }

// set computes the output pixels from ≤ i < to of a side of in pixels resized
// to out. The arithmetic is that of Pillow's precompute_coeffs for BILINEAR.
func (t *taps) set(in, out, from, to int) {
	t.start, t.off, t.all = t.start[:0], append(t.off[:0], 0), t.all[:0]
	scale := float64(in) / float64(out)
	support := max(scale, 1) // of the triangle, in input pixels
	for i := from; i < to; i++ {
		centre := (float64(i) + .5) * scale
		lo := max(int(centre-support+.5), 0)
		hi := min(int(centre+support+.5), in)
		triangle := func(x int) float64 {
			return max(0, 1-math.Abs((float64(x)-centre+.5)/support))
		}
		// Ends without weight would only cost time.
		for hi-lo > 1 && triangle(lo) == 0 {
			lo++
		}
		for hi-lo > 1 && triangle(hi-1) == 0 {
			hi--
		}
		sum := 0.
		for x := lo; x < hi; x++ {
			sum += triangle(x)
		}
		for x := lo; x < hi; x++ {
			t.all = append(t.all, float32(triangle(x)/sum))
		}
		t.start = append(t.start, lo)
		t.off = append(t.off, len(t.all))
	}
}
