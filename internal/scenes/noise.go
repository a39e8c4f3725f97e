package scenes

import (
	"math"
	"math/rand/v2"
)

// vec is a point in space or a colour: red, green and blue in linear light,
// 0 black, 1 white, above 1 brighter than the film can hold.
type vec struct{ x, y, z float64 }

func (a vec) add(b vec) vec            { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec            { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) mul(b vec) vec            { return vec{a.x * b.x, a.y * b.y, a.z * b.z} }
func (a vec) scale(s float64) vec      { return vec{a.x * s, a.y * s, a.z * s} }
func (a vec) dot(b vec) float64        { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) norm() vec                { return a.scale(1 / math.Sqrt(a.dot(a)+1e-18)) }
func (a vec) mix(b vec, t float64) vec { return a.add(b.sub(a).scale(t)) }

// hex is the linear colour of 0xRRGGBB. Gamma is taken as 2, so that the way
// back is one square root, rounded alike on every machine.
func hex(v uint32) vec {
	r, g, b := float64(v>>16&255)/255, float64(v>>8&255)/255, float64(v&255)/255
	return vec{r * r, g * g, b * b}
}

func clamp(t float64) float64 { return min(max(t, 0), 1) }

func lerp(a, b, t float64) float64 { return a + (b-a)*t }

// smooth rises from 0 at a to 1 at b, flat at both ends.
func smooth(a, b, t float64) float64 {
	t = clamp((t - a) / (b - a))
	return t * t * (3 - 2*t)
}

// bump is a bell of height 1 around 0, about s wide, and 0 beyond 2s.
func bump(t, s float64) float64 {
	t = max(0, 1-t*t/(4*s*s))
	return t * t * t
}

// dice draws the random choices of one picture.
type dice struct{ *rand.Rand }

func (r dice) in(a, b float64) float64 { return lerp(a, b, r.Float64()) }
func (r dice) chance(p float64) bool   { return r.Float64() < p }
func (r dice) sign() float64           { return float64(r.IntN(2)*2 - 1) }

func pick[T any](r dice, of ...T) T { return of[r.IntN(len(of))] }

// tint varies a colour by up to a share s in brightness, and by half of it in hue.
func (r dice) tint(c vec, s float64) vec {
	c = c.scale(1 + r.in(-s, s))
	return vec{c.x * (1 + r.in(-s, s)/2), c.y * (1 + r.in(-s, s)/2), c.z * (1 + r.in(-s, s)/2)}
}

// noise is a seed for functions of the plane: the same point always gives the same value.
type noise uint64

func (n noise) bits(x, y int) uint64 {
	h := uint64(n) + uint64(x)*0x9E3779B97F4A7C15 + uint64(y)*0xC2B2AE3D27D4EB4F
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	return h ^ h>>32
}

// cell is uniform in [0, 1) and independent from one lattice cell to the next.
func (n noise) cell(x, y int) float64 { return float64(n.bits(x, y)>>11) / (1 << 53) }

// at is gradient noise: smooth, about -1 to 1, with features of size 1.
func (n noise) at(x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	ix, iy := int(fx), int(fy)
	x, y = x-fx, y-fy
	u, v := x*x*x*(x*(x*6-15)+10), y*y*y*(y*(y*6-15)+10)
	a := lerp(slope(n.bits(ix, iy), x, y), slope(n.bits(ix+1, iy), x-1, y), u)
	b := lerp(slope(n.bits(ix, iy+1), x, y-1), slope(n.bits(ix+1, iy+1), x-1, y-1), u)
	return lerp(a, b, v) * 1.7
}

func slope(h uint64, x, y float64) float64 {
	return (float64(int16(h))*x + float64(int16(h>>16))*y) / (1 << 15)
}

// fbm adds octaves of noise, each half as large and half as strong: the 1/f
// amplitude spectrum of natural textures. About -1 to 1.
func (n noise) fbm(x, y float64, octaves int) float64 {
	sum, amp := 0.0, 0.5
	for o := range octaves {
		sum += amp * (n+noise(o)).at(x, y)
		// The turn and odd factor keep the lattices of the octaves apart.
		x, y, amp = 1.62*x+1.18*y+5.3, 1.62*y-1.18*x+1.7, amp/2
	}
	return sum
}

// ridged is fbm folded at 0 into sharp crests, 0 to about 1.
func (n noise) ridged(x, y float64, octaves int) float64 {
	sum, amp := 0.0, 0.5
	for o := range octaves {
		t := 1 - math.Abs((n+noise(o)).at(x, y))
		sum += amp * t * t
		x, y, amp = 1.62*x+1.18*y+5.3, 1.62*y-1.18*x+1.7, amp/2
	}
	return sum
}
