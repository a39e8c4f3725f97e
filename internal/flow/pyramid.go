package flow

// border is how many pixels a level repeats around its edges, so that a patch
// may look outside by its own size.
const border = patch + 2

// level is one size of a picture.
type level struct {
	w, h   int
	stride int       // of pix
	pix    []float32 // (h + 2 border, w + 2 border)
	gx, gy []float32 // (h, w), the slopes of pix
}

func newLevel(w, h int) level {
	return level{w: w, h: h, stride: w + 2*border, pix: make([]float32, (w+2*border)*(h+2*border))}
}

// at is the index of a pixel in pix.
func (l *level) at(x, y int) int { return (y+border)*l.stride + x + border }

// line returns a row without its border.
func (l *level) line(y int) []float32 { return l.pix[l.at(0, y):][:l.w] }

// fill copies a plane (h, w).
func (l *level) fill(plane []float32) {
	for y := range l.h {
		copy(l.line(y), plane[y*l.w:])
	}
	l.extend()
}

// extend repeats the edges.
func (l *level) extend() {
	for y := range l.h {
		row := l.pix[(y+border)*l.stride:][:l.stride]
		for x := range border {
			row[x], row[len(row)-1-x] = row[border], row[border+l.w-1]
		}
	}
	first, last := l.pix[border*l.stride:][:l.stride], l.pix[(border+l.h-1)*l.stride:][:l.stride]
	for y := range border {
		copy(l.pix[y*l.stride:], first)
		copy(l.pix[(border+l.h+y)*l.stride:], last)
	}
}

// half is the level of half the size: the means of 2×2 pixels.
func (l *level) half() level {
	d := newLevel((l.w+1)/2, (l.h+1)/2)
	each(d.h, func(y int) {
		dst := d.line(y)
		for x := range dst {
			// Behind an odd edge lies its copy.
			i := l.at(2*x, 2*y)
			dst[x] = (l.pix[i] + l.pix[i+1] + l.pix[i+l.stride] + l.pix[i+l.stride+1]) / 4
		}
	})
	d.extend()
	return d
}

// differentiate takes the slopes by central differences.
func (l *level) differentiate() {
	l.gx, l.gy = make([]float32, l.w*l.h), make([]float32, l.w*l.h)
	each(l.h, func(y int) {
		for x := range l.w {
			i := l.at(x, y)
			l.gx[y*l.w+x] = (l.pix[i+1] - l.pix[i-1]) / 2
			l.gy[y*l.w+x] = (l.pix[i+l.stride] - l.pix[i-l.stride]) / 2
		}
	})
}

// clampTo limits the place of the top left corner of n×n pixels so that all of
// them, and one more to the right and below, lie in pix.
func (l *level) clampTo(x, y float32, n int) (float32, float32) {
	x = min(max(x, -border), float32(l.w+border-n-2))
	y = min(max(y, -border), float32(l.h+border-n-2))
	return x, y
}

// split is the whole number at or below v, and what is left.
func split(v float32) (int, float32) {
	i := int(v)
	if float32(i) > v {
		i--
	}
	return i, v - float32(i)
}
