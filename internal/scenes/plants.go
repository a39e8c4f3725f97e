package scenes

import "math"

// blade is a leaf or a petal: a shape that leaves (x, y) at an angle and tapers to a tip.
type blade struct {
	x, y, angle, long, wide float64
	belly                   float64 // where it is widest: 1 in the middle, less is nearer to the root
	bend                    float64 // sideways drift of the tip, in lengths
	squash                  float64 // foreshortening of the vertical about (x, y)
}

// paint draws the blade with a soft shadow under it. skin gets the place on the
// blade: u from 0 at the root to 1 at the tip, v from -1 to 1 across.
func (b blade) paint(c *canvas, shadow float64, skin func(u, v float64) vec) {
	sn, cs := math.Sincos(b.angle)
	inside := func(x, y float64) (u, v, d float64) {
		dx, dy := x-b.x, (y-b.y)/b.squash
		u, v = (dx*cs+dy*sn)/b.long, dy*cs-dx*sn
		if u <= 0 || u >= 1 {
			return u, 9, 9
		}
		v -= b.bend * b.long * u * u
		if math.Abs(v) > b.wide*1.5 {
			return u, 9, 9
		}
		q := u / (u + b.belly*(1-u))
		w := b.wide * 4 * q * (1 - q)
		return u, v / (w + 1e-6), math.Abs(v) - w
	}
	reach := math.Abs(b.bend)*b.long + b.wide*1.5
	ex, ey := b.long*cs, b.long*sn*b.squash
	x0, x1 := b.x+min(ex, 0)-reach, b.x+max(ex, 0)+reach
	y0, y1 := b.y+min(ey, 0)-reach, b.y+max(ey, 0)+reach
	if shadow > 0 {
		off := b.wide * 0.25
		c.paint(x0, y0, x1+off, y1+off, func(x, y float64) (vec, float64) {
			_, _, d := inside(x-off*0.6, y-off)
			return vec{}, shadow * smooth(b.wide*0.35, -b.wide*0.35, d)
		})
	}
	c.paint(x0, y0, x1, y1, func(x, y float64) (vec, float64) {
		u, v, d := inside(x, y)
		a := c.cover(d, 0)
		if a <= 0 {
			return vec{}, 0
		}
		return skin(u, min(max(v, -1), 1)), a
	})
}

// foliage is the skin of a leaf with a midrib and side veins, one half turned to the light.
func foliage(r dice, n noise, col vec, veins float64) func(u, v float64) vec {
	side, shift, gloss := r.sign(), r.in(0, 50), r.in(0, 0.6)
	return func(u, v float64) vec {
		a := math.Abs(v)
		s := (u - 0.28*a) * veins
		s = math.Abs(s - math.Floor(s) - 0.5)
		vein := max(smooth(0.09, 0.02, a), 0.6*smooth(0.1, 0.02, s)*(1-0.6*a))
		l := 0.8 + 0.35*side*math.Copysign(1-a*a, v) + 0.25*s + 0.5*n.fbm(u*5+shift, v*3, 4)
		out := col.scale(l).mix(col.mul(vec{1.5, 1.4, 1.3}).add(vec{0.03, 0.04, 0.01}), vein)
		shine := gloss * smooth(0.1, 0.5, n.fbm(u*3+shift, v+u, 2)+0.2*side*v)
		return out.add(vec{0.25, 0.28, 0.28}.scale(shine * (0.4 + s)))
	}
}

// leaves is a close view of a hedge or of fallen leaves: layer over layer, lighter in front.
func leaves(c *canvas, r dice, n noise) {
	kinds := pick(r,
		[]vec{hex(0x3f7a2a), hex(0x5a8a30), hex(0x2f6a3a), hex(0x7a9a3a)},
		[]vec{hex(0xb0401a), hex(0xd08a20), hex(0x8a2a1a), hex(0xc0a030), hex(0x6a5a24)},
		[]vec{hex(0x2a5a4a), hex(0x4a7a6a), hex(0x6a8a5a), hex(0x7a3050)})
	c.fill(0, func(x, y float64) (vec, float64) {
		return kinds[0].scale(0.1 + 0.2*clamp(n.fbm(x*6, y*6, 5)+0.3)), 1
	})
	wide, belly, veins := r.in(0.2, 0.42), r.in(0.6, 1), r.in(8, 16)
	size, down := r.in(0.26, 0.42), r.in(0, 2*math.Pi)
	const count = 64
	startX, startY := r.Float64(), r.Float64()
	for k := range count {
		front := float64(k) / count
		s := size * r.in(0.6, 1.1) * lerp(1.25, 0.8, front)
		b := blade{
			angle: down + r.in(-1.3, 1.3), long: s, wide: s * wide * r.in(0.8, 1.1), belly: belly, bend: r.in(-0.15, 0.15), squash: r.in(0.6, 1),
		}
		// A lattice of two irrational steps spreads the middles of the leaves evenly.
		_, fx := math.Modf(startX + 0.7548777*float64(k))
		_, fy := math.Modf(startY + 0.5698403*float64(k))
		sn, cs := math.Sincos(b.angle)
		b.x, b.y = lerp(-c.half-0.1, c.half+0.1, fx)-cs*s/2, lerp(-0.1, 1.1, fy)-sn*s/2
		col := r.tint(kinds[r.IntN(len(kinds))], 0.25).scale(0.25 + 1.1*front)
		b.paint(c, 0.7, foliage(r, n, col, veins))
	}
}

