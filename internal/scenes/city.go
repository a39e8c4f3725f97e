package scenes

import "math"

// skyline is a row of towers at the end of a day, or by day, over water or a dark shore.
func skyline(c *canvas, r dice, n noise) {
	base := r.in(0.62, 0.78)
	m := weather(r, c, base)
	night := r.in(-0.6, 1)
	if night > 0.3 {
		m.zenith, m.horizon = m.zenith.mix(hex(0x0a1230), 0.85), m.horizon.mix(hex(0x3a3a70), 0.6)
		m.lit, m.shade, m.sun = m.lit.scale(0.25), m.shade.scale(0.15), m.sun.scale(0.5)
		m.sunY = base * r.in(0.9, 1.3) // behind the houses
	}
	m.sky(c, r, n, base)
	const layers = 3
	for k := range layers {
		near := (float64(k) + 0.5) / layers
		for x := -c.half - 0.05; x < c.half; {
			wide := r.in(0.05, 0.13) * (0.7 + 0.5*near)
			tall := lerp(0.3, 0.14, near) + math.Pow(r.Float64(), 2)*lerp(0.32, 0.22, near)
			tower(c, r, n, m, x, base, wide, tall, near, night)
			x += wide * r.in(0.75, 1.3)
		}
	}
	c.fill(base-0.012, func(x, y float64) (vec, float64) {
		return hex(0x22242a).scale(0.6 + n.fbm(x*30, y*30, 3)), c.cover(base-0.008-0.01*math.Abs(n.at(x*40, 3))-y, 0)
	})
	c.reflect(n, base+0.01, r.in(0.3, 1), hex(0x10202e).scale(r.in(0.4, 1.2)))
}

// tower is one building with its roof and a grid of windows, some of them lit.
func tower(c *canvas, r dice, n noise, m mood, x0, base, wide, tall, near, night float64) {
	wall := r.tint(pick(r, hex(0x8a8078), hex(0x6a7480), hex(0x9a7460), hex(0x55606c), hex(0xb0a898)), 0.25)
	step := wide / float64(3+r.IntN(6))
	floor := step * r.in(0.8, 1.6)
	glass, busy := r.chance(0.35), r.in(0.15, 0.6)*smooth(-0.2, 0.6, night)
	top, mast, cut := base-tall, 0.0, 0.0
	if r.chance(0.3) {
		mast = tall * r.in(0.1, 0.3)
	}
	if r.chance(0.4) {
		cut = wide * r.in(0.1, 0.3) // the upper part stands back
	}
	setback, slant := tall*r.in(0.2, 0.5), r.in(0, 0.5)*float64(r.IntN(2))
	id := int(r.Uint32())
	light := m.zenith.scale(0.5).add(m.sun.scale(lerp(0.9, 0.1, smooth(-0.2, 0.5, night))))
	haze := m.horizon.mix(m.zenith, 0.3)
	side := math.Copysign(1, m.sunX-x0)
	c.paint(x0, top-mast, x0+wide, base, func(x, y float64) (vec, float64) {
		u, v := x-x0, y-top
		in := 0.0
		if v < setback {
			in = cut
		}
		s := math.Abs(u - wide/2)
		d := max(s-wide/2+in, -v-slant*(u-wide/2)*0.8+slant*wide*0.4)
		if mast > 0 {
			d = min(d, max(s-0.0025-0.006*clamp(1+v/mast*2), v))
		}
		a := c.cover(d, 0)
		if a <= 0 {
			return vec{}, 0
		}
		face := 1 + 0.3*side*(u/wide-0.5)
		col := wall.mul(light).scale(face * (0.8 + 0.3*n.fbm(x*20, y*40, 3)))
		if glass {
			col = m.horizon.mix(m.zenith, clamp(0.4+0.5*v/tall+0.3*n.fbm(x*5, y*9, 3))).scale(0.75 * face)
		}
		gx, gy := u/step, v/floor
		ix, iy := int(math.Floor(gx)), int(math.Floor(gy))
		fx, fy := math.Abs(gx-math.Floor(gx)-0.5), math.Abs(gy-math.Floor(gy)-0.5)
		pane := clamp(0.5+(0.33-fx)*step/c.px) * clamp(0.5+(0.34-fy)*floor/c.px) * clamp(-d/c.px-1)
		w := n.cell(id+ix, iy)
		dark := col.scale(0.4).add(m.zenith.scale(0.12))
		if n.cell(id+ix, iy+9999) < busy {
			dark = hex(0xffd890).mix(hex(0xfff4e0), w).scale(0.5 + w)
		} else if w > 0.8 {
			dark = dark.mix(m.horizon, 0.6) // the sky, mirrored
		}
		col = col.mix(dark, pane)
		return col.mix(haze, 0.65*(1-near)), a
	})
}

