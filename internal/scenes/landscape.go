package scenes

import "math"

// mood is the light of an outdoor scene.
type mood struct {
	zenith, horizon vec // sky above and below
	sun             vec // colour of the direct light
	lit, shade      vec // clouds
	sunX, sunY      float64
}

func weather(r dice, c *canvas, horizon float64) mood {
	m := pick(r,
		mood{zenith: hex(0x3f78c0), horizon: hex(0xc3dcee), sun: hex(0xfff4dc), lit: hex(0xffffff), shade: hex(0x95a5ba)},
		mood{zenith: hex(0x2a4f8c), horizon: hex(0xf6b878), sun: hex(0xffb865), lit: hex(0xffcf9a), shade: hex(0x8a6a86)},
		mood{zenith: hex(0x51618a), horizon: hex(0xf0a49a), sun: hex(0xffa070), lit: hex(0xffb09a), shade: hex(0x6a5f88)},
		mood{zenith: hex(0x7f93a6), horizon: hex(0xd9dcda), sun: hex(0xe8e6e0), lit: hex(0xe9ebec), shade: hex(0x79848f)},
		mood{zenith: hex(0x2463b4), horizon: hex(0x9fd0ee), sun: hex(0xffefc8), lit: hex(0xfffaf0), shade: hex(0x8c9cbc)},
	)
	m.sunX, m.sunY = r.in(-0.8, 0.8)*min(c.half, 1), horizon*r.in(0.15, 0.85)
	return m
}

// sky paints everything above the horizon: a gradient, the sun and its glow, and
// clouds on a flat ceiling seen in perspective.
func (m mood) sky(c *canvas, r dice, n noise, horizon float64) {
	few, size := r.in(-0.12, 0.25), r.in(1.5, 3)
	c.paint(-c.half, 0, c.half, horizon+0.1, func(x, y float64) (vec, float64) {
		up := max(horizon-y, 0)
		col := m.horizon.mix(m.zenith, math.Pow(up/horizon, 0.7))
		dx, dy := x-m.sunX, y-m.sunY
		d := math.Sqrt(dx*dx + dy*dy)
		glow := math.Exp(-5 * d)
		col = col.add(m.sun.scale(0.45*glow + 1.6*math.Exp(-24*d) + 8*smooth(0.036, 0.026, d)))
		z := size / (up + 0.22)
		u, v := x*z, 2*z
		den := n.fbm(u, v, 6)
		a := smooth(few, few+0.3, den) * smooth(-0.02, 0.12, up)
		if a <= 0 {
			return col, 1
		}
		// Clouds are darker where there is more cloud on the way to the sun.
		thick := n.fbm(u-0.25*dx/(d+0.1), v+0.25*dy/(d+0.1), 4)
		cloud := m.lit.mix(m.shade, clamp(0.25+1.1*thick+0.6*(den-few))).add(m.sun.scale(0.4 * glow))
		return col.mix(cloud, a*0.95), 1
	})
}

// ridge is a chain of mountains or hills: the height of its skyline over each column.
func ridge(c *canvas, n noise, base, height, freq float64, sharp bool) func(x float64) float64 {
	line := make([]float64, c.w)
	for i := range line {
		x := (float64(i)+0.5)*c.px - c.half
		if sharp {
			line[i] = base - height*(1.5*n.ridged(x*freq, 0.5, 7)-0.55)
		} else {
			line[i] = base - height*n.fbm(x*freq, 0.5, 6)
		}
	}
	return func(x float64) float64 { return line[min(max(int((x+c.half)/c.px), 0), c.w-1)] }
}

