package scenes

import "math"

// solid is one thing on the table. Without dist it is a ball.
type solid struct {
	at   vec
	r    float64             // radius of a ball around everything
	dist func(p vec) float64 // distance to the surface, p counted from at
	skin func(p, n vec) vec  // colour, by place and direction
	wax  float64             // strength of the highlight
	stem bool
}

// hit is the distance along a ray (from o towards unit d) to the solid, or +Inf.
func (s *solid) hit(o, d vec) float64 {
	q := o.sub(s.at)
	b := q.dot(d)
	disc := b*b - q.dot(q) + s.r*s.r
	if disc < 0 {
		return math.Inf(1)
	}
	disc = math.Sqrt(disc)
	if s.dist == nil {
		return -b - disc
	}
	for t, i := -b-disc, 0; i < 40 && t < disc-b; i++ {
		e := s.dist(q.add(d.scale(t)))
		if e < 0.003 {
			return t
		}
		t += e
	}
	return math.Inf(1)
}

func (s *solid) normal(p vec) vec {
	p = p.sub(s.at)
	if s.dist == nil {
		return p.norm()
	}
	const e = 0.004
	g := func(d vec) float64 { return s.dist(p.add(d)) - s.dist(p.sub(d)) }
	return vec{g(vec{x: e}), g(vec{y: e}), g(vec{z: e})}.norm()
}

// shadow is how much of a broad light in direction l reaches p past the solid.
func (s *solid) shadow(p, l vec) float64 {
	q := s.at.sub(p)
	b := q.dot(l)
	if b < -s.r {
		return 1
	}
	// The light is a disc: the penumbra widens with the distance to the solid.
	wide := 0.03 + 0.22*max(b, 0)
	miss := q.dot(q) - b*b
	if miss > (s.r+wide)*(s.r+wide) {
		return 1
	}
	miss = math.Sqrt(max(miss, 0)) - s.r
	if s.dist == nil {
		return smooth(-wide, wide, miss)
	}
	light, t := 1.0, max(b-s.r, 0.01)
	for i := 0; i < 16 && t < b+s.r; i++ {
		e := s.dist(p.add(l.scale(t)).sub(s.at))
		light = min(light, 0.5+e/(0.06+0.44*t))
		t += max(e, 0.02)
	}
	return smooth(0, 1, light)
}

