package images

import (
	"image"
	"image/color"
	"image/draw"
)

// rows hands out a picture line by line, whatever its layout.
type rows interface {
	size() (w, h int)
	// row writes the pixels x0 ≤ x < x1 of line y: R, G, B in 0 to 255 to
	// dst[0..2][:x1-x0] and, where dst has a fourth line, alpha in 0 to 1.
	row(y, x0, x1 int, dst [][]float32)
}

func newLines(n, w int) [][]float32 {
	buf := make([]float32, n*w)
	lines := make([][]float32, n)
	for i := range lines {
		lines[i] = buf[i*w : (i+1)*w : (i+1)*w]
	}
	return lines
}

func fill(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}

// newRows picks the reader for img, which stands on a canvas of w×h.
func newRows(img image.Image, w, h int, studioRange bool) rows {
	canvas := image.Rect(0, 0, w, h)
	if img.Bounds() != canvas {
		// The first frame of a GIF may cover a part of the canvas only.
		whole := image.NewNRGBA64(canvas)
		draw.Draw(whole, img.Bounds(), img, img.Bounds().Min, draw.Src)
		return nrgba64Rows{whole}
	}
	switch img := img.(type) {
	case *image.YCbCr:
		return newYCbCrRows(img, studioRange)
	case *image.NYCbCrA:
		r := newYCbCrRows(&img.YCbCr, studioRange)
		r.alpha, r.alphaStride = img.A, img.AStride
		return r
	case *image.Gray:
		return grayRows{img}
	case *image.RGBA:
		return byteRows{img.Pix, img.Stride, canvas, true, isOpaque(img)}
	case *image.NRGBA:
		return byteRows{img.Pix, img.Stride, canvas, false, isOpaque(img)}
	case *image.CMYK:
		return cmykRows{img}
	case *image.Paletted:
		return newPalettedRows(img)
	case *image.NRGBA64:
		return nrgba64Rows{img}
	}
	return anyRows{img, image.NewNRGBA64(image.Rect(0, 0, w, 1))}
}

func isOpaque(img interface{ Opaque() bool }) bool { return img.Opaque() }

// ycbcrRows reads JPEG and lossy WebP pictures. Halved chroma is interpolated
// as libjpeg and libwebp do by default: 3/4 of the nearer and 1/4 of the
// farther sample, in each direction ("fancy upsampling").
type ycbcrRows struct {
	img                        *image.YCbCr
	h, v                       int // luma samples per chroma sample
	cw, ch                     int // chroma size
	alpha                      []uint8
	alphaStride                int
	yScale, yBias              float32
	crToR, cbToG, crToG, cbToB float32
	cb, cr                     []float32 // one chroma line
}

func newYCbCrRows(img *image.YCbCr, studioRange bool) *ycbcrRows {
	r := &ycbcrRows{img: img, h: 1, v: 1}
	switch img.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		r.h = 2
	case image.YCbCrSubsampleRatio420:
		r.h, r.v = 2, 2
	case image.YCbCrSubsampleRatio440:
		r.v = 2
	case image.YCbCrSubsampleRatio411:
		r.h = 4
	case image.YCbCrSubsampleRatio410:
		r.h, r.v = 4, 2
	}
	w, h := r.size()
	r.cw, r.ch = (w+r.h-1)/r.h, (h+r.v-1)/r.v
	r.cb, r.cr = make([]float32, r.cw), make([]float32, r.cw)

	// ITU-R BT.601: luma weights .299, .587, .114.
	const kr, kb = .299, .114
	const kg = 1 - kr - kb
	chroma := float32(1)
	r.yScale = 1
	if studioRange {
		r.yScale, r.yBias, chroma = 255./219, -16*255./219, 255./224
	}
	r.crToR = 2 * (1 - kr) * chroma
	r.cbToB = 2 * (1 - kb) * chroma
	r.cbToG = -2 * kb * (1 - kb) / kg * chroma
	r.crToG = -2 * kr * (1 - kr) / kg * chroma
	return r
}