// mountains paints ranges behind one another, each paler than the one before it,
// above a lake, a meadow or a wood.
func mountains(c *canvas, r dice, n noise) {
	horizon := r.in(0.5, 0.66)
	m := weather(r, c, horizon)
	m.sky(c, r, n, horizon)
	side := 1.0 // of the sun
	if m.sunX < 0 {
		side = -1
	}
	rock, grass := r.tint(pick(r, hex(0x7a6f68), hex(0x6c6f78), hex(0x8a7460)), 0.1), r.tint(pick(r, hex(0x4d6a2c), hex(0x5f7a34), hex(0x7d7434)), 0.15)
	haze := m.horizon.mix(m.zenith, 0.25)
	ranges := 3 + r.IntN(3)
	snowy, freq := r.in(0, 0.9), r.in(0.9, 1.6)
	for k := range ranges {
		near := float64(k) / float64(ranges-1)
		n := n + noise(100*k)
		base, height := horizon-0.14+0.15*near, lerp(r.in(0.24, 0.42), 0.1, math.Sqrt(near))
		sharp := near < 0.7
		top := ridge(c, n, base, height, freq*(1+near), sharp)
		fog, snow := 0.75*(1-near)*(1-0.45*near), (snowy-near)*1.2
		wood := smooth(0.3, 0.9, near)
		c.paint(-c.half, 0, c.half, horizon+0.09, func(x, y float64) (vec, float64) {
			d := y - top(x)
			a := c.cover(-d, 0)
			if a <= 0 {
				return vec{}, 0
			}
			// The slope is a height field seen from the side; the sun lights the
			// faces that rise away from it.
			u, v := x*7, y*5
			e := n.ridged(u, v, 5)
			l := clamp(0.45 + 1.6*(e-n.ridged(u+side*0.16, v-0.1, 4)))
			col := rock.mix(grass.scale(0.5+0.5*e), clamp(wood+0.3*e))
			if snow > 0 {
				col = col.mix(vec{0.9, 0.92, 0.98}, smooth(0, 0.08, snow*0.3+0.25*(e-0.45)-d))
			}
			col = col.mul(m.zenith.scale(0.35).add(m.sun.scale(0.12 + 1.1*l)))
			return col.mix(haze, fog+(1-fog)*0.5*smooth(0.02, 0.3, d)*(1-near)), a
		})
	}
	n += 999
	switch shore := horizon + 0.06; r.IntN(3) {
	case 0:
		c.reflect(n, shore, r.in(0.1, 0.7), hex(0x1d3a4a))
		if r.chance(0.6) {
			bank(c, r, n, m, grass, 0.9)
		}
	case 1:
		meadow(c, r, n, m, shore-0.04, grass)
		for range 3 + r.IntN(8) {
			y := r.in(shore+0.02, 0.93)
			if s := (y - horizon) * r.in(0.8, 1.3); r.chance(0.6) {
				broadleaf(c, r, n, m, r.in(-c.half, c.half), y, s, r.tint(grass, 0.3))
			} else {
				conifer(c, n, m, r.in(-c.half, c.half), y, s, r.tint(hex(0x2c4a2c), 0.2))
			}
		}
	default:
		meadow(c, r, n, m, shore-0.04, grass)
		bank(c, r, n, m, grass, r.in(0.8, 1.02))
	}
}

// meadow is grass in perspective: rows of light and dark, and dots of flowers.
func meadow(c *canvas, r dice, n noise, m mood, y0 float64, grass vec) {
	bloom, some := pick(r, hex(0xf2e04a), hex(0xe85a50), hex(0xf4f0ff), hex(0xa070d0)), r.in(0.2, 0.9)
	top := ridge(c, n, y0, 0.05, 1.5, false)
	c.fill(y0-0.1, func(x, y float64) (vec, float64) {
		d := y - top(x)
		a := c.cover(-d, 0)
		if a <= 0 {
			return vec{}, 0
		}
		z := 1 / (d + 0.06)
		field := n.fbm(x*z*0.8, z*1.5, 4)
		blade := n.fbm(x*z*9, z*25, 3)
		col := grass.mix(grass.mul(vec{2.4, 1.9, 0.9}), clamp(0.45+1.3*field)).scale(1.15 + 1.1*blade)
		if n.at(x*z*14, z*40) > 1.0-0.5*some*clamp(field+0.5) {
			col = bloom
		}
		col = col.mul(m.zenith.scale(0.35).add(m.sun))
		return col.mix(m.horizon, 0.35*math.Exp(-9*d)), a
	})
}

