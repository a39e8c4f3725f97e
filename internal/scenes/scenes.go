// Package scenes draws pictures from a seed: photo-like scenes to train on and a
// painting to take a style from, so that a first training needs no download.
//
// It owns the drawing alone. It reads and writes no files, keeps no state, and
// does not claim to replace real photos: it covers their broad statistics (a 1/f
// spectrum, edges at many scales, soft light, grain), not their content.
package scenes

import (
	"image"
	"math"
	"math/rand/v2"
)

// Photo draws a photo-like scene of w by h pixels. The kinds of scene follow one
// another with the seed (mountains, still life, skyline, flowers, seaside,
// portrait, street, leaves, forest), so that any run of nine seeds shows them all.
// The same seed draws the same scene at every size, and the same pixels on every
// call. A w or h below 1 gives an empty picture.
func Photo(seed uint64, w, h int) *image.RGBA {
	kinds := []func(*canvas, dice, noise){
		mountains, stillLife, skyline, flowers, seaside, portrait, street, leaves, forest,
	}
	if w < 1 || h < 1 {
		return image.NewRGBA(image.Rectangle{})
	}
	r, n := begin(seed, 1)
	c := newCanvas(w, h)
	kinds[seed%uint64(len(kinds))](c, r, n)
	return c.develop(r, n)
}

// begin gives the sources of chance of one picture of a series. Seeds are scattered
// first: PCG's first numbers are alike for neighbouring seeds.
func begin(seed uint64, series int) (dice, noise) {
	s := noise(seed)
	return dice{rand.New(rand.NewPCG(s.bits(series, 1), s.bits(series, 2)))}, noise(s.bits(series, 3))
}

// canvas is a picture in linear light. Its coordinates have y from 0 at the top to
// 1 at the bottom, and x in the same unit with 0 in the middle.
type canvas struct {
	w, h int
	px   float64 // side of a pixel
	half float64 // x of the right edge
	pix  []vec
}

func newCanvas(w, h int) *canvas {
	return &canvas{w: w, h: h, px: 1 / float64(h), half: float64(w) / float64(h) / 2, pix: make([]vec, w*h)}
}

// paint lays the colour that f gives over the pixels of a box, with f's opacity (0 to 1).
func (c *canvas) paint(x0, y0, x1, y1 float64, f func(x, y float64) (vec, float64)) {
	col := func(x float64) int { return int(min(max((x+c.half)/c.px, 0), float64(c.w))) }
	row := func(y float64) int { return int(min(max(y/c.px, 0), float64(c.h))) }
	left, right := col(x0), min(col(x1)+1, c.w)
	for j := row(y0); j < min(row(y1)+1, c.h); j++ {
		line := c.pix[j*c.w:][:c.w]
		for i := left; i < right; i++ {
			if v, a := f((float64(i)+0.5)*c.px-c.half, (float64(j)+0.5)*c.px); a >= 1 {
				line[i] = v
			} else if a > 0 {
				line[i] = line[i].mix(v, a)
			}
		}
	}
}

// fill is paint for everything from y0 down.
func (c *canvas) fill(y0 float64, f func(x, y float64) (vec, float64)) {
	c.paint(-c.half, y0, c.half, 1, f)
}

// cover is how much of a pixel lies inside an edge at signed distance d (inside is
// negative), softened over at least a pixel.
func (c *canvas) cover(d, soft float64) float64 { return clamp(0.5 - d/max(c.px, soft)) }

// at is the colour already painted at a point, or at the nearest one inside.
func (c *canvas) at(x, y float64) vec {
	fx, fy := (x+c.half)/c.px-0.5, y/c.px-0.5
	fx, fy = min(max(fx, 0), float64(c.w-1)), min(max(fy, 0), float64(c.h-1))
	i, j := int(fx), int(fy)
	p := c.pix[j*c.w+i]
	q := c.pix[min(j+1, c.h-1)*c.w+i]
	k := min(i+1, c.w-1)
	return p.mix(c.pix[j*c.w+k], fx-float64(i)).mix(q.mix(c.pix[min(j+1, c.h-1)*c.w+k], fx-float64(i)), fy-float64(j))
}

// trace sets every pixel to the colour that shade gives, which also names the thing
// seen there; pixels on the outline of a thing get four samples.
func (c *canvas) trace(shade func(x, y float64) (v vec, thing int)) (things []int) {
	things = make([]int, c.w*c.h)
	for k := range things {
		c.pix[k], things[k] = shade((float64(k%c.w)+0.5)*c.px-c.half, (float64(k/c.w)+0.5)*c.px)
	}
	for k := range things {
		i, j := k%c.w, k/c.w
		if id := things[k]; id == things[j*c.w+min(i+1, c.w-1)] && id == things[j*c.w+max(i-1, 0)] &&
			id == things[min(j+1, c.h-1)*c.w+i] && id == things[max(j-1, 0)*c.w+i] {
			continue
		}
		var sum vec
		for q := range 4 {
			v, _ := shade((float64(i)+0.25+0.5*float64(q&1))*c.px-c.half, (float64(j)+0.25+0.5*float64(q>>1))*c.px)
			sum = sum.add(vec{min(v.x, 1.5), min(v.y, 1.5), min(v.z, 1.5)}.scale(0.25))
		}
		c.pix[k] = sum
	}
	return things
}

// reflect paints water below y0: what stands above it, upside down, shaken by
// ripples that grow towards the viewer, and darkened towards the water's colour.
func (c *canvas) reflect(n noise, y0, rough float64, water vec) {
	c.fill(y0, func(x, y float64) (vec, float64) {
		d := y - y0
		z := 1 / (d + 0.04)
		wave := n.fbm(x*z*2.2, z*9, 3)
		v := c.at(x+wave*rough*0.05*d, y0-d*1.1-math.Abs(wave)*rough*(0.02+0.25*d))
		return v.scale(0.85).mix(water, clamp(0.12+0.9*d+0.25*wave*rough)), 1
	})
}

// develop turns light into an 8-bit picture as a camera would: exposure set by the
// scene, highlights rolled off, corners a little darker, grain.
func (c *canvas) develop(r dice, n noise) *image.RGBA {
	mean := 0.0
	for _, v := range c.pix {
		mean += min(v.x+v.y+v.z, 3) / 3
	}
	mean /= float64(len(c.pix))
	gain := min(max(math.Sqrt(r.in(0.17, 0.26)/(mean+0.01)), 0.7), 1.7)
	warm, corner, grain := r.in(-0.05, 0.05), r.in(0.1, 0.3), r.in(0.01, 0.03)
	img := image.NewRGBA(image.Rect(0, 0, c.w, c.h))
	for j := range c.h {
		for i := range c.w {
			u, v := float64(i)/float64(c.w)-0.5, float64(j)/float64(c.h)-0.5
			p := c.pix[j*c.w+i].scale(gain * (1 - corner*2*(u*u+v*v)))
			// Three uniform numbers add up to nearly a Gaussian one.
			b := n.bits(i, j)
			g := (float64(b&0xffff)+float64(b>>16&0xffff)+float64(b>>32&0xffff))/0x10000 - 1.5
			o := img.Pix[img.PixOffset(i, j):][:4]
			for k, l := range [3]float64{p.x * (1 + warm), p.y, p.z * (1 - warm)} {
				if l > 0.6 {
					l = 0.6 + 0.4*(1-1/(1+(l-0.6)/0.4)) // slope 1 at 0.6, 1 at infinity
				}
				o[k] = uint8(255*clamp(math.Sqrt(max(l, 0))+g*grain) + 0.5)
			}
			o[3] = 255
		}
	}
	return img
}
