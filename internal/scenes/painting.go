package scenes

import (
	"image"
	"math"
	"slices"
)

// Painting draws a night landscape of w by h pixels in the manner of Van Gogh's
// Saint-Rémy pictures: a sky of whirls with haloed stars and a moon, cypresses,
// hills and a village, in thick strokes that follow the forms. Seeds arrange it
// differently. The same seed gives the same pixels on every call. A w or h below 1
// gives an empty picture.
func Painting(seed uint64, w, h int) *image.RGBA {
	if w < 1 || h < 1 {
		return image.NewRGBA(image.Rectangle{})
	}
	r, n := begin(seed, 2)
	e := newEasel(newCanvas(w, h), n)
	m := compose(r, n, e.half)

	// From a broad underpainting to short loaded strokes.
	m.cover(e, r, layer{wide: 0.024, long: 0.2, dense: 1.5, vary: 0.08, body: 0.5})
	m.cover(e, r, layer{wide: 0.0135, long: 0.15, dense: 1.3, vary: 0.16, body: 0.9})
	m.cover(e, r, layer{wide: 0.0085, long: 0.1, dense: 0.9, vary: 0.24, body: 1.2})
	m.outlines(e, r)
	for _, s := range m.stars {
		s.paint(e, r, m)
	}
	m.cover(e, r, layer{wide: 0.0055, long: 0.06, dense: 0.35, vary: 0.34, body: 1.4, accent: true})
	m.cover(e, r, layer{wide: 0.0042, long: 0.03, dense: 2, vary: 0.25, body: 1.2, small: true})
	return e.varnish()
}

// ramp is a row of pigments from dark to light.
type ramp []vec

func (p ramp) at(t float64) vec {
	t = clamp(t) * float64(len(p)-1)
	k := min(int(t), len(p)-2)
	return p[k].mix(p[k+1], t-float64(k))
}

// The things in the motif. A stroke never runs from one into another.
const (
	inSky = iota
	inMountains
	inHills
	inField
	inCypress
	inWall
	inRoof
	inWindow
)

// star is a star or the moon: a core in rings of light.
type star struct {
	x, y, core, halo float64
	moon             bool
	tilt             float64
}

type whirl struct{ x, y, size, force float64 }

type cypress struct{ x, foot, tall, wide float64 }

type house struct{ x, foot, wide, tall, roof float64 }

// motif is what the picture shows.
type motif struct {
	n       noise
	pigment [8]ramp // by thing
	whirls  []whirl
	stars   []star
	trees   []cypress
	houses  []house
	far     float64 // heights of the ranges
	near    float64
	field   float64
}