// street looks down a road between two rows of houses, in one-point perspective.
func street(c *canvas, r dice, n noise) {
	vx, vy := r.in(-0.15, 0.15), r.in(0.45, 0.58)
	m := weather(r, c, vy)
	m.sunY = vy * r.in(0.5, 0.9)
	m.sunX = vx + r.sign()*r.in(0.05, 0.3)
	m.sky(c, r, n, vy+0.05)
	eye, road := r.in(0.55, 0.8), r.in(0.7, 1.1)
	walk := road + r.in(0.3, 0.5) // from the middle to the house fronts
	evening := r.in(-0.5, 0.8)
	id := int(r.Uint32())
	sunSide := math.Copysign(1, vx-m.sunX)
	ambient := m.zenith.scale(0.45).add(m.horizon.scale(0.15))
	colours := []vec{hex(0xc8a27a), hex(0xb06a4c), hex(0xd8c8a8), hex(0x8a8c90), hex(0xa8b0a0), hex(0xcc9a94), hex(0x90684e)}
	c.fill(0, func(x, y float64) (vec, float64) {
		dx, dy := x-vx, y-vy
		z := walk / max(math.Abs(dx), 1e-3) // depth of the house front under this pixel
		far := 1 - math.Exp(-z/14)
		if dy*z < eye { // above the ground there: a front, or the sky above its roof
			if z > 45 {
				return m.horizon.scale(0.95), 1 - smooth(-0.03, -0.05, dy)
			}
			side := 7
			if dx < 0 {
				side = 3
			}
			plot := z / 1.9
			lot, frac := int(plot), plot-math.Floor(plot)
			h := n.cell(id+lot, side)
			roof := 1.3 + 1.5*h
			up := eye - dy*z
			if up > roof+eye+0.08*smooth(0.03, 0, math.Abs(frac-0.5)-0.1) {
				return vec{}, 0
			}
			col := colours[n.bits(id+lot, side+50)%uint64(len(colours))]
			col = col.scale(0.75 + 0.4*n.fbm(z*4, up*5, 4) + 0.2*n.at(z*60, up*60)*math.Exp(-z/3))
			// Windows in storeys; shops with a dark front and an awning below.
			cols := 2 + int(3*n.cell(id+lot, side+90))
			gx, gy := frac*float64(cols), (up-0.45)/0.42
			ix, iy := int(gx), int(math.Floor(gy))
			fx, fy := math.Abs(gx-math.Floor(gx)-0.5), gy-math.Floor(gy)
			blur := c.px * z * 1.6
			pane := smooth(0.27+blur, 0.27-blur, fx) * smooth(0.36+blur, 0.36-blur, math.Abs(fy-0.5))
			frame := smooth(0.34+blur, 0.34-blur, fx) * smooth(0.43+blur, 0.43-blur, math.Abs(fy-0.5))
			if gy < 0 {
				pane, frame = smooth(0.44, 0.4, fx)*smooth(0.05, 0.07, up)*smooth(0.36, 0.34, up), 0
				if up > 0.33 {
					col = colours[(n.bits(id+lot, side+51))%3].scale(0.5 + 0.5*math.Copysign(1, math.Sin(frac*60)))
				}
			}
			light := ambient
			if sunSide*dx > 0 {
				light = light.add(m.sun.scale(0.75 * smooth(0.2, 0.5, up/roof-0.25*h)))
			}
			col = col.scale(1 + 0.35*frame).mul(light.scale(1.35))
			glass := m.zenith.mix(m.horizon, n.cell(id+lot*8+ix, iy)).scale(0.16)
			if n.cell(id+lot*8+ix, iy+77) < evening*0.7 || (gy < 0 && evening > 0) {
				glass = hex(0xffd48a).scale(0.5 + 0.6*n.cell(id+lot*8+ix, iy+5))
			}
			col = col.mix(glass, pane)
			if edge := min(roof+eye-up, 10); edge < 0.12 {
				col = light.scale(lerp(0.75, 0.25, smooth(0.03, 0.06, edge))) // cornice
			}
			col = col.scale(1 - 0.5*smooth(0.02+blur/4, 0, min(frac, 1-frac)))
			return col.mix(m.horizon, far*0.85), 1
		}
		z = eye / dy
		far = 1 - math.Exp(-z/14)
		gx := dx * z
		wet := n.fbm(gx*2, z*1.5, 5)
		col := hex(0x6c6a6a).scale(0.75 + 0.5*wet + 0.5*n.at(gx*40, z*40)*math.Exp(-z/2))
		fade := c.px * z * 3
		if s := math.Abs(gx); s > road {
			slab := min(math.Abs(s*4-math.Floor(s*4)-0.5), math.Abs(z*2-math.Floor(z*2)-0.5))
			col = hex(0xa8a298).scale(0.8 + 0.3*wet - 0.3*smooth(0.04, 0, slab)*math.Exp(-z/4))
			col = col.scale(1 - 0.5*smooth(0.05, 0, s-road))
		} else if s < 0.035 && math.Mod(z, 1.4) < 0.8 || math.Abs(s-road+0.12) < 0.02 {
			col = col.mix(vec{0.8, 0.8, 0.75}, 0.8*math.Exp(-fade))
		}
		shadow := smooth(-0.1, 0.1, sunSide*gx-0.3-0.3*n.cell(id+int(z/1.9), 3))
		col = col.mul(ambient.add(m.sun.scale(0.7 * shadow)).scale(1.3))
		return col.mix(m.horizon, far*0.85), 1
	})
	// Lamps and trees on both pavements, far to near.
	for k := 9; k >= 1; k-- {
		for _, side := range []float64{-1, 1} {
			z := (float64(k) + 0.5*side*0.3) * 0.95
			x0, y0, s := vx+side*(road+0.13)/z, vy+eye/z, 1/z
			if math.Abs(x0) > c.half+s*0.5 || y0 > 1.2 {
				continue
			}
			if k%2 == 0 {
				broadleaf(c, r, n, m, x0, y0, s*r.in(0.8, 1.1), r.tint(hex(0x47642a), 0.3).mul(ambient.scale(2)))
			} else {
				lamp(c, x0, y0, s, -side, evening > 0)
			}
		}
	}
	for range r.IntN(4) {
		z := r.in(1.6, 7)
		lane := math.Copysign(road*0.5, r.in(-1, 1))
		car(c, m, vx+lane/z, vy+eye/z, 1/z, r.tint(pick(r, hex(0xb02a20), hex(0x2a4a8a), hex(0xd8d8d4), hex(0x1c1e22), hex(0xd8a020)), 0.2), ambient, lane < 0)
	}
}