// bank is a near shore with a row of conifers, dark against the light.
func bank(c *canvas, r dice, n noise, m mood, grass vec, y0 float64) {
	for x := -c.half; x < c.half; x += r.in(0.02, 0.16) {
		conifer(c, n+noise(r.IntN(99)), m, x, y0+0.03, r.in(0.15, 0.42), r.tint(hex(0x1f3524), 0.3))
	}
	top := ridge(c, n+7, y0, 0.06, 3, false)
	c.fill(y0-0.1, func(x, y float64) (vec, float64) {
		return grass.scale(0.35 + 0.4*n.fbm(x*40, y*60, 4)).mul(m.sun), c.cover(top(x)-y, 0)
	})
}

// conifer is a fir: tiers of drooping branches with ragged ends.
func conifer(c *canvas, n noise, m mood, x0, y0, size float64, col vec) {
	c.paint(x0-size*0.3, y0-size, x0+size*0.3, y0, func(x, y float64) (vec, float64) {
		t, s := (y-y0+size)/size, (x-x0)/size
		tier := t*9 + 0.6*n.at(x*30+y0*9, t*3)
		wide := 0.25 * t * (0.55 + 0.45*(tier-math.Floor(tier))) * (1 + 0.5*n.fbm(x/size*9, t*14, 3))
		if t > 0.93 {
			wide = 0.018
		}
		l := clamp(0.55 + 0.9*s/(wide+0.02)*math.Copysign(0.5, m.sunX-x0) + n.fbm(x/size*22, y/size*22, 3))
		return col.scale(0.4).mix(col.mul(m.sun).scale(2.2), l*l), c.cover((math.Abs(s)-wide)*size, 0)
	})
}

// broadleaf is a round tree: a trunk and a crown of many clumps, lit from the sun's side.
func broadleaf(c *canvas, r dice, n noise, m mood, x0, y0, size float64, col vec) {
	c.paint(x0-size*0.6, y0-0.02*size, x0+size*0.6, y0+0.06*size, func(x, y float64) (vec, float64) {
		return col.scale(0.12), 0.6 * bump((x-x0)/size, 0.25) * bump((y-y0)/size, 0.03)
	})
	c.paint(x0-size*0.05, y0-size*0.5, x0+size*0.05, y0, func(x, y float64) (vec, float64) {
		return hex(0x3c2c20).mul(m.sun), c.cover(math.Abs(x-x0)-size*0.03, 0)
	})
	lx, ly := math.Copysign(0.6, m.sunX-x0), -0.8
	for i := range 150 {
		// Clumps fill an ellipse, the low ones first, each broken up into leaves.
		ang, rad := r.in(0, 2*math.Pi), math.Sqrt(r.Float64())
		u, v := rad*math.Cos(ang), rad*math.Sin(ang)*0.9+0.25-0.5*float64(i)/150
		l := clamp(0.3+0.45*(u*lx+v*ly)) * r.in(0.7, 1.2)
		cx, cy, s := x0+u*size*0.33, y0-size*0.6+v*size*0.36, size*r.in(0.04, 0.1)
		leaf := col.mul(m.sun).mul(vec{1.7, 1.6, 1.1})
		c.paint(cx-s, cy-s, cx+s, cy+s, func(x, y float64) (vec, float64) {
			dx, dy := (x-cx)/s, (y-cy)/s
			e := n.fbm(x/size*45, y/size*45, 2)
			return col.scale(0.2).mix(leaf, clamp(l+0.5*e+0.25*(dx*lx+dy*ly))), smooth(1, 0.75, math.Sqrt(dx*dx+dy*dy)+0.9*e)
		})
	}
}