func compose(r dice, n noise, half float64) *motif {
	m := &motif{n: n, far: r.in(0.6, 0.66), near: r.in(0.7, 0.76), field: r.in(0.84, 0.88)}
	m.pigment = [8]ramp{
		inSky:       {hex(0x0a1440), hex(0x122468), hex(0x1c3f94), hex(0x2f68b4), hex(0x5c9cc8), hex(0xa8ccc8), hex(0xe4e4b0)},
		inMountains: {hex(0x0a1638), hex(0x15306a), hex(0x24528e), hex(0x4a80a8), hex(0x86acb4)},
		inHills:     {hex(0x0a1c28), hex(0x123a40), hex(0x2a5a48), hex(0x5a7c48), hex(0xa09a48)},
		inField:     {hex(0x14260f), hex(0x2c4a20), hex(0x66702a), hex(0xa88e30), hex(0xd8b44c)},
		inCypress:   {hex(0x050a08), hex(0x0a1c14), hex(0x163420), hex(0x2c4c22), hex(0x6c5a24)},
		inWall:      {hex(0x283a5c), hex(0x54708a), hex(0x9aa890), hex(0xd8c890)},
		inRoof:      {hex(0x1c1c30), hex(0x4a2c28), hex(0x8a4a2a), hex(0xb4703a)},
		inWindow:    {hex(0xe8a420), hex(0xffe070)},
	}
	side := r.sign()
	// The tall cypress is cut by the edge below; a smaller one stands behind it.
	x := side * half * r.in(0.52, 0.68)
	m.trees = []cypress{{x, 1.05, r.in(0.82, 0.98), r.in(0.075, 0.1)}, {x + side*0.13, 1.05, r.in(0.45, 0.62), 0.06}}
	// The moon hangs opposite to the cypress; stars keep their distance from it and each other.
	m.stars = append(m.stars, star{x: -side * half * r.in(0.66, 0.8), y: r.in(0.12, 0.17), core: 0.052, halo: 0.17, moon: true, tilt: r.in(-0.7, 0.7)})
	bx := r.in(-0.12, 0.12) * half
	by := r.in(0.33, 0.4)
	m.whirls = append(m.whirls, whirl{bx, by, 0.16, side * 1.5}, whirl{bx - side*0.31, by + r.in(0.03, 0.08), 0.11, -side * 1.5})
	for range min(int(80*half), 400) {
		s := star{x: r.in(-half, half) * 0.96, y: r.in(0.05, m.far-0.14), core: r.in(0.012, 0.026)}
		s.halo = s.core * r.in(3, 4)
		free := m.thing(s.x, s.y+s.core) == inSky && m.thing(s.x-s.halo*0.8, s.y) == inSky && m.thing(s.x+s.halo*0.8, s.y) == inSky
		for _, o := range m.stars {
			free = free && math.Hypot(s.x-o.x, s.y-o.y) > (s.halo+o.halo)*1.12
		}
		for _, o := range m.whirls {
			free = free && math.Hypot(s.x-o.x, s.y-o.y) > s.halo+o.size*1.05
		}
		if free {
			m.stars = append(m.stars, s)
		}
	}
	for _, s := range m.stars {
		m.whirls = append(m.whirls, whirl{s.x, s.y, s.halo, r.sign() * 1.2})
	}
	for range min(int(6*half), 50) { // small eddies
		m.whirls = append(m.whirls, whirl{r.in(-half, half), r.in(0, m.far), r.in(0.05, 0.1), r.sign() * 0.5})
	}
	for x := -half + 0.02; x < half; x += r.in(0.06, 0.13) {
		h := house{x: x, foot: m.field + r.in(-0.02, 0.05), wide: r.in(0.06, 0.1), tall: r.in(0.035, 0.06)}
		h.roof = h.wide * r.in(0.4, 0.6)
		if r.chance(0.7) && math.Abs(x-m.trees[0].x) > 0.14 {
			m.houses = append(m.houses, h)
		}
	}
	// The church, with a spire that reaches the sky.
	m.houses = append(m.houses, house{x: -side * r.in(0.08, 0.2), foot: m.field + 0.03, wide: 0.035, tall: 0.1, roof: 0.15})
	return m
}

// crest is the height of the ranges' skylines and the edge of the fields.
func (m *motif) crest(thing int, x float64) float64 {
	switch thing {
	case inMountains:
		return m.far + 0.11*m.n.fbm(x*1.7, 20, 3)
	case inHills:
		return m.near + 0.09*m.n.fbm(x*1.9, 40, 2)
	default:
		return m.field + 0.03*m.n.fbm(x*2, 60, 2)
	}
}

// thing is what stands at a point.
func (m *motif) thing(x, y float64) int {
	for _, t := range m.trees {
		if v := (t.foot - y) / t.tall; v > 0 && v < 1 {
			flame := 0.85 + 0.13*math.Sin(v*17+t.x*9) + 0.35*m.n.at(v*8, t.x*7) + 0.2*m.n.at(v*30, t.x*7)
			sway := 0.03 * math.Sin(v*7+t.x*20)
			if math.Abs(x-t.x-sway) < t.wide*math.Pow(1-v, 0.7)*flame {
				return inCypress
			}
		}
	}
	for k := len(m.houses) - 1; k >= 0; k-- {
		h := m.houses[k]
		u, v := math.Abs(x-h.x)/h.wide*2, (h.foot-y)/h.tall
		if u < 1 && v > 0 && v < 1 {
			if math.Abs(u-0.5) < 0.22 && math.Abs(v-0.55) < 0.26 && m.n.cell(k, int(2+math.Copysign(1, x-h.x))) < 0.6 {
				return inWindow
			}
			return inWall
		}
		if v >= 1 && u < 1.15*(1-(h.foot-h.tall-y)/h.roof) {
			return inRoof
		}
	}
	for _, t := range []int{inField, inHills, inMountains} {
		if y > m.crest(t, x) {
			return t
		}
	}
	return inSky
}

