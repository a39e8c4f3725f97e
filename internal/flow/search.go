package flow

import "math"

const (
	patch    = 8  // the side of a patch, in pixels
	step     = 4  // from one patch to the next
	descents = 12 // of a patch's place, at most
	stripe   = 16 // rows of patches that are searched one after the other
)

// searcher finds patches of one picture in another, and makes a field of them.
type searcher struct {
	nx, ny int
	u, v   []float32 // (ny, nx), of patches
	ssd    []float32 // how badly each fits there
}

// placed is where the n-th patch of a line of that many pixels begins: the last
// one ends with the line.
func placed(i, pixels int) int { return min(i*step, pixels-patch) }

// run replaces f, a first guess, by what the search finds.
func (s *searcher) run(f *Field, a, b *level) {
	s.nx, s.ny = (a.w-patch+step-1)/step+1, (a.h-patch+step-1)/step+1
	n := s.nx * s.ny
	if cap(s.u) < n {
		s.u, s.v, s.ssd = make([]float32, n), make([]float32, n), make([]float32, n)
	}
	s.u, s.v, s.ssd = s.u[:n], s.v[:n], s.ssd[:n]
	// Patches take over what their neighbours have found, in an order. Stripes
	// are apart, so that they run on many cores and the order does not matter.
	each((s.ny+stripe-1)/stripe, func(i int) { s.stripe(f, a, b, i*stripe, min((i+1)*stripe, s.ny)) })
	each(a.h, func(y int) { s.densify(f, a, b, y) })
}

// stripe searches the patches of the rows j0 ≤ j < j1: down, and up again.
func (s *searcher) stripe(f *Field, a, b *level, j0, j1 int) {
	var t template
	for j := j0; j < j1; j++ {
		for i := range s.nx {
			k := j*s.nx + i
			x, y := placed(i, a.w), placed(j, a.h)
			t.cut(a, x, y)
			centre := (y+patch/2)*f.W + x + patch/2
			s.u[k], s.v[k] = f.U[centre], f.V[centre]
			s.ssd[k] = t.compare(b, s.u[k], s.v[k])
			if i > 0 {
				s.adopt(&t, b, k, k-1)
			}
			if j > j0 {
				s.adopt(&t, b, k, k-s.nx)
			}
			s.descend(&t, b, k)
		}
	}
	for j := j1 - 1; j >= j0; j-- {
		for i := s.nx - 1; i >= 0; i-- {
			k := j*s.nx + i
			t.cut(a, placed(i, a.w), placed(j, a.h))
			adopted := i < s.nx-1 && s.adopt(&t, b, k, k+1)
			if j < j1-1 {
				adopted = s.adopt(&t, b, k, k+s.nx) || adopted
			}
			if adopted {
				s.descend(&t, b, k)
			}
		}
	}
}

// adopt takes over the motion of another patch where it fits better.
func (s *searcher) adopt(t *template, b *level, k, other int) bool {
	u, v := s.u[other], s.v[other]
	if du, dv := u-s.u[k], v-s.v[k]; du*du+dv*dv < 1./64 {
		return false
	}
	ssd := t.compare(b, u, v)
	if ssd >= s.ssd[k] {
		return false
	}
	s.u[k], s.v[k], s.ssd[k] = u, v, ssd
	return true
}

// descend moves a patch to where it fits best, by Gauss-Newton steps.
func (s *searcher) descend(t *template, b *level, k int) {
	if !t.invertible {
		return // nothing to hold on to
	}
	u, v := s.u[k], s.v[k]
	for range descents {
		du, dv := t.update()
		u, v = u-du, v-dv
		far := (u-s.u[k])*(u-s.u[k]) + (v-s.v[k])*(v-s.v[k])
		if !(far <= patch*patch) {
			return // it ran away
		}
		ssd := t.compare(b, u, v)
		if ssd >= s.ssd[k] {
			return
		}
		s.u[k], s.v[k], s.ssd[k] = u, v, ssd
		if du*du+dv*dv < 1e-4 {
			return
		}
	}
}

// template is a patch with what the search knows of it beforehand. Brightness is
// compared after the mean of each patch is taken out.
type template struct {
	x, y       int
	pix        [patch * patch]float32
	gx, gy     [patch * patch]float32
	sx, sy     float32    // sums of gx and gy
	inverse    [3]float32 // of the matrix of their products: xx, xy, yy
	invertible bool

	// Of the last comparison: sums of the difference, and of it times the slopes.
	sum, bx, by float32
}