// stillLife is fruit, boxes and vessels on a table in the light of one window.
func stillLife(c *canvas, r dice, n noise) {
	var things []*solid
	put := func(s *solid) bool {
		for range 20 {
			s.at = vec{r.in(-1.15, 1.15) * min(c.half*2, 1.3), s.at.y, r.in(-0.75, 0.75)}
			free := true
			for _, o := range things {
				dx, dz := s.at.x-o.at.x, s.at.z-o.at.z
				free = free && math.Sqrt(dx*dx+dz*dz) > (s.r+o.r)*0.78
			}
			if free {
				things = append(things, s)
				return true
			}
		}
		return false
	}
	for range 1 + r.IntN(3) {
		put(vessel(r, n))
	}
	for range r.IntN(3) {
		put(box(r, n))
	}
	for range 3 + r.IntN(6) {
		put(fruit(r, n))
	}
	if g := (&solid{r: 0.3}); r.chance(0.5) && put(g) { // a bunch of grapes in the place of one ball
		things = things[:len(things)-1]
		col := r.tint(pick(r, hex(0x4a1f4a), hex(0x8a9a3a), hex(0x2a2448)), 0.2)
		for k := range 16 {
			a, d := float64(k)*2.4, 0.075*math.Sqrt(float64(k%9))
			at := vec{g.at.x + d*math.Cos(a), 0.085 + 0.11*float64(k/9), g.at.z + d*math.Sin(a)}
			things = append(things, &solid{at: at, r: r.in(0.075, 0.095), wax: 0.9, skin: func(p, _ vec) vec {
				return col.scale(0.8 + 0.5*n.fbm(p.x*9, p.y*9+p.z*9, 3))
			}})
		}
	}

	l := vec{r.sign() * r.in(0.5, 0.9), r.in(0.5, 0.8), r.in(-0.7, -0.2)}.norm()
	key := pick(r, hex(0xfff0d8), hex(0xffe0b0), hex(0xf0f4ff)).scale(r.in(1, 1.3))
	fill := pick(r, hex(0x50586a), hex(0x5a5048), hex(0x6a7078))
	wall := r.tint(pick(r, hex(0x5a5448), hex(0x3a4244), hex(0x7a6a58), hex(0x8a9490), hex(0x6a3c34)), 0.2)
	cloth, plain := r.tint(pick(r, hex(0xd8d0c0), hex(0xa0342c), hex(0x3a5a7a), hex(0xc8a860)), 0.15), r.IntN(3)
	table := func(x, z float64) vec {
		switch plain {
		case 0: // wood: boards with stretched grain
			board := math.Floor(z * 2.2)
			g := n.fbm(x*1.5+board*7, z*22, 5) + 0.3*math.Sin(30*(z+0.15*n.at(x+board*5, z*2)))
			gap := smooth(0.03, 0.01, z*2.2-board)
			return hex(0x8a5a34).mix(hex(0x4a2a18), clamp(0.4+0.6*g)).scale((0.85 + 0.3*n.cell(int(board), 3)) * (1 - 0.6*gap))
		case 1: // chequered cloth
			a, b := math.Floor(x*4), math.Floor(z*4)
			t := math.Abs(math.Mod(a, 2)) + math.Abs(math.Mod(b, 2))
			return vec{0.8, 0.78, 0.72}.mix(cloth, t/2).scale(0.9 + 0.25*n.at(x*90, z*90) + 0.2*n.fbm(x*2, z*2, 3))
		default: // plain cloth with soft folds
			f := n.ridged(x*0.9+z*0.4, z*0.7, 4)
			return cloth.scale(0.55 + 0.75*f + 0.2*n.at(x*100, z*60))
		}
	}

	eye := vec{r.in(-0.4, 0.4), r.in(1.1, 1.9), -3.9}
	fwd := vec{0, 0.38, 0}.sub(eye).norm()
	right := vec{fwd.z, 0, -fwd.x}.norm()
	up := vec{fwd.y * right.z, fwd.z*right.x - fwd.x*right.z, -fwd.y * right.x}
	zoom := r.in(0.52, 0.68)
	const back = 1.7 // depth of the wall
	look := func(x, y float64) (vec, int) {
		d := fwd.add(right.scale(x * zoom)).add(up.scale((0.5 - y) * zoom)).norm()
		id, t := -1, (back-eye.z)/d.z
		var col vec
		nrm, wax := vec{z: -1}, 0.0
		if ty := -eye.y / d.y; d.y < 0 && ty < t {
			id, t, nrm = -2, ty, vec{y: 1}
		}
		for k, s := range things {
			if h := s.hit(eye, d); h > 0 && h < t {
				id, t = k, h
			}
		}
		p := eye.add(d.scale(t))
		switch {
		case id >= 0:
			nrm = things[id].normal(p)
			col, wax = things[id].skin(p.sub(things[id].at), nrm), things[id].wax
		case id == -2:
			col, wax = table(p.x, p.z), 0.06
		default:
			col = wall.scale(0.8 + 0.3*n.fbm(p.x*2, p.y*2, 5) + 0.15*n.at(p.x*50, p.y*50))
			// Light from the window falls across the wall.
			col = col.scale(0.35 + 1.1*smooth(-0.9, 0.9, math.Copysign(0.8, -l.x)*p.x-0.4*p.y+0.5))
		}
		light, open := smooth(-0.15, 1, nrm.dot(l)), 1.0
		for k, s := range things {
			if k != id {
				if light > 0 {
					light *= s.shadow(p, l)
				}
				q := s.at.sub(p)
				if dd := q.dot(q); dd < 16*s.r*s.r { // darkness in the creases
					dd = math.Sqrt(dd)
					open *= 1 - 0.75*clamp(nrm.dot(q)/dd+0.1)*min(s.r*s.r/(dd*dd), 1)
				}
			}
		}
		bounce := cloth.mix(hex(0x8a5a34), float64(1-min(plain, 1))).scale(0.25 * clamp(0.3-nrm.y) * math.Exp(-1.5*p.y))
		v := col.mul(fill.scale(open * (0.8 + 0.4*nrm.y)).add(bounce.scale(open)).add(key.scale(light)))
		if wax > 0 {
			h := l.sub(d).norm().dot(nrm)
			rim := math.Pow(1-clamp(-nrm.dot(d)), 4)
			v = v.add(key.scale(wax * light * (math.Pow(max(h, 0), 60) + 0.12*math.Pow(max(h, 0), 8)))).add(fill.scale(rim * wax * open))
		}
		return v, id
	}
	ids := c.trace(look)
	for k, s := range things {
		q := s.at.add(vec{y: s.r * 0.93}).sub(eye)
		t := q.dot(fwd) * zoom
		x0, y0 := q.dot(right)/t, 0.5-q.dot(up)/t
		size, lean := s.r/t*0.45, r.in(-0.4, 0.4)
		if i, j := int((x0+c.half)/c.px), int(y0/c.px); !s.stem || i < 0 || j < 0 || i >= c.w || j >= c.h || ids[j*c.w+i] != k {
			continue
		}
		c.paint(x0-size, y0-size, x0+size, y0, func(x, y float64) (vec, float64) {
			u, v := (x-x0)/size, (y0-y)/size
			return hex(0x4a3520).scale(0.5 + clamp(0.5+5*(u-lean*v*v))), c.cover((math.Abs(u-lean*v*v)-0.06-0.05*v*v)*size, 0)
		})
	}
}