// stream is the stream function of the brushwork: strokes run along its level lines,
// so a tone made of it comes in bands along the strokes.
func (m *motif) stream(thing int, x, y float64) float64 {
	switch thing {
	case inSky:
		p := 0.55*y + 0.1*m.n.fbm(x*1.6, y*2.4, 2)
		for _, w := range m.whirls {
			dx, dy := x-w.x, y-w.y
			if d := (dx*dx + dy*dy) / (w.size * w.size); d < 9 {
				p += 0.9 * w.force * w.size * math.Exp(-d)
			}
		}
		return p
	case inMountains, inHills:
		return y - m.crest(thing, x) + 0.03*m.n.fbm(x*5, y*8, 2)
	case inField:
		return 0.8*y + 0.3*x*(y-0.4) + 0.06*m.n.fbm(x*4, y*4, 2)
	case inCypress:
		return x + 0.035*math.Sin(y*16+x*14) + 0.05*m.n.fbm(x*9, y*4, 2)
	case inRoof:
		return y - 0.9*x
	default:
		return x
	}
}

// flow is the direction of the brush at a point.
func (m *motif) flow(thing int, x, y float64) (dx, dy float64) {
	const e = 0.003
	dx = m.stream(thing, x, y+e) - m.stream(thing, x, y-e)
	dy = m.stream(thing, x-e, y) - m.stream(thing, x+e, y)
	l := math.Sqrt(dx*dx+dy*dy) + 1e-12
	return dx / l, dy / l
}

// tone is the place of a point on its thing's ramp.
func (m *motif) tone(thing int, x, y float64) float64 {
	p := m.stream(thing, x, y)
	switch thing {
	case inSky:
		band := m.n.at(p*26, 7) + 0.4*m.n.at(p*60, 8)
		t := 0.36 + 0.24*band + 0.3*(y/m.far-0.5)*0.5 + 0.12*m.n.fbm(x*2, y*2, 2)
		// A pale band of light over the mountains, and the cores of the great whirls.
		t += 0.3 * bump(y-m.far+0.06+0.05*m.n.at(x*2, 3), 0.05)
		for _, w := range m.whirls[:2] { // light and dark arms wind into the great whirls
			dx, dy := x-w.x, y-w.y
			d := math.Sqrt(dx*dx+dy*dy) / w.size
			arm := math.Sin(9*d + math.Copysign(2, w.force)*math.Atan2(dy, dx))
			t += (0.25*arm + 0.12) * bump(d, 0.65)
		}
		return t
	case inMountains:
		return 0.45 + 0.5*m.n.at(p*30, 5) - 0.8*max(p-0.02, 0)
	case inHills:
		return 0.4 + 0.5*m.n.at(p*34, 4) + 0.25*m.n.fbm(x*4, y*7, 2)
	case inField:
		return 0.5 + 0.6*m.n.at(p*22, 2) + 0.2*m.n.at(x*6, y*9)
	case inCypress:
		return 0.38 + 0.5*m.n.at(p*40, 1)
	default:
		return 0.55 + 0.4*m.n.at(x*30, y*20)
	}
}

// layer says how one coat of strokes is laid: half width and length in picture
// heights, overlap, variation of tone, thickness of the paint.
type layer struct {
	wide, long, dense, vary, body float64
	accent                        bool // lighter, and none on the lights themselves
	small                         bool // for walls, roofs and windows, which broad strokes cannot draw
}

// cover lays strokes all over, in random order, each along the flow from where it starts.
func (m *motif) cover(e *easel, r dice, l layer) {
	wide := max(l.wide, 0.7*e.px)
	long := max(l.long, 3*wide)
	step := math.Sqrt(wide * 2 * long / 2.2 / l.dense)
	cols, rows := int(2*e.half/step)+1, int(1/step)+1
	for _, k := range r.Perm(cols * rows) {
		x := (float64(k%cols)+r.Float64())*step - e.half
		y := (float64(k/cols) + r.Float64()) * step
		thing := m.thing(x, y)
		if (thing >= inWall) != l.small || l.accent && m.bright(x, y) {
			continue
		}
		wide, long := wide*r.in(0.75, 1.15), long*r.in(0.6, 1.2)
		// Half of the length backwards, half forwards, while the thing is the same.
		var path []point
		for _, way := range []float64{-1, 1} {
			px, py := x, y
			for s := 0.0; s < long/2; s += wide {
				dx, dy := m.flow(thing, px, py)
				px, py = px+way*dx*wide, py+way*dy*wide
				if m.thing(px, py) != thing {
					break
				}
				path = append(path, point{px, py})
			}
			if way < 0 {
				slices.Reverse(path)
				path = append(path, point{x, y})
			}
		}
		if r.chance(0.5) { // the brush may come from either end
			slices.Reverse(path)
		}
		t := m.tone(thing, x, y) + r.in(-1, 1)*l.vary
		if l.accent {
			t += r.in(0, 0.3)
		}
		col := m.pigment[thing].at(t)
		if thing == inSky {
			col = m.lit(col, x, y, r.in(-0.1, 0.1))
			if r.chance(0.03) {
				col = pick(r, hex(0xc8b060), hex(0x4a9a98), hex(0x6a70b8))
			}
		}
		e.stroke(r, path, wide, r.tint(col, 0.1), m.pigment[thing].at(t+r.in(-0.2, 0.25)), l.body)
	}
}