func lamp(c *canvas, x0, y0, s, arm float64, lit bool) {
	lx, ly := x0+arm*0.14*s, y0-0.98*s
	c.paint(x0-0.2*s, y0-1.1*s, x0+0.2*s, y0, func(x, y float64) (vec, float64) {
		pole := max(math.Abs(x-x0)-0.013*s, y0-s-y)
		reach := max(math.Abs(x-(x0+lx)/2)-0.08*s, math.Abs(y-y0+s)-0.012*s)
		return hex(0x2a2c2e), c.cover(min(pole, reach), 0)
	})
	c.paint(lx-0.4*s, ly-0.4*s, lx+0.4*s, ly+0.4*s, func(x, y float64) (vec, float64) {
		d := math.Sqrt((x-lx)*(x-lx)+(y-ly)*(y-ly)) / s
		if lit {
			return hex(0xffe2a0).scale(1.6), clamp(smooth(0.05, 0.03, d) + 0.4*math.Exp(-14*d)*smooth(0.4, 0.2, d))
		}
		return hex(0xd8d8d0), smooth(0.04, 0.03, d)
	})
}

// car is seen from behind, or from the front when it comes towards the viewer.
func car(c *canvas, m mood, x0, y0, s float64, paint, ambient vec, coming bool) {
	s *= 0.33
	lights := hex(0xd01a10)
	if coming {
		lights = hex(0xfff6d8)
	}
	c.paint(x0-1.5*s, y0-0.2*s, x0+1.5*s, y0+0.2*s, func(x, y float64) (vec, float64) {
		return vec{}, 0.75 * bump((x-x0)/s, 0.7) * bump((y-y0)/s, 0.09)
	})
	c.paint(x0-s, y0-1.2*s, x0+s, y0, func(x, y float64) (vec, float64) {
		u, v := math.Abs(x-x0)/s, (y0-y)/s
		box := func(cx, cy, w, h, round float64) float64 {
			dx, dy := max(math.Abs(u-cx)-w+round, 0), max(math.Abs(v-cy)-h+round, 0)
			return math.Sqrt(dx*dx+dy*dy) - round
		}
		body, cabin := box(0, 0.4, 0.8, 0.28, 0.14), box(0, 0.78, 0.62-0.35*max(v-0.7, 0), 0.3, 0.12)
		tyre := box(0.6, 0.12, 0.13, 0.14, 0.04)
		d := min(body, cabin, tyre)
		shine := clamp(0.4 + 0.8*smooth(0.15, 0.75, v))
		col := paint.mul(ambient.add(m.sun.scale(0.5))).scale(1.5 * shine)
		switch {
		case body > 0 && cabin > 0:
			col = hex(0x141416)
		case box(0, 0.82, 0.52-0.35*max(v-0.7, 0), 0.18, 0.06) < 0:
			col = m.zenith.mix(m.horizon, smooth(0.6, 1, v)).scale(0.3)
		case box(0.62, 0.46, 0.13, 0.08, 0.03) < 0:
			col = lights
		case box(0, 0.3, 0.2, 0.06, 0.01) < 0:
			col = hex(0xd8d8c0).scale(0.7)
		}
		return col, c.cover(d*s, 0)
	})
}
