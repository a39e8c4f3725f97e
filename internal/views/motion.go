package views

import (
	"math"
	"math/rand/v2"
)

// similarity turns, zooms and shifts around a middle: x to m + s + A·(x − m).
type similarity struct {
	mx, my, sx, sy float64
	cos, sin       float64 // times the zoom
}

func (s similarity) apply(x, y float64) (float64, float64) {
	x, y = x-s.mx, y-s.my
	return s.mx + s.sx + s.cos*x - s.sin*y, s.my + s.sy + s.sin*x + s.cos*y
}

func (s similarity) inverse(x, y float64) (float64, float64) {
	x, y = x-s.mx-s.sx, y-s.my-s.sy
	d := s.cos*s.cos + s.sin*s.sin
	return s.mx + (s.cos*x+s.sin*y)/d, s.my + (s.cos*y-s.sin*x)/d
}

// drawSimilarity shifts by up to that many pixels, and turns and zooms by about a
// third of them at a corner of the view each.
func (k *Maker) drawSimilarity(random *rand.Rand, mx, my float64) similarity {
	far, m := k.motion.Pixels, k.motion.Pixels/float64(k.size)
	way, long := 2*math.Pi*random.Float64(), far*random.Float64()
	turn, zoom := m/2*(2*random.Float64()-1), 1+m/2*(2*random.Float64()-1)
	s := similarity{mx: mx, my: my, sx: long * math.Cos(way), sy: long * math.Sin(way)}
	s.sin, s.cos = math.Sincos(turn)
	s.sin, s.cos = s.sin*zoom, s.cos*zoom
	return s
}

// drawMotion draws the motion of the whole, which it returns, and that of parts.
func (k *Maker) drawMotion(random *rand.Rand) similarity {
	middle := float64(k.size-1) / 2
	s := k.drawSimilarity(random, middle, middle)
	far := k.motion.Pixels / 4 * random.Float64()
	for i := range k.knots {
		k.knots[i] = float32(far * (2*random.Float64() - 1))
	}
	return s
}

// spline weighs the four knots from the one of a number on.
type spline struct {
	from int
	w    [4]float32
}

// splineAt is a uniform cubic B-spline's.
func splineAt(t float64) spline {
	i := min(int(t), spans-1)
	t -= float64(i)
	u := 1 - t
	return spline{i, [4]float32{
		float32(u * u * u / 6),
		float32((3*t*t*t - 6*t*t + 4) / 6),
		float32((3*u*u*u - 6*u*u + 4) / 6),
		float32(t * t * t / 6),
	}}
}

// field fills flow, (2, size, size), with the motion of the whole and of parts.
func (k *Maker) field(flow []float32, s similarity) {
	const knots = spans + 3
	n := k.size * k.size
	for y := range k.size {
		rows := k.weights[y]
		for j := range k.line {
			c, x := j/knots, j%knots
			sum := float32(0)
			for r, w := range rows.w {
				sum += w * k.knots[(c*knots+rows.from+r)*knots+x]
			}
			k.line[j] = sum
		}
		for x := range k.size {
			cols := k.weights[x]
			us, vs := (*[4]float32)(k.line[cols.from:]), (*[4]float32)(k.line[knots+cols.from:])
			var u, v float32
			for r, w := range cols.w {
				u += w * us[r]
				v += w * vs[r]
			}
			px, py := s.apply(float64(x), float64(y))
			i := y*k.size + x
			flow[i], flow[n+i] = u+float32(px-float64(x)), v+float32(py-float64(y))
		}
	}
}

// invert fills back with the flow that leads back: back(x) = −flow(x + back(x)).
// The right side is a contraction, as motion is at most MaxPixels, so repeating
// it leads there.
func invert(back, flow []float32, size int) {
	const near = 1e-3 // pixels
	n := size * size
	us, vs := flow[:n], flow[n:]
	last := float32(size - 1)
	for y := range size {
		for x := range size {
			i := y*size + x
			u, v := -us[i], -vs[i]
			for range 20 {
				px, py := min(max(float32(x)+u, 0), last), min(max(float32(y)+v, 0), last)
				x0, y0 := min(int(px), size-2), min(int(py), size-2)
				fx, fy := px-float32(x0), py-float32(y0)
				at := y0*size + x0
				nu, nv := -between(us, at, size, fx, fy), -between(vs, at, size, fx, fy)
				du, dv := nu-u, nv-v
				u, v = nu, nv
				if du*du+dv*dv < near*near {
					break
				}
			}
			back[i], back[n+i] = u, v
		}
	}
}

// between reads a plane between four pixels, that at `at` the first.
func between(p []float32, at, size int, fx, fy float32) float32 {
	top := p[at] + fx*(p[at+1]-p[at])
	bottom := p[at+size] + fx*(p[at+size+1]-p[at+size])
	return top + fy*(bottom-top)
}