func fruit(r dice, n noise) *solid {
	rad := r.in(0.2, 0.3)
	s := &solid{at: vec{y: rad * 0.97}, r: rad, wax: 0.5}
	n += noise(r.IntN(1000))
	switch r.IntN(4) {
	case 0, 1: // apple: streaks from pole to pole, a dark hollow at the stem
		a, b := hex(0xb01c18), pick(r, hex(0xd8b040), hex(0x9ab040), hex(0xb83020))
		s.stem = true
		s.skin = func(p, nn vec) vec {
			streak := n.fbm(math.Atan2(nn.z, nn.x)*4, nn.y*1.5, 4)
			col := b.mix(a, clamp(0.6+1.4*streak+0.4*n.fbm(nn.x*2, nn.z*2+nn.y, 2)))
			return col.mix(hex(0x5a5020), 0.8*smooth(0.9, 0.99, nn.y))
		}
	case 2: // orange: pores
		s.wax, s.r = 0.25, rad*0.95
		s.skin = func(p, nn vec) vec {
			return hex(0xe8831a).scale(0.9 + 0.35*n.at(nn.x*30, nn.y*30+nn.z*17) + 0.2*n.fbm(nn.x*3, nn.y*3, 2))
		}
	default: // plum with its bloom
		s.wax, s.r, s.at.y = 0.3, rad*0.8, rad*0.78
		s.skin = func(p, nn vec) vec {
			return hex(0x4a1838).mix(hex(0x8a86b0), clamp(0.25+0.8*n.fbm(nn.x*3, nn.y*3+nn.z, 4)))
		}
	}
	return s
}

func box(r dice, n noise) *solid {
	w, h, d := r.in(0.18, 0.4), r.in(0.08, 0.35), r.in(0.18, 0.35)
	sn, cs := math.Sincos(r.in(0, math.Pi))
	col, band := r.tint(pick(r, hex(0x7a2a22), hex(0x2a4a5a), hex(0x8a7040), hex(0x3a4a30), hex(0xb8a888)), 0.2), r.in(0.3, 0.7)
	turn := func(p vec) vec { return vec{cs*p.x + sn*p.z, p.y, cs*p.z - sn*p.x} }
	return &solid{
		at: vec{y: h}, r: math.Sqrt(w*w+h*h+d*d) * 1.02, wax: 0.12,
		dist: func(p vec) float64 {
			p = turn(p)
			x, y, z := max(math.Abs(p.x)-w+0.015, 0), max(math.Abs(p.y)-h+0.015, 0), max(math.Abs(p.z)-d+0.015, 0)
			return math.Sqrt(x*x+y*y+z*z) - 0.015
		},
		skin: func(p, nn vec) vec {
			q := turn(p)
			v := col.scale(0.85 + 0.4*n.fbm(q.x*5+q.y*2, q.z*5+q.y*7, 4))
			if e := math.Abs(q.y/h - band + 0.5); e < 0.12 && nn.y < 0.5 {
				v = v.mix(hex(0xd8b870), 0.7)
			}
			return v
		},
	}
}

// vessel is a vase, a bottle or a jug: a profile turned about the vertical.
func vessel(r dice, n noise) *solid {
	tall, rad := r.in(0.7, 1.25), r.in(0.2, 0.32)
	waist, neck := r.in(0.2, 0.45), r.in(0.25, 0.6)
	col := r.tint(pick(r, hex(0x2a5a6a), hex(0xc8bca8), hex(0x9a5030), hex(0x2c4a30), hex(0x35507a)), 0.2)
	bottle, glaze := r.chance(0.4), pick(r, hex(0xd8d0bc), hex(0x20303a), hex(0xa87838))
	profile := func(t float64) float64 {
		if bottle {
			return rad * lerp(0.82, 0.24, smooth(0.5, 0.72, t))
		}
		e := (t - waist) / lerp(0.55, 0.8, smooth(-0.1, 0.1, t-waist))
		return rad * max(1.05*math.Sqrt(max(1-e*e, 0.01)), neck*(0.75+1.2*max(t-0.85, 0)))
	}
	return &solid{
		at: vec{y: tall / 2}, r: math.Sqrt(tall*tall/4+rad*rad) * 1.02, wax: r.in(0.4, 1),
		dist: func(p vec) float64 {
			t := clamp(p.y/tall + 0.5)
			side := math.Sqrt(p.x*p.x+p.z*p.z) - profile(t)
			return max(0.7*side, math.Abs(p.y)-tall/2)
		},
		skin: func(p, nn vec) vec {
			t := p.y/tall + 0.5
			a := math.Atan2(p.z, p.x)
			v := col.scale(0.85 + 0.5*n.fbm(a*2, t*6, 4))
			if !bottle {
				v = v.mix(glaze, 0.8*smooth(0, 0.04, n.fbm(a*1.3, 3, 3)*0.2+t-0.72))
			}
			return v
		},
	}
}
