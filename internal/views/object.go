package views

import (
	"math"
	"math/rand/v2"
)

// object is a piece of the photo in front of it: an oval with a wavy edge. Places
// are those of pixels of the first view.
type object struct {
	move         similarity // from the first view to the second
	x, y         float64    // its middle
	rx, ry       float64    // its radii before it is turned
	cos, sin     float64
	wave, phase  float64 // of its edge
	fromX, fromY float64 // the place of the photo that its middle shows, from the object's own
}

// drawObject returns nil for every second pair, by chance. It draws the same
// number of random numbers always.
func (k *Maker) drawObject(random *rand.Rand) *object {
	size := float64(k.size)
	there := random.IntN(2) == 1
	o := &object{
		x: size * random.Float64(), y: size * random.Float64(),
		rx: size * (.1 + .15*random.Float64()), ry: size * (.1 + .15*random.Float64()),
		wave: .2 * random.Float64(), phase: 2 * math.Pi * random.Float64(),
		fromX: size * (random.Float64() - .5), fromY: size * (random.Float64() - .5),
	}
	o.sin, o.cos = math.Sincos(2 * math.Pi * random.Float64())
	o.move = k.drawSimilarity(random, o.x, o.y)
	if !there {
		return nil
	}
	return o
}

// alpha is how much of a place of the first view is the object: 1 within its edge,
// which is two pixels wide.
func (o *object) alpha(x, y float64) float32 {
	x, y = x-o.x, y-o.y
	if r := 1.5 * max(o.rx, o.ry); math.Abs(x) > r || math.Abs(y) > r {
		return 0 // most of a view: nothing is computed for it
	}
	a, b := (o.cos*x+o.sin*y)/o.rx, (o.cos*y-o.sin*x)/o.ry
	far := math.Sqrt(a*a+b*b) + o.wave*math.Sin(4*a+o.phase)*math.Sin(4*b)
	return float32(min(max((1-far)*min(o.rx, o.ry)/2, 0), 1))
}

// colour is what it shows at a place of the first view: the photo, mirrored, of
// another place.
func (k *Maker) colour(v *[3]float32, photo []float32, o *object, x, y float64) {
	b := float64(k.motion.Border())
	k.sample(v, photo, float32(o.x+o.fromX-(x-o.x)+b), float32(o.y+o.fromY+(y-o.y)+b))
}

// cover puts an object in front of both views.
func (k *Maker) cover(p Pair, photo []float32, o *object) {
	n := k.size * k.size
	same := func(x, y float64) (float64, float64) { return x, y }
	first := layer{home: same, there: o.move.apply, back: o.move.inverse}
	second := layer{home: o.move.inverse, there: o.move.inverse, back: same}
	// What the background's flow leads to is asked of both before the object's own
	// takes its place.
	k.hide(p.Seen[:n], p.Flow[:2*n], o, first)
	k.hide(p.Seen[n:], p.Flow[2*n:], o, second)
	k.paint(p.Views[:3*n], p.Flow[:2*n], p.Seen[:n], photo, o, first)
	k.paint(p.Views[3*n:], p.Flow[2*n:], p.Seen[n:], photo, o, second)
}

// layer says how places of one view relate to the object: home is where one lies
// in the first view if it is the object's, there is where it then stands in the
// other view, and back is home of the other view.
type layer struct {
	home, there, back func(x, y float64) (float64, float64)
}

// hide unmarks the pixels whose flow leads behind the object, or that it covers.
func (k *Maker) hide(seen, flow []float32, o *object, l layer) {
	n := k.size * k.size
	for i := range seen {
		if seen[i] == 0 {
			continue
		}
		x, y := i%k.size, i/k.size
		if o.alpha(l.home(float64(x), float64(y))) > 0 || o.alpha(l.back(float64(float32(x)+flow[i]), float64(float32(y)+flow[n+i]))) > 0 {
			seen[i] = 0
		}
	}
}

// paint puts the object into a view, with its own flow.
func (k *Maker) paint(view, flow, seen, photo []float32, o *object, l layer) {
	n := k.size * k.size
	var v [3]float32
	for i := range n {
		x, y := float64(i%k.size), float64(i/k.size)
		hx, hy := l.home(x, y)
		alpha := o.alpha(hx, hy)
		if alpha == 0 {
			continue
		}
		k.colour(&v, photo, o, hx, hy)
		for c := range v {
			at := &view[c*n+i]
			*at += alpha * (v[c] - *at)
		}
		if alpha < .5 {
			continue
		}
		tx, ty := l.there(x, y)
		flow[i], flow[n+i] = float32(tx-x), float32(ty-y)
		if alpha == 1 && k.inside(float32(tx), float32(ty)) {
			seen[i] = 1
		}
	}
}