func (r *ycbcrRows) size() (int, int) { return r.img.Rect.Dx(), r.img.Rect.Dy() }

func (r *ycbcrRows) row(y, x0, x1 int, dst [][]float32) {
	// The chroma line between x0 and x1, with a neighbour at each end.
	c0, c1 := max(x0/r.h-1, 0), min((x1-1)/r.h+2, r.cw)
	near := y / r.v
	far := near
	if r.v == 2 {
		far = min(max(near+2*(y%2)-1, 0), r.ch-1)
	}
	r.chromaLine(r.cb, r.img.Cb, near, far, c0, c1)
	r.chromaLine(r.cr, r.img.Cr, near, far, c0, c1)

	n := x1 - x0
	red, green, blue := dst[0][:n], dst[1][:n], dst[2][:n]
	// red and blue carry Cr and Cb until the last step.
	r.widen(red, r.cr, x0)
	r.widen(blue, r.cb, x0)
	luma := r.img.Y[y*r.img.YStride+x0:][:n]
	for i, v := range luma {
		l := float32(v)*r.yScale + r.yBias
		cb, cr := blue[i], red[i]
		red[i] = clamp(l + r.crToR*cr)
		green[i] = clamp(l + r.cbToG*cb + r.crToG*cr)
		blue[i] = clamp(l + r.cbToB*cb)
	}
	if len(dst) < 4 {
		return
	}
	if r.alpha == nil {
		fill(dst[3][:n], 1)
		return
	}
	for i, a := range r.alpha[y*r.alphaStride+x0:][:n] {
		dst[3][i] = float32(a) * (1. / 255)
	}
}

// chromaLine mixes two chroma lines and moves their zero from 128 to 0.
func (r *ycbcrRows) chromaLine(dst []float32, plane []uint8, near, far, c0, c1 int) {
	a := plane[near*r.img.CStride:][c0:c1]
	b := plane[far*r.img.CStride:][c0:c1]
	dst = dst[c0:c1]
	for i := range dst {
		dst[i] = float32(3*int(a[i])+int(b[i])-4*128) * .25
	}
}

// widen stretches a chroma line to luma's width, from x0 on.
func (r *ycbcrRows) widen(dst, line []float32, x0 int) {
	switch r.h {
	case 1:
		copy(dst, line[x0:])
	case 2:
		for i := range dst {
			x := x0 + i
			c := x / 2
			far := min(max(c+2*(x&1)-1, 0), r.cw-1)
			dst[i] = .75*line[c] + .25*line[far]
		}
	default:
		for i := range dst {
			dst[i] = line[(x0+i)/r.h]
		}
	}
}

// clamp limits v to 0..255. Not a number becomes 0.
func clamp(v float32) float32 {
	if v >= 255 {
		return 255
	}
	if v > 0 {
		return v
	}
	return 0
}

type grayRows struct{ img *image.Gray }

func (r grayRows) size() (int, int) { return r.img.Rect.Dx(), r.img.Rect.Dy() }

func (r grayRows) row(y, x0, x1 int, dst [][]float32) {
	for i, v := range r.img.Pix[y*r.img.Stride:][x0:x1] {
		dst[0][i] = float32(v)
	}
	n := x1 - x0
	copy(dst[1][:n], dst[0])
	copy(dst[2][:n], dst[0])
	if len(dst) > 3 {
		fill(dst[3][:n], 1)
	}
}

// byteRows reads image.RGBA and image.NRGBA.
type byteRows struct {
	pix           []uint8
	stride        int
	rect          image.Rectangle
	premultiplied bool
	opaque        bool
}

func (r byteRows) size() (int, int) { return r.rect.Dx(), r.rect.Dy() }

