package images

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"

	"stylenet/internal/atomicfile"
)

// Canvas is a picture made row by row, in the layout of the format that it will
// be written in. Values are rounded as Encode says. It can be read by rows too:
// what is read are the rounded values, and of JPEG those of its colours (YCbCr)
// in 8 bits.
type Canvas struct {
	w, h   int
	format *encoder
	depth  int          // bits a sample, 8 or 16
	alpha  bool         // pix is straight, with alpha; else opaque
	pix    []uint8      // (h, w, R G B A), of depth bits each, big-endian; nil for JPEG
	ycc    *image.YCbCr // of JPEG
}

// CanvasOptions say what a canvas holds. Formats without alpha, or without 16
// bits, do without.
type CanvasOptions struct {
	Alpha bool // else pictures with alpha are painted on white
	Depth int  // bits a sample: 16, or 8, which 0 stands for
}

// NewCanvas makes a canvas for one of EncodeFormats (in upper or lower case). A
// size that the format cannot hold is an *UnsupportedError.
func NewCanvas(w, h int, format string, o CanvasOptions) (*Canvas, error) {
	e, err := encoderNamed(format)
	if err != nil {
		return nil, err
	}
	if w < 1 || h < 1 {
		return nil, fmt.Errorf("cannot encode a picture of %d×%d", w, h)
	}
	c := &Canvas{w: w, h: h, format: e, depth: 8, alpha: o.Alpha && e.alpha}
	switch {
	case o.Depth == 16 && e.deep:
		c.depth = 16
	case o.Depth != 0 && o.Depth != 8 && o.Depth != 16:
		return nil, fmt.Errorf("a canvas of %d bits a sample: give 8 or 16", o.Depth)
	}
	if err := e.fits(w, h, c.depth); err != nil {
		return nil, err
	}
	if e.ycc {
		c.ycc = image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio444)
	} else {
		c.pix = make([]uint8, c.pixelBytes()*w*h)
	}
	return c, nil
}

// pixelBytes is how many bytes of pix a pixel takes.
func (c *Canvas) pixelBytes() int { return c.depth / 2 }

// Size returns the width and height.
func (c *Canvas) Size() (w, h int) { return c.w, c.h }

// Depth returns the bits a sample: 8 or 16.
func (c *Canvas) Depth() int { return c.depth }

// Opaque says that the canvas has no alpha.
func (c *Canvas) Opaque() bool { return !c.alpha }

// Bytes is the memory that c takes.
func (c *Canvas) Bytes() int64 {
	if c.ycc != nil {
		return 3 * int64(len(c.ycc.Y))
	}
	return int64(len(c.pix))
}

// WriteRows paints rows.
func (c *Canvas) WriteRows(src *Picture, from int) {
	if src.Alpha != nil && !c.alpha {
		src = over(src, 255)
	}
	r, g, b := src.Plane(0), src.Plane(1), src.Plane(2)
	first := from * c.w
	if c.ycc != nil {
		y, cb, cr := c.ycc.Y[first:], c.ycc.Cb[first:], c.ycc.Cr[first:]
		for i := range r {
			y[i], cb[i], cr[i] = color.RGBToYCbCr(toByte(r[i]), toByte(g[i]), toByte(b[i]))
		}
		return
	}
	pix := c.pix[c.pixelBytes()*first:]
	if c.depth == 16 {
		for i := range r {
			o := pix[8*i : 8*i+8 : 8*i+8]
			put16(o, r[i])
			put16(o[2:], g[i])
			put16(o[4:], b[i])
			o[6], o[7] = 255, 255
		}
		for i, a := range src.Alpha {
			put16(pix[8*i+6:], a*255)
		}
		return
	}
	for i := range r {
		o := pix[4*i : 4*i+4 : 4*i+4]
		o[0], o[1], o[2], o[3] = toByte(r[i]), toByte(g[i]), toByte(b[i]), 255
	}
	for i, a := range src.Alpha {
		pix[4*i+3] = toByte(a * 255)
	}
}

// ReadRows reads what was painted.
func (c *Canvas) ReadRows(dst *Picture, from int) {
	(&Source{orient: upright, pixels: newRows(c.Image(), c.w, c.h, false)}).ReadRows(dst, from)
}

func toByte(v float32) uint8 { return uint8(clamp(v) + .5) }

// put16 writes a value of 0 to 255 as 16 bits: 257 steps to one of 8 bits.
func put16(dst []uint8, v float32) { binary.BigEndian.PutUint16(dst, uint16(clamp(v)*257+.5)) }

// Image returns the picture, which shares c's memory: an *image.RGBA, or an
// *image.NRGBA with alpha, the types of their names with 64 for 16 bits, or an
// *image.YCbCr of JPEG.
func (c *Canvas) Image() image.Image {
	rect, stride := image.Rect(0, 0, c.w, c.h), c.pixelBytes()*c.w
	switch {
	case c.ycc != nil:
		return c.ycc
	case c.depth == 16 && c.alpha:
		return &image.NRGBA64{Pix: c.pix, Stride: stride, Rect: rect}
	case c.depth == 16:
		return &image.RGBA64{Pix: c.pix, Stride: stride, Rect: rect}
	case c.alpha:
		return &image.NRGBA{Pix: c.pix, Stride: stride, Rect: rect}
	}
	return &image.RGBA{Pix: c.pix, Stride: stride, Rect: rect}
}

// Encode writes the picture. On an error a part of it may be written.
func (c *Canvas) Encode(w io.Writer, o SaveOptions) error {
	if o.Quality < 0 || o.Quality > 100 {
		return fmt.Errorf("quality %d is not 1 to 100", o.Quality)
	}
	if o.Quality == 0 {
		o.Quality = c.format.quality
	}
	return c.format.encode(w, c, o)
}

// Save writes the picture to a file, as the function Save does.
func (c *Canvas) Save(path string, o SaveOptions) error {
	return atomicfile.Write(path, 0o666, func(w io.Writer) error { return c.Encode(w, o) })
}

// fits refuses sizes that the format cannot hold, before a picture of that size
// is computed.
func (e *encoder) fits(w, h, depth int) error {
	if e.maxSide > 0 && max(w, h) > e.maxSide {
		return &UnsupportedError{fmt.Sprintf("%d×%d pixels are more than %s holds, which is %d a side: write PNG or TIFF", w, h, e.name, e.maxSide)}
	}
	if bytes := int64(depth / 2); e.maxBytes > 0 && int64(h) > e.maxBytes/bytes/int64(w) {
		return &UnsupportedError{fmt.Sprintf("%d×%d pixels of %d bits are more than %s holds: write PNG", w, h, depth, e.name)}
	}
	return nil
}