// bright says whether a point lies in the inner light of a star.
func (m *motif) bright(x, y float64) bool {
	for _, s := range m.stars {
		if math.Hypot(x-s.x, y-s.y) < s.core*1.3 {
			return true
		}
	}
	return false
}

// lit is a colour of the sky under the light of the stars near it.
func (m *motif) lit(col vec, x, y, jitter float64) vec {
	for _, s := range m.stars {
		if d := math.Hypot(x-s.x, y-s.y)/s.halo + jitter; d < 1.3 {
			col = col.mix(s.glow(d), smooth(1.3, 0.7, d))
		}
	}
	return col
}

// glow is a star's colour at a distance from its middle, in radii of its halo.
func (s star) glow(d float64) vec {
	if s.moon {
		return ramp{hex(0xf8ecb0), hex(0xf4e490), hex(0xecd468), hex(0xc0cc84), hex(0x74a8ac), hex(0x3a74b0)}.at(d)
	}
	return ramp{hex(0xfffce0), hex(0xfae884), hex(0xf0c840), hex(0xccc470), hex(0x86b4a4), hex(0x3a74b0)}.at(d)
}

// paint lays the star's light in dashes round it, from the rim inwards, and its core last.
func (s star) paint(e *easel, r dice, m *motif) {
	wide := max(0.0065, 0.7*e.px)
	for d := s.halo; d > s.core*0.7; d -= wide * 1.5 {
		arc := 0.045 / d
		for a := r.in(0, 1); a < 2*math.Pi+0.5; a += arc * r.in(1, 1.3) {
			if sn, cs := math.Sincos(a + arc/2); r.chance(0.25) || m.thing(s.x+d*cs, s.y+d*sn) != inSky {
				continue
			}
			var path []point
			for t := 0.0; t <= 1; t += 0.2 {
				sn, cs := math.Sincos(a + arc*t)
				path = append(path, point{s.x + d*cs, s.y + d*sn})
			}
			f := d/s.halo + r.in(-0.16, 0.16)
			e.stroke(r, path, wide*r.in(0.8, 1.15), r.tint(s.glow(f), 0.08), s.glow(f-0.15), 1.3)
		}
	}
	if s.moon { // a crescent, in strokes from horn to horn between two arcs
		for k := 0.0; k <= 1.001; k += 0.125 {
			var path []point
			for t := -1.45; t <= 1.46; t += 0.145 {
				sn, cs := math.Sincos(t)
				u, v := s.core*lerp(0.35, 1, k)*cs, s.core*sn
				tsn, tcs := math.Sincos(s.tilt)
				path = append(path, point{s.x + u*tcs - v*tsn, s.y + u*tsn + v*tcs})
			}
			e.stroke(r, path, wide*r.in(0.8, 1), r.tint(hex(0xf09a1c), 0.08), hex(0xfcc848), 1.6)
		}
		return
	}
	for range int(5 + s.core*400) { // a knot of thick paint
		a, d := r.in(0, 2*math.Pi), s.core*math.Sqrt(r.Float64())*0.75
		var path []point
		for t := -1.0; t <= 1; t += 0.5 {
			sn, cs := math.Sincos(a + t*min(0.02/(d+0.004), 0.9))
			path = append(path, point{s.x + d*cs, s.y + d*sn})
		}
		e.stroke(r, path, wide*1.1, r.tint(hex(0xfffbe0), 0.06), hex(0xf8e070), 1.8)
	}
}

// outlines draws the contours of the ranges with a dark brush, as drawn first by hand.
func (m *motif) outlines(e *easel, r dice) {
	wide := max(0.0045, 0.6*e.px)
	for _, thing := range []int{inMountains, inHills, inField} {
		for x := -e.half; x < e.half; {
			var path []point
			for end := x + r.in(0.08, 0.2); x < end; x += 0.012 {
				y := m.crest(thing, x)
				if m.thing(x, y+0.004) != thing {
					break
				}
				path = append(path, point{x, y + 0.002})
			}
			x += 0.006
			if len(path) > 1 {
				e.stroke(r, path, wide*r.in(0.8, 1.2), r.tint(hex(0x0a1030), 0.3), hex(0x14305c), 1)
			}
		}
	}
}