func (r byteRows) row(y, x0, x1 int, dst [][]float32) {
	n := x1 - x0
	red, green, blue := dst[0][:n], dst[1][:n], dst[2][:n]
	pix := r.pix[y*r.stride:][4*x0 : 4*x1]
	for i := range red {
		p := pix[4*i : 4*i+4 : 4*i+4]
		red[i], green[i], blue[i] = float32(p[0]), float32(p[1]), float32(p[2])
	}
	if r.premultiplied && !r.opaque {
		for i := range red {
			if a := pix[4*i+3]; a > 0 && a < 255 {
				k := 255 / float32(a)
				red[i], green[i], blue[i] = clamp(red[i]*k), clamp(green[i]*k), clamp(blue[i]*k)
			}
		}
	}
	if len(dst) > 3 {
		for i := range dst[3][:n] {
			dst[3][i] = float32(pix[4*i+3]) * (1. / 255)
		}
	}
}

type cmykRows struct{ img *image.CMYK }

func (r cmykRows) size() (int, int) { return r.img.Rect.Dx(), r.img.Rect.Dy() }

func (r cmykRows) row(y, x0, x1 int, dst [][]float32) {
	pix := r.img.Pix[y*r.img.Stride:][4*x0 : 4*x1]
	n := x1 - x0
	for i := range n {
		p := pix[4*i : 4*i+4 : 4*i+4]
		white := float32(255-p[3]) * (1. / 255)
		dst[0][i] = float32(255-p[0]) * white
		dst[1][i] = float32(255-p[1]) * white
		dst[2][i] = float32(255-p[2]) * white
	}
	if len(dst) > 3 {
		fill(dst[3][:n], 1)
	}
}

type palettedRows struct {
	img     *image.Paletted
	palette [256][4]float32
}

func newPalettedRows(img *image.Paletted) *palettedRows {
	r := &palettedRows{img: img}
	for i, c := range img.Palette[:min(256, len(img.Palette))] {
		if c, ok := c.(color.NRGBA); ok { // converting loses the colour where alpha is 0
			r.palette[i] = [4]float32{float32(c.R), float32(c.G), float32(c.B), float32(c.A) / 255}
			continue
		}
		n := color.NRGBA64Model.Convert(c).(color.NRGBA64)
		r.palette[i] = [4]float32{float32(n.R) / 257, float32(n.G) / 257, float32(n.B) / 257, float32(n.A) / 65535}
	}
	return r
}

func (r *palettedRows) size() (int, int) { return r.img.Rect.Dx(), r.img.Rect.Dy() }

func (r *palettedRows) row(y, x0, x1 int, dst [][]float32) {
	for i, v := range r.img.Pix[y*r.img.Stride:][x0:x1] {
		for c := range dst {
			dst[c][i] = r.palette[v][c]
		}
	}
}

type nrgba64Rows struct{ img *image.NRGBA64 }

func (r nrgba64Rows) size() (int, int) { return r.img.Rect.Dx(), r.img.Rect.Dy() }

func (r nrgba64Rows) row(y, x0, x1 int, dst [][]float32) {
	pix := r.img.Pix[y*r.img.Stride:][8*x0 : 8*x1]
	for i := range x1 - x0 {
		p := pix[8*i : 8*i+8 : 8*i+8]
		for c := range dst {
			v := float32(int(p[2*c])<<8 | int(p[2*c+1]))
			if c == 3 {
				dst[c][i] = v / 65535
			} else {
				dst[c][i] = v / 257
			}
		}
	}
}

// anyRows reads other layouts, each line by way of NRGBA64, which loses
// nothing.
type anyRows struct {
	img  image.Image
	line *image.NRGBA64
}

func (r anyRows) size() (int, int) { return r.img.Bounds().Dx(), r.img.Bounds().Dy() }

func (r anyRows) row(y, x0, x1 int, dst [][]float32) {
	draw.Draw(r.line, image.Rect(x0, 0, x1, 1), r.img, image.Pt(x0, y), draw.Src)
	nrgba64Rows{r.line}.row(0, x0, x1, dst)
}