// seaside is a sea with the sun's track on it, a headland, a sail and a beach.
func seaside(c *canvas, r dice, n noise) {
	horizon := r.in(0.36, 0.55)
	m := weather(r, c, horizon)
	m.sky(c, r, n, horizon)
	if r.chance(0.7) {
		side, reach := r.sign(), r.in(0.1, 0.6)*c.half
		line := ridge(c, n+50, 0, 0.07, 3, true)
		c.paint(-c.half, horizon-0.3, c.half, horizon, func(x, y float64) (vec, float64) {
			h := 0.22*smooth(-reach, c.half, x*side) - line(x)*smooth(-reach, 0, x*side) - 0.02
			e := n.ridged(x*14, y*8, 4)
			col := hex(0x4c5a3c).mix(hex(0x8a7a68), e).mul(m.zenith.scale(0.4).add(m.sun.scale(e)))
			return col.mix(m.horizon, 0.35), c.cover(horizon-h-y, 0)
		})
	}
	deep := r.tint(pick(r, hex(0x0f3f55), hex(0x14505a), hex(0x1b3a58)), 0.1)
	wind, shore := r.in(0.5, 1.2), r.in(0.7, 1.05)
	slant, bend := r.in(-0.2, 0.2), r.in(0.5, 2)
	sand := r.tint(hex(0xcdb48c), 0.1)
	light := m.zenith.scale(0.3).add(m.sun.scale(0.75))
	c.fill(horizon, func(x, y float64) (vec, float64) {
		d := y - horizon
		z := 1 / (d + 0.015)
		u, v := x*z*1.3, z*4
		swell := n.fbm(u, v+0.3*n.at(u*0.3, v*0.3), 5) * wind
		tilt := clamp(0.5 + swell)
		col := deep.mul(light).mix(m.zenith.mix(m.horizon, 0.5), clamp(0.75*math.Exp(-4*d)*tilt+0.25*tilt))
		col = col.scale(0.7 + 0.5*tilt)
		track := math.Exp(-math.Abs(x-m.sunX) * 6 / (0.5 + d))
		col = col.add(m.sun.scale(3 * track * smooth(0.55, 0.95, tilt+0.15*track)))
		col = col.mix(vec{0.9, 0.93, 0.95}.mul(light).scale(1.2), smooth(0.75, 1, swell+0.15)*smooth(0.02, 0.2, d))
		// The beach: wet sand, then dry; foam where the water ends.
		edge := y - shore - slant*x - 0.03*n.fbm(x*bend*2, 3, 4)
		if edge > -0.12 {
			grit := n.fbm(x*60, y*90, 4)
			beach := sand.scale(0.9 + 0.35*grit + 0.15*n.fbm(x*5, y*12, 3)).mul(light).scale(lerp(0.55, 1.15, smooth(0, 0.1, edge)))
			foam := smooth(0.2, -0.1, math.Abs(edge+0.035+0.02*n.at(x*8, 9))/0.06+n.fbm(x*25, y*50, 4)*0.9)
			col = col.mix(hex(0x3f9a98).mul(light), 0.6*smooth(-0.12, 0, edge))
			col = col.mix(beach, c.cover(-edge, 0.01)).mix(vec{0.9, 0.9, 0.9}.mul(light), foam)
		}
		return col.mix(m.horizon, 0.5*math.Exp(-40*d)), 1
	})
	for range r.IntN(4) {
		x0, s := r.in(-0.8, 0.8)*c.half, r.in(0.04, 0.15)
		y0, lean := horizon+0.12*s, r.in(-0.1, 0.1)
		sail := pick(r, hex(0xf4efe4), hex(0xd8552f), hex(0xe8e0d0))
		c.paint(x0-s, y0-s, x0+s, y0+0.2*s, func(x, y float64) (vec, float64) {
			u, v := (x-x0)/s-lean*(y0-y)/s, (y0-y)/s
			cloth := max(math.Abs(u-0.02*math.Copysign(1, u))-0.42*(0.95-v)*(0.7+0.3*math.Copysign(1, u)), 0.12-v, 0.03-math.Abs(u))
			if hull := max(math.Abs(u)-0.36-v, math.Abs(v)-0.08); hull < cloth {
				return hex(0x3a2a24).mul(light), c.cover(hull*s, 0)
			}
			return sail.mul(light).scale(1.1 - 0.5*u), c.cover(cloth*s, 0)
		})
	}
}

