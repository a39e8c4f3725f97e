package images

// Luminance returns the luma plane (H, W), 0 to 255, of p: .299 R + .587 G +
// .114 B (ITU-R BT.601).
func Luminance(p *Picture) []float32 {
	r, g, b := p.Plane(0), p.Plane(1), p.Plane(2)
	luma := make([]float32, p.W*p.H)
	for i := range luma {
		luma[i] = .299*r[i] + .587*g[i] + .114*b[i]
	}
	return luma
}

// KeepColors returns the luminance of result with the chroma of content, which
// is resized where the sizes differ: "luminance-only" transfer (Gatys et al.
// 2016, arXiv:1606.05897), in YCbCr. The luminance is that of result as it
// would be shown, clamped to 0..255; the returned values may lie outside.
// Alpha is result's.
func KeepColors(result, content *Picture) *Picture {
	content = sized(content, result.W, result.H)
	out := result.Clone()
	for i, v := range out.Pix {
		out.Pix[i] = clamp(v)
	}
	// With one luminance and the other's chroma, each channel is the other's
	// shifted by the difference in luminance: chroma is B-Y and R-Y.
	to, from := Luminance(out), Luminance(content)
	for c := range 3 {
		dst, src := out.Plane(c), content.Plane(c)
		for i := range dst {
			dst[i] = src[i] + to[i] - from[i]
		}
	}
	return out
}

// Blend returns a + strength·(b-a) for strength in 0..1: a at 0, b at 1. b is
// resized where the sizes differ. Alpha is a's.
func Blend(a, b *Picture, strength float32) *Picture {
	b = sized(b, a.W, a.H)
	out := a.Clone()
	for i, v := range b.Pix {
		out.Pix[i] = (1-strength)*out.Pix[i] + strength*v
	}
	return out
}

// sized returns p at w×h, the size of a picture that exists.
func sized(p *Picture, w, h int) *Picture {
	if p.W == w && p.H == h {
		return p
	}
	r, err := Resize(p, w, h)
	if err != nil {
		return New(w, h) // only an empty picture has no size to resize to
	}
	return r
}

// over returns p composited on a colour, without alpha.
func over(p *Picture, background float32) *Picture {
	out := p.Clone()
	out.Alpha = nil
	for c := range 3 {
		plane := out.Plane(c)
		for i, a := range p.Alpha {
			plane[i] = a*plane[i] + (1-a)*background
		}
	}
	return out
}
