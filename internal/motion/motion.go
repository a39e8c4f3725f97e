// Package motion renders clips whose motion is known: layers of pictures that
// move over each other, with the exact displacement of each pixel from frame to
// frame and what of it is seen in both. Measures of flicker, optical flow and
// stabilisation are judged by such clips.
//
// It owns poses and rendering. It refuses files and networks, and measures
// nothing itself.
package motion

import (
	"math"

	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/scenes"
)

// Pose says where a layer lies in a frame.
type Pose struct {
	X, Y  float64 // of the picture's middle from the frame's, in pixels of the frame
	Scale float64 // how many pixels of the frame a pixel of the picture takes
	Turn  float64 // radians, clockwise as seen
}

// Layer is a picture that moves. Where its alpha is 0, or it ends, what lies
// behind it is seen.
type Layer struct {
	Picture *images.Picture
	Pose    func(frame float64) Pose
}

// Clip is a scene of layers, that at the back first. The back should fill all
// frames: beyond its edges their pixels are repeated, and count as not seen.
type Clip struct {
	W, H   int
	Layers []Layer
}

// NewClip is a clip of size w×h with all that motion can be: a background that
// pans, zooms and turns, and an object that crosses it, and turns too. back and
// object are taken as they are; back should have at least 2.6 times the size, so
// that it is sharp and fills the first hundred frames. The object is cut to an
// oval.
func NewClip(w, h int, back, object *images.Picture) *Clip {
	front := object.Clone()
	oval(front)
	// The back is shown at such a size that a margin of 15% is left around.
	fill := 1.3 * max(float64(w)/float64(back.W), float64(h)/float64(back.H))
	part := 0.4 * float64(min(w, h)) / float64(min(front.W, front.H))
	unit := float64(min(w, h)) / 256 // motion grows with the frame
	return &Clip{W: w, H: h, Layers: []Layer{
		{back, func(t float64) Pose {
			return Pose{
				X:     unit * 12 * math.Sin(t/9),
				Y:     unit * 6 * math.Sin(t/13),
				Scale: fill * (1 + 0.08*math.Sin(t/11)),
				Turn:  0.05 * math.Sin(t/17),
			}
		}},
		{front, func(t float64) Pose {
			return Pose{
				X:     float64(w) * 0.33 * -math.Cos(t/14),
				Y:     float64(h) * 0.12 * math.Sin(t/6),
				Scale: part,
				Turn:  0.15 * math.Sin(t/8),
			}
		}},
	}}
}

// Drawn is NewClip of two drawn scenes.
func Drawn(seed uint64, w, h int) *Clip {
	side := min(w, h)
	return NewClip(w, h, scene(seed, w*13/5, h*13/5), scene(seed+4, side*4/5, side*4/5))
}

// scene draws a picture.
func scene(seed uint64, w, h int) *images.Picture {
	drawn := scenes.Photo(seed, w, h)
	p := images.New(w, h)
	for i := range w * h {
		for c := range 3 {
			p.Plane(c)[i] = float32(drawn.Pix[4*i+c])
		}
	}
	return p
}

// oval makes a picture transparent outside an oval, with a soft edge.
func oval(p *images.Picture) {
	p.Alpha = make([]float32, p.W*p.H)
	a, b := float64(p.W)/2-2, float64(p.H)/2-2
	for i := range p.Alpha {
		x, y := (float64(i%p.W)+.5-float64(p.W)/2)/a, (float64(i/p.W)+.5-float64(p.H)/2)/b
		inside := (1 - math.Sqrt(x*x+y*y)) * min(a, b) // pixels, about
		p.Alpha[i] = float32(min(max(inside/2, 0), 1))
	}
}

// Frame renders a frame, of values 0 to 255.
func (c *Clip) Frame(t int) *images.Picture {
	p := images.New(c.W, c.H)
	poses := c.poses(t)
	const n = 3 // samples of a pixel in each direction
	for i := range c.W * c.H {
		var sum [3]float64
		for s := range n * n {
			x, y := float64(i%c.W)+(float64(s%n)+.5)/n-.5, float64(i/c.W)+(float64(s/n)+.5)/n-.5
			v := c.shade(poses, x, y)
			for k := range sum {
				sum[k] += v[k]
			}
		}
		for k := range sum {
			p.Pix[k*c.W*c.H+i] = float32(sum[k] / (n * n))
		}
	}
	return p
}

