package scenes

import (
	"image"
	"math"
)

type point struct{ x, y float64 }

// easel holds a painting in progress: its colours, and how thick the paint stands.
type easel struct {
	*canvas
	n     noise
	thick []float64 // in pixels
	// Of the stroke being drawn, per pixel: its number, the distance from its
	// middle line, signed, and along it.
	mark          []int
	across, along []float64
	strokes       int
	touched       []int
}

// newEasel puts a primed, ochre-toned canvas of coarse weave up.
func newEasel(c *canvas, n noise) *easel {
	size := c.w * c.h
	e := &easel{canvas: c, n: n, thick: make([]float64, size), mark: make([]int, size), across: make([]float64, size), along: make([]float64, size)}
	for k := range c.pix {
		x, y := float64(k%c.w), float64(k/c.w)
		e.thick[k] = 0.3 * math.Sin(x*1.7) * math.Sin(y*1.7)
		c.pix[k] = hex(0x8a7040).scale(0.8 + 0.4*n.fbm(x*0.03, y*0.03, 3))
	}
	return e
}

// stroke drags a loaded brush of half width wide along a path. The bristles carry
// two colours, leave furrows, push paint up at the sides and run dry at the end.
func (e *easel) stroke(r dice, path []point, wide float64, col, second vec, body float64) {
	if len(path) < 2 {
		return
	}
	e.strokes++
	e.touched = e.touched[:0]
	rad := wide / e.px
	total := 0.0
	for k := 1; k < len(path); k++ {
		ax, ay := (path[k-1].x+e.half)/e.px-0.5, path[k-1].y/e.px-0.5
		bx, by := (path[k].x+e.half)/e.px-0.5, path[k].y/e.px-0.5
		dx, dy := bx-ax, by-ay
		l := math.Sqrt(dx*dx + dy*dy)
		if l < 1e-9 {
			continue
		}
		dx, dy = dx/l, dy/l
		x0, x1 := max(int(min(ax, bx)-rad), 0), min(int(max(ax, bx)+rad)+1, e.w-1)
		y0, y1 := max(int(min(ay, by)-rad), 0), min(int(max(ay, by)+rad)+1, e.h-1)
		for j := y0; j <= y1; j++ {
			for i := x0; i <= x1; i++ {
				qx, qy := float64(i)-ax, float64(j)-ay
				t, s := qx*dx+qy*dy, qx*dy-qy*dx
				past := max(-t, t-l, 0) // beyond an end of the segment
				dist := math.Sqrt(s*s + past*past)
				if dist > rad+0.5 {
					continue
				}
				p := j*e.w + i
				if e.mark[p] != e.strokes {
					e.mark[p] = e.strokes
					e.touched = append(e.touched, p)
				} else if dist >= math.Abs(e.across[p]) {
					continue
				}
				e.across[p], e.along[p] = math.Copysign(dist, s), total+t
			}
		}
		total += l
	}
	id := r.Float64() * 1000
	for _, p := range e.touched {
		s, u := e.across[p]/rad, e.along[p]/rad
		end := clamp(e.along[p] / (total + 1e-9))
		bristle := e.n.at(s*3.2+id, u*0.22) + 0.5*e.n.at(s*7+id, u*0.4)
		a := clamp((1-math.Abs(s))*rad+0.5) * clamp(1.35+0.9*bristle-1.1*end*end*end)
		if a <= 0 {
			continue
		}
		e.pix[p] = e.pix[p].mix(col.mix(second, clamp(0.35+0.6*bristle)), a)
		ridge := smooth(0.45, 0.8, math.Abs(s)) * smooth(1.05, 0.85, math.Abs(s))
		h := (0.7 + 0.35*bristle + 0.3*ridge + 0.3*smooth(0.75, 1, end) - 0.25*end) * math.Sqrt(max(1-s*s*0.8, 0))
		e.thick[p] = lerp(e.thick[p], 0.35*e.thick[p]+h*body*rad*0.42, a)
	}
}

// varnish lights the relief of the paint from the upper left.
func (e *easel) varnish() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, e.w, e.h))
	for j := range e.h {
		for i := range e.w {
			t := func(i, j int) float64 { return e.thick[min(max(j, 0), e.h-1)*e.w+min(max(i, 0), e.w-1)] }
			gx, gy := (t(i+1, j)-t(i-1, j))/2, (t(i, j+1)-t(i, j-1))/2
			nz := 1 / math.Sqrt(1+gx*gx+gy*gy)
			l := (0.5*gx + 0.62*gy + 0.62) * nz / 0.62 // gx, gy rise towards the light where positive
			h := max((0.28*gx+0.35*gy+0.89)*nz, 0)
			h *= h
			h *= h
			h *= h
			v := e.pix[j*e.w+i].scale(clamp(0.4+0.6*l/1.5) * 1.25).add(vec{1, 1, 1}.scale(0.07 * max(h*h*h-0.25, 0)))
			o := img.Pix[img.PixOffset(i, j):][:4]
			o[0] = uint8(255*math.Sqrt(clamp(v.x)) + 0.5)
			o[1] = uint8(255*math.Sqrt(clamp(v.y)) + 0.5)
			o[2] = uint8(255*math.Sqrt(clamp(v.z)) + 0.5)
			o[3] = 255
		}
	}
	return img
}