// flowers stand in front of a garden out of focus.
func flowers(c *canvas, r dice, n noise) {
	green := r.tint(pick(r, hex(0x35602a), hex(0x4a7030), hex(0x2a4a40), hex(0x5a6a4a)), 0.2)
	dark := r.in(0.2, 1)
	c.fill(0, func(x, y float64) (vec, float64) {
		return green.mix(hex(0xa8c0c8), clamp(0.5-y+0.8*n.fbm(x*2, y*2, 3))*0.6).scale(dark * (0.7 + 0.6*n.fbm(x*3, y*3+9, 2))), 1
	})
	spot := []vec{green.scale(1.8), hex(0xe0d8a0), hex(0xa0b870), hex(0x203018), pick(r, hex(0xd070a0), hex(0xe0a030), hex(0x9080d0))}
	for range 45 {
		x0, y0, s := r.in(-c.half, c.half), r.in(0, 1), r.in(0.02, 0.12)
		col, a := spot[r.IntN(len(spot))].scale(dark), r.in(0.1, 0.5)
		c.paint(x0-s, y0-s, x0+s, y0+s, func(x, y float64) (vec, float64) {
			d := math.Sqrt((x-x0)*(x-x0)+(y-y0)*(y-y0)) / s
			return col.scale(0.85 + 0.25*d), a * smooth(1, 0.8, d)
		})
	}
	count := 1 + r.IntN(5)
	petal := r.tint(pick(r, hex(0xf4f0e8), hex(0xf2b81c), hex(0xd8324a), hex(0xd872a8), hex(0x7a5ac8), hex(0xe8702a), hex(0x4a6ad8)), 0.1)
	root := petal.mix(pick(r, hex(0xb03010), hex(0xf0e890), hex(0x501040), hex(0xffffff)), 0.6)
	heart := r.tint(pick(r, hex(0xe0a820), hex(0x3a2212), hex(0x8a8a20)), 0.15)
	petals := pick(r, 5, 6, 8, 13, 21, 30)
	rows := 1 + r.IntN(3)
	wide := min(1.4/float64(petals)*r.in(1.3, 1.9), 0.46)
	belly := r.in(0.9, 1.6)
	for k := range count {
		size := r.in(0.2, 0.3) * (1.5 - 0.15*float64(count)) * (0.7 + 0.3*float64(k+1)/float64(count))
		x0, y0 := r.in(-0.75, 0.75)*c.half, r.in(0.25, 0.6)
		if count == 1 {
			x0, y0, size = r.in(-0.1, 0.1), r.in(0.4, 0.5), size*1.2
		}
		stem(c, r, n, x0, y0, size, green)
		turn, squash := r.in(0, 6), r.in(0.65, 1)
		for row := range rows {
			share := 1 - 0.22*float64(row)
			for p := range petals {
				b := blade{
					x: x0, y: y0, angle: turn + 2*math.Pi*(float64(p)+0.5*float64(row)+r.in(-0.15, 0.15))/float64(petals),
					long: size * share * r.in(0.92, 1.05), belly: belly, bend: r.in(-0.08, 0.08), squash: squash,
				}
				b.wide = b.long * wide * r.in(0.85, 1.1)
				col, shift, fold := r.tint(petal, 0.12), r.in(0, 50), r.in(-0.3, 0.3)
				light := 0.8 - 0.3*math.Sin(b.angle+0.8) + 0.1*float64(row)
				b.paint(c, 0.45, func(u, v float64) vec {
					rib := n.fbm(v*6+shift, u*1.5, 3)
					l := light * (0.72 + 0.4*u + fold*v + 0.3*rib - 0.25*v*v)
					return root.mix(col, smooth(0.1, 0.7, u+0.2*rib)).scale(l)
				})
			}
		}
		disc := size * lerp(0.18, 0.34, clamp(float64(petals)/30))
		c.paint(x0-disc, y0-disc, x0+disc, y0+disc, func(x, y float64) (vec, float64) {
			dx, dy := x-x0, (y-y0)/squash
			return heart.scale(0.35), c.cover(math.Sqrt(dx*dx+dy*dy)-disc*0.9, disc*0.15)
		})
		for q := range 130 { // seeds in the golden spiral
			rad := math.Sqrt(float64(q) / 130)
			sn, cs := math.Sincos(2.39996 * float64(q))
			x1, y1, s := x0+disc*rad*cs, y0+disc*rad*sn*squash, disc*0.11
			col := r.tint(heart, 0.25).scale(0.75 + 0.5*rad - 0.3*sn)
			c.paint(x1-s, y1-s, x1+s, y1+s, func(x, y float64) (vec, float64) {
				dx, dy := (x-x1)/s, (y-y1)/s
				return col.scale(1 - 0.5*(dx+dy)), smooth(1, 0.5, math.Sqrt(dx*dx+dy*dy))
			})
		}
	}
}

func stem(c *canvas, r dice, n noise, x0, y0, size float64, green vec) {
	drift, thick := r.in(-0.4, 0.4), size*0.045
	mid := func(y float64) float64 { return x0 + drift*(y-y0)*(y-y0) }
	c.paint(x0-0.4, y0, x0+0.4, 1, func(x, y float64) (vec, float64) {
		s := (x - mid(y)) / thick
		return green.scale(1.3 - 0.6*s + 0.3*n.at(s*2, y*20)), c.cover((math.Abs(s)-1)*thick, 0)
	})
	for range 2 + r.IntN(3) {
		y := lerp(y0+size*0.8, 1.05, r.Float64())
		b := blade{
			x: mid(y), y: y, angle: -math.Pi/2 + r.sign()*r.in(0.4, 1.3), long: size * r.in(0.7, 1.2),
			belly: 0.8, bend: r.in(-0.25, 0.25), squash: 1,
		}
		b.wide = b.long * r.in(0.12, 0.22)
		b.paint(c, 0.5, foliage(r, n, r.tint(green, 0.25).scale(1.4), 9))
	}
}