// Motion gives where the pixels of frame t stand in frame s, and a mask of those
// that are seen there. Pixels on the soft edge of a layer move with it if it
// covers half of them, and count as not seen.
func (c *Clip) Motion(t, s int) (f *flow.Field, seen []float32) {
	f, seen = flow.NewField(c.W, c.H), make([]float32, c.W*c.H)
	from, to := c.poses(t), c.poses(s)
	for i := range seen {
		x, y := float64(i%c.W), float64(i/c.W)
		k, alone := c.top(from, x, y)
		px, py := from[k].picture(x, y)
		u, v := to[k].frame(px, py)
		f.U[i], f.V[i] = float32(u-x), float32(v-y)
		if u < 0 || v < 0 || u > float64(c.W-1) || v > float64(c.H-1) {
			continue
		}
		if there, sharp := c.top(to, u, v); alone && sharp && there == k {
			seen[i] = 1
		}
	}
	return f, seen
}

// placed is a layer's pose in one frame.
type placed struct {
	Pose
	layer    *images.Picture
	cx, cy   float64 // the frame's middle
	sin, cos float64
}

func (c *Clip) poses(t int) []placed {
	poses := make([]placed, len(c.Layers))
	for i, l := range c.Layers {
		p := placed{Pose: l.Pose(float64(t)), layer: l.Picture}
		p.cx, p.cy = float64(c.W-1)/2+p.X, float64(c.H-1)/2+p.Y
		p.sin, p.cos = math.Sincos(p.Turn)
		poses[i] = p
	}
	return poses
}

// picture is the place in the layer's picture that is seen at a place of the frame.
func (p placed) picture(x, y float64) (float64, float64) {
	x, y = (x-p.cx)/p.Scale, (y-p.cy)/p.Scale
	return x*p.cos + y*p.sin + float64(p.layer.W-1)/2, y*p.cos - x*p.sin + float64(p.layer.H-1)/2
}

// frame is the inverse of picture.
func (p placed) frame(x, y float64) (float64, float64) {
	x, y = (x-float64(p.layer.W-1)/2)*p.Scale, (y-float64(p.layer.H-1)/2)*p.Scale
	return x*p.cos - y*p.sin + p.cx, y*p.cos + x*p.sin + p.cy
}

// sample reads a layer at a place of its picture, bilinearly, and whether that
// lies inside.
func (p placed) sample(x, y float64) (v [3]float64, alpha float64, inside bool) {
	w, h := p.layer.W, p.layer.H
	inside = x >= 0 && y >= 0 && x <= float64(w-1) && y <= float64(h-1)
	x, y = min(max(x, 0), float64(w-1)), min(max(y, 0), float64(h-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, w-1), min(y0+1, h-1)
	fx, fy := x-float64(x0), y-float64(y0)
	mix := func(plane []float32) float64 {
		top := float64(plane[y0*w+x0])*(1-fx) + float64(plane[y0*w+x1])*fx
		bottom := float64(plane[y1*w+x0])*(1-fx) + float64(plane[y1*w+x1])*fx
		return top*(1-fy) + bottom*fy
	}
	for k := range v {
		v[k] = mix(p.layer.Plane(k))
	}
	alpha = 1
	if p.layer.Alpha != nil {
		alpha = mix(p.layer.Alpha)
	}
	return v, alpha, inside
}

// shade is the colour at a place of the frame.
func (c *Clip) shade(poses []placed, x, y float64) [3]float64 {
	var out [3]float64
	left := 1.
	for i := len(poses) - 1; i >= 0 && left > 0; i-- {
		v, alpha, inside := poses[i].sample(poses[i].picture(x, y))
		if i == 0 {
			alpha = 1
		} else if !inside {
			continue
		}
		for k := range out {
			out[k] += left * alpha * v[k]
		}
		left *= 1 - alpha
	}
	return out
}

// top is the layer that is seen at a place of the frame, and whether it alone is.
func (c *Clip) top(poses []placed, x, y float64) (layer int, alone bool) {
	const some = 0.02
	for i := len(poses) - 1; i > 0; i-- {
		_, alpha, inside := poses[i].sample(poses[i].picture(x, y))
		if !inside || alpha < some {
			continue
		}
		if alpha >= 0.5 {
			return i, alpha > 1-some
		}
		// What lies behind is seen, mixed with this.
		for i--; i > 0; i-- {
			if _, alpha, inside := poses[i].sample(poses[i].picture(x, y)); inside && alpha >= 0.5 {
				return i, false
			}
		}
		return 0, false
	}
	_, _, inside := poses[0].sample(poses[0].picture(x, y))
	return 0, inside
}