// cut takes the patch whose corner is (x, y).
func (t *template) cut(l *level, x, y int) {
	t.x, t.y = x, y
	var sx, sy, xx, xy, yy float32
	for r := range patch {
		row := (*[patch]float32)(l.pix[l.at(x, y+r):])
		gx, gy := (*[patch]float32)(l.gx[(y+r)*l.w+x:]), (*[patch]float32)(l.gy[(y+r)*l.w+x:])
		copy(t.pix[r*patch:(r+1)*patch], row[:])
		copy(t.gx[r*patch:(r+1)*patch], gx[:])
		copy(t.gy[r*patch:(r+1)*patch], gy[:])
		for c := range patch {
			p, q := gx[c], gy[c]
			sx, sy = sx+p, sy+q
			xx, xy, yy = xx+p*p, xy+p*q, yy+q*q
		}
	}
	const n = patch * patch
	xx, xy, yy = xx-sx*sx/n, xy-sx*sy/n, yy-sy*sy/n
	t.sx, t.sy = sx, sy
	det := xx*yy - xy*xy
	// Noise of one step of brightness gives slopes too: what has no more than
	// that in a direction gives no hold.
	if t.invertible = det > 1e-3*(xx+yy)*(xx+yy)+1; t.invertible {
		t.inverse = [3]float32{yy / det, -xy / det, xx / det}
	}
}

// compare is the sum of squared differences from the patch of l displaced by
// (u, v), which it keeps what update needs of.
func (t *template) compare(l *level, u, v float32) float32 {
	if !(math.Abs(float64(u)) < 1e6 && math.Abs(float64(v)) < 1e6) {
		return math.MaxFloat32
	}
	px, py := l.clampTo(float32(t.x)+u, float32(t.y)+v, patch)
	x, fx := split(px)
	y, fy := split(py)
	w00, w01, w10, w11 := (1-fx)*(1-fy), fx*(1-fy), (1-fx)*fy, fx*fy
	var sum, square, bx, by float32
	at := l.at(x, y)
	for r := range patch {
		top, bottom := (*[patch + 1]float32)(l.pix[at:]), (*[patch + 1]float32)(l.pix[at+l.stride:])
		pix, gx, gy := (*[patch]float32)(t.pix[r*patch:]), (*[patch]float32)(t.gx[r*patch:]), (*[patch]float32)(t.gy[r*patch:])
		a, b := top[0], bottom[0]
		for c := range patch {
			a1, b1 := top[c+1], bottom[c+1]
			d := w00*a + w01*a1 + w10*b + w11*b1 - pix[c]
			a, b = a1, b1
			sum += d
			square += d * d
			bx += d * gx[c]
			by += d * gy[c]
		}
		at += l.stride
	}
	t.sum, t.bx, t.by = sum, bx, by
	return square - sum*sum/(patch*patch)
}

// update is the Gauss-Newton step for the last comparison.
func (t *template) update() (du, dv float32) {
	bx, by := t.bx-t.sx*t.sum/(patch*patch), t.by-t.sy*t.sum/(patch*patch)
	return t.inverse[0]*bx + t.inverse[1]*by, t.inverse[1]*bx + t.inverse[2]*by
}

// densify makes row y of the field: for each pixel the mean over the patches
// that hold it, those that explain its brightness well weighing more.
func (s *searcher) densify(f *Field, a, b *level, y int) {
	u, v := f.U[y*f.W:][:f.W], f.V[y*f.W:][:f.W]
	weights := make([]float32, f.W)
	clear(u)
	clear(v)
	line := a.line(y)
	for j := max((y-patch)/step, 0); j < s.ny; j++ {
		py := placed(j, a.h)
		if py > y {
			break
		}
		if py+patch <= y {
			continue
		}
		for i := range s.nx {
			k, px := j*s.nx+i, placed(i, a.w)
			du, dv := s.u[k], s.v[k]
			fx, fy := b.clampTo(float32(px)+du, float32(y)+dv, patch)
			x, rx := split(fx)
			row, ry := split(fy)
			at := b.at(x, row)
			top, bottom := (*[patch + 1]float32)(b.pix[at:]), (*[patch + 1]float32)(b.pix[at+b.stride:])
			own := (*[patch]float32)(line[px:])
			du8, dv8, w8 := (*[patch]float32)(u[px:]), (*[patch]float32)(v[px:]), (*[patch]float32)(weights[px:])
			w00, w01, w10, w11 := (1-rx)*(1-ry), rx*(1-ry), (1-rx)*ry, rx*ry
			for c := range patch {
				d := w00*top[c] + w01*top[c+1] + w10*bottom[c] + w11*bottom[c+1] - own[c]
				w := 1 / max(d, -d, 1)
				du8[c] += w * du
				dv8[c] += w * dv
				w8[c] += w
			}
		}
	}
	for x, w := range weights {
		u[x] /= w
		v[x] /= w
	}
}
