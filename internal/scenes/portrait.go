package scenes

import (
	"math"
	"slices"
)

// portrait is a head and shoulders: a relief of depths lit by a key and a rim light.
func portrait(c *canvas, r dice, n noise) {
	back := r.tint(pick(r, hex(0x3a4048), hex(0x6a5a4a), hex(0x7a8a94), hex(0x4a5a40), hex(0x8a6a5a)), 0.2)
	side := r.sign() // of the key light
	c.fill(0, func(x, y float64) (vec, float64) {
		d := math.Sqrt((x+side*0.1)*(x+side*0.1) + (y-0.4)*(y-0.4))
		return back.scale(1.3 - 1.3*d + 0.35*n.fbm(x*2.5, y*2.5, 4)), 1
	})
	if r.chance(0.5) { // a room or garden out of focus
		for range 30 {
			x0, y0, s := r.in(-c.half, c.half), r.in(0, 0.8), r.in(0.02, 0.09)
			col, a := r.tint(pick(r, back.scale(2.2), hex(0xe8c890), back.scale(0.4)), 0.3), r.in(0.1, 0.45)
			c.paint(x0-s, y0-s, x0+s, y0+s, func(x, y float64) (vec, float64) {
				return col, a * smooth(1, 0.75, math.Sqrt((x-x0)*(x-x0)+(y-y0)*(y-y0))/s)
			})
		}
	}
	flesh := r.tint(pick(r, hex(0xe6b898), hex(0xc89070), hex(0x8a5a40), hex(0xf0ccb0), hex(0x5c3a2a)), 0.08)
	mane := r.tint(pick(r, hex(0x1c1512), hex(0x4a3020), hex(0x8a6230), hex(0x8a8a88), hex(0x7a3418)), 0.2)
	dress := r.tint(pick(r, hex(0x2a3a5a), hex(0x7a2228), hex(0xc8c0b0), hex(0x3a4a38), hex(0x1e1e22), hex(0xb08a3a)), 0.2)
	iris := pick(r, hex(0x3a2414), hex(0x4a6a80), hex(0x4a5a30))
	long, smile, turn := r.chance(0.5), r.in(0, 0.09), r.in(-0.2, 0.2)
	part, neckline := r.in(-0.3, 0.3), r.in(-0.2, 0.35)
	jaw, fringe := r.in(0.2, 0.36), r.in(-0.72, -0.5)
	size, cx, cy := r.in(0.2, 0.25), r.in(-0.05, 0.05), r.in(0.38, 0.44)

	const (
		none = iota
		skin
		hair
		cloth
	)
	dome := func(u, v, w, h float64) float64 { return math.Sqrt(max(1-u*u/(w*w)-v*v/(h*h), 0)) }
	// relief is the nearest surface at (u, v), where the head is about 2 high.
	relief := func(u, v float64) (z float64, what int) {
		z = -9
		over := func(depth float64, w int) {
			if depth > z {
				z, what = depth, w
			}
		}
		if t := dome(u, v-2.6, 1.95-0.1*v, 1.5); t > 0 {
			over(0.75*t-0.15+0.05*n.fbm(u*2+0.5*v, v*1.5, 4), cloth)
			if what == cloth && math.Abs(u) < 0.55*(1.65+neckline-v) {
				z, what = z-0.04, skin
			}
		}
		if t := dome(u, 0, 0.4+0.15*max(v-1.1, 0)*max(v-1.1, 0)*4, 9); v > 0.3 && v < 1.75 && t > 0 {
			over(0.5*t-0.1, skin)
		}
		for _, s := range []float64{-1, 1} {
			if t := dome(u-s*0.76+turn*0.3, v-0.08, 0.12, 0.22); t > 0 && !long {
				over(0.12*t-0.1, skin)
			}
		}
		if t := dome(u, v, 0.78*(1-jaw*smooth(0.05, 0.95, v)), 1.03); t > 0 {
			f, e := u-turn*t, v // features turn with the head
			depth := 0.85 * t
			depth += 0.24 * bump(f, 0.06+0.06*smooth(0, 0.35, e)) * smooth(-0.25, 0.33, e) * smooth(0.46, 0.34, e)
			eye := math.Abs(f) - 0.3
			depth -= 0.1 * bump(eye, 0.14) * bump(e+0.02, 0.1)
			depth += 0.05*bump(e+0.2, 0.08)*bump(f, 0.35) + 0.05*bump(eye-0.1, 0.15)*bump(e-0.25, 0.14)
			depth += 0.05*bump(f, 0.16)*(bump(e-0.57, 0.035)+bump(e-0.66, 0.04)) + 0.06*bump(f, 0.15)*bump(e-0.9, 0.1)
			over(depth, skin)
		}
		// Hair: a cap down to the hairline, and locks beside the neck.
		w, h := 0.87, 1.13
		if long {
			w, h = 0.93+0.1*smooth(0, 1, v), 1.17
		}
		line := fringe + 0.45*(u-part)*(u-part) + 0.07*n.at(u*5, 4)
		lock := 0.6 + 0.05*n.at(v*4, 2)
		low := 0.12
		if long {
			low = 1.35 + 0.12*n.at(u*9, 1)
		}
		if v < line || (math.Abs(u-0.5*turn) > lock && v < low) {
			t := dome(u, v+0.06, w, h)
			if v > -0.06 {
				t = dome(u, 0, w, 1)
			}
			if t > 0 {
				over(0.9*t+0.03*n.fbm((u-part)*14/(1+0.6*math.Abs(v)), v*2+u*u, 4), hair)
			}
		}
		return z, what
	}
	key := vec{side * 0.6, -0.55, 0.6}.norm()
	lamp, fill := pick(r, hex(0xfff0dc), hex(0xffe0bc), hex(0xf4f6ff)).scale(r.in(0.9, 1.2)), back.scale(0.5).add(vec{0.12, 0.12, 0.13})
	behind := *c
	behind.pix = slices.Clone(c.pix)
	c.trace(func(x, y float64) (vec, int) {
		u, v := (x-cx)/size, (y-cy)/size
		z, what := relief(u, v)
		if what == none {
			return behind.at(x, y), none
		}
		const e = 0.025
		zx, wx := relief(u+e, v)
		zy, wy := relief(u, v+e)
		if wx != what {
			left, _ := relief(u-e, v)
			zx = 2*z - left
		}
		if wy != what {
			above, _ := relief(u, v-e)
			zy = 2*z - above
		}
		nrm := vec{(z - zx) / e, (z - zy) / e, 1}.norm()
		f := u - turn*dome(u, v, 0.78, 1.03)
		var col vec
		gloss := 0.15
		switch what {
		case hair:
			strand := n.fbm((u-part)*26/(1+0.6*math.Abs(v)), v*2.5+u*u*2, 4)
			col, gloss = mane.scale(0.75+1.1*clamp(strand+0.4)), 0.35*(0.5+strand)
		case cloth:
			knit := 0.12 * math.Sin(u*95) * math.Sin(v*95+u*9)
			col, gloss = dress.scale(0.9+knit+0.3*n.fbm(u*8, v*8, 3)), 0.02
			if math.Abs(math.Abs(u)-0.55*(1.65+neckline-v)) < 0.07 {
				col = col.scale(0.6)
			}
		default:
			col = flesh.scale(0.95 + 0.12*n.fbm(u*12, v*12, 4))
			if v < 1.05 {
				eye := math.Abs(f) - 0.3
				warm := bump(eye-0.12, 0.16)*bump(v-0.3, 0.14) + bump(f, 0.08)*bump(v-0.35, 0.06)
				col = col.mix(col.mul(vec{1.05, 0.7, 0.65}), 0.7*warm)
				lid := 0.06*(1-eye*eye/(0.15*0.15)) + 0.02
				open := v + 0.02
				col = col.scale(1 - 0.6*smooth(0.03, 0, math.Abs(open+lid*0.8))*bump(eye, 0.1)) // lashes
				if math.Abs(open) < lid*0.75 && math.Abs(eye) < 0.15 {
					d := math.Sqrt((f-math.Copysign(0.3, f)+turn*0.1)*(f-math.Copysign(0.3, f)+turn*0.1) + open*open)
					col = vec{0.75, 0.72, 0.7}.mix(iris, smooth(0.075, 0.06, d)).mix(vec{}, smooth(0.04, 0.03, d))
					if dx, dy := f-math.Copysign(0.3, f)-side*0.025, open+0.02; dx*dx+dy*dy < 0.0004 {
						col = vec{1.2, 1.2, 1.2}
					}
				}
				arch := v + 0.2 + 0.35*eye*eye
				col = col.mix(mane.scale(0.8), 0.85*smooth(0.05, 0.02, math.Abs(arch)+0.02*n.at(f*30, v*8))*smooth(0.2, 0.14, math.Abs(eye)))
				mouth := v - 0.61 + smile*math.Abs(f)*5 - smile*0.5
				half := 0.27 - smooth(0, 0.12, math.Abs(mouth))*0.25
				lips := smooth(0.085, 0.06, math.Abs(mouth)) * smooth(half, half-0.06, math.Abs(f))
				col = col.mix(col.mul(vec{0.95, 0.5, 0.5}), lips*0.8)
				col = col.scale(1 - 0.65*smooth(0.022, 0.004, math.Abs(mouth))*smooth(0.25, 0.18, math.Abs(f)))
				col = col.scale(1 - 0.55*bump(math.Abs(f)-0.06, 0.025)*bump(v-0.43, 0.02)) // nostrils
			}
		}
		light := smooth(-0.2, 1, nrm.dot(key))
		if what != hair && v > 0.8 { // the chin's shadow
			light *= 1 - 0.75*bump(u+side*0.15, 0.35)*smooth(0.85, 1, v)*smooth(1.6, 1.15, v)
		}
		out := col.mul(fill.scale(0.75 + 0.35*nrm.z).add(lamp.scale(light)))
		h := key.add(vec{z: 1}).norm().dot(nrm)
		out = out.add(lamp.scale(gloss * math.Pow(max(h, 0), 22)))
		rim := smooth(0.45, 0.1, nrm.z) * clamp(-side*nrm.x)
		return out.add(col.mul(lamp).scale(0.9 * rim)), what
	})
}