// forest is trunks in mist, sunbeams, and a floor of leaves.
func forest(c *canvas, r dice, n noise) {
	fog := pick(r, hex(0xcfd8c0), hex(0xe8d8a8), hex(0xb8c8cc), hex(0xe6c79c))
	leaf := r.tint(pick(r, hex(0x5a7a2a), hex(0xb0702a), hex(0x7a8a30)), 0.15)
	floor, sunX := r.in(0.6, 0.72), r.in(-0.4, 0.4)
	c.fill(0, func(x, y float64) (vec, float64) {
		dx, dy := x-sunX, y-0.25
		glow := math.Exp(-3 * math.Sqrt(dx*dx+dy*dy))
		return fog.scale(0.55+0.9*glow).mix(leaf, 0.35*smooth(0.5, 0, y)*(0.7+n.fbm(x*6, y*6, 5))), 1
	})
	c.fill(floor-0.06, func(x, y float64) (vec, float64) {
		d := y - floor + 0.03*n.fbm(x*3, 1, 3)
		z := 1 / (max(d, 0) + 0.08)
		litter := n.fbm(x*z*5, z*14, 5)
		path := bump(x-sunX*(1-d*2)-0.1*n.at(d*7, 2), 0.06+0.35*d)
		col := hex(0x5a4428).mix(leaf.scale(1.2), clamp(0.5+1.3*litter)).mix(hex(0xb09a74), path*0.8)
		col = col.scale(0.55 + 0.5*litter + 0.6*clamp(n.fbm(x*2, z*0.8, 3)+0.2))
		return col.mix(fog.scale(0.8), math.Exp(-12*max(d, 0))*0.8), c.cover(-d, 0.02)
	})
	const layers = 5
	for k := range layers {
		near := (float64(k) + r.in(0, 0.5)) / layers
		foot := floor + 0.3*near*near
		wide := 0.008 + 0.05*near*near
		for range 12 - 2*k {
			x0, lean, wide, n := r.in(-c.half, c.half), r.in(-0.06, 0.06), wide*r.in(0.7, 1.4), n+noise(r.IntN(1e6))
			bark := r.tint(pick(r, hex(0x4a3a2c), hex(0x3c352e), hex(0x5c4c3a)), 0.2)
			side := math.Copysign(1, sunX-x0)
			c.paint(x0-4*wide-0.1, 0, x0+4*wide+0.1, foot+0.03, func(x, y float64) (vec, float64) {
				up := foot - y
				s := x - x0 - lean*up
				if math.Abs(s) > 2.2*wide+0.04+c.px {
					return vec{}, 0
				}
				flare := 1 / (1 + max(up, 0)/(2.5*wide))
				w := wide * (1 + 0.9*flare*flare - 0.3*up)
				s -= 0.03 * n.at(up*3, 1)
				if math.Abs(s) > w*1.2+c.px {
					return vec{}, 0
				}
				rough := n.fbm(s/wide*3, y/wide*0.7, 4)
				a := max(c.cover(math.Abs(s)-w+rough*wide*0.15, 0)*c.cover(-up-0.02*rough, 0.01), 0)
				col := bark.scale(clamp(0.5+0.5*side*s/w) + 0.15 + 0.8*rough)
				if moss := 0.8*smooth(0.2, 0, up) + rough - 0.4; moss > 0 {
					col = col.mix(hex(0x55702a), clamp(moss))
				}
				return col.mix(fog.scale(0.75), 0.85*(1-near)*(1-near)), a
			})
		}
		// Foliage hangs between the trunks, in clumps of fine leaves.
		edge := r.in(0.05, 0.3)
		c.paint(-c.half, 0, c.half, edge+0.35, func(x, y float64) (vec, float64) {
			f := 4 + 6*(1-near)
			den := n.fbm(x*f+float64(k)*9, y*f, 3) + 1.4*(edge-y)
			if den < -0.25 {
				return vec{}, 0
			}
			den += 0.35 * n.fbm(x*f*9, y*f*9+float64(k), 2)
			col := leaf.scale(0.35 + 0.9*clamp(0.5+n.fbm(x*f*5, y*f*5, 3)) + 1.2*bump(x-sunX, 0.3))
			return col.mix(fog.scale(0.8), 0.75*(1-near)), 0.9 * smooth(0.05, 0.16, den)
		})
	}
	c.fill(0, func(x, y float64) (vec, float64) {
		beam := n.fbm(math.Atan2(x-sunX, y+0.3)*9, 4, 3)
		return fog.scale(1.3), 0.4 * clamp(beam) * smooth(0.95, 0.2, y)
	})
}
