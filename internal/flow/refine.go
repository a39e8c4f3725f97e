package flow

import "math"

// The variational refinement's weights and counts: brightness, its slopes and
// smoothness, as Kroeger et al. set them for brightness from 0 to 255.
const (
	bright   = 5
	slopes   = 10
	smooth   = 20
	fixed    = 4 // rounds of weights
	sweeps   = 4 // of the linear system, in each round
	relax    = 1.6
	epsilon2 = 1e-6 // of the robust penalty √(x²+ε²)
	zeta2    = 0.01 // keeps flat places from dividing by zero
)

// refiner moves a field to a minimum near it of the energy of Brox, Bruhn,
// Papenberg and Weickert 2004, whose data term is normalised (Zimmer, Bruhn and
// Weickert 2011).
type refiner struct {
	planes [16][]float32
}

// run refines f, from a to b.
func (r *refiner) run(f *Field, a, b *level) {
	w, h := f.W, f.H
	for i := range r.planes {
		if cap(r.planes[i]) < w*h {
			r.planes[i] = make([]float32, w*h)
		}
		r.planes[i] = r.planes[i][:w*h]
	}
	mean, iz, ix, iy := r.planes[0], r.planes[1], r.planes[2], r.planes[3]
	u0, v0, seen := r.planes[4], r.planes[5], r.planes[6]
	copy(u0, f.U)
	copy(v0, f.V)

	// The other picture as the field brings it here. What lies outside says
	// nothing of where it is.
	each(h, func(y int) {
		for x := range w {
			i := y*w + x
			px, py := float32(x)+f.U[i], float32(y)+f.V[i]
			seen[i] = 0
			if px >= 0 && py >= 0 && px <= float32(w-1) && py <= float32(h-1) {
				seen[i] = 1
			}
			px, py = b.clampTo(px, py, 0)
			bx, fx := split(px)
			by, fy := split(py)
			at := b.at(bx, by)
			top := b.pix[at] + (b.pix[at+1]-b.pix[at])*fx
			bottom := b.pix[at+b.stride] + (b.pix[at+b.stride+1]-b.pix[at+b.stride])*fx
			there, here := top+(bottom-top)*fy, a.pix[a.at(x, y)]
			mean[i], iz[i] = (here+there)/2, there-here
		}
	})
	ixz, iyz, ixx, ixy, iyy := r.planes[7], r.planes[8], r.planes[9], r.planes[10], r.planes[11]
	gradients(w, h, mean, ix, iy)
	gradients(w, h, iz, ixz, iyz)
	gradients(w, h, ix, ixx, ixy)
	gradients(w, h, iy, nil, iyy)

	a11, a12, a22, b1, b2 := r.planes[0], r.planes[12], r.planes[13], r.planes[14], r.planes[15]
	weight := make([]float32, w*h)
	for range fixed {
		each(h, func(y int) {
			down := w
			if y == h-1 {
				down = 0
			}
			for x := range w {
				i := y*w + x
				right := 1
				if x == w-1 {
					right = 0
				}
				ux, uy := f.U[i+right]-f.U[i], f.U[i+down]-f.U[i]
				vx, vy := f.V[i+right]-f.V[i], f.V[i+down]-f.V[i]
				weight[i] = smooth / 2 / sqrt(ux*ux+uy*uy+vx*vx+vy*vy+epsilon2)

				du, dv := f.U[i]-u0[i], f.V[i]-v0[i]
				p, q, z := ix[i], iy[i], iz[i]
				n := 1 / (p*p + q*q + zeta2)
				rest := z + p*du + q*dv
				k := seen[i] * bright / 2 / sqrt(rest*rest*n+epsilon2) * n
				m11, m12, m22, c1, c2 := k*p*p+zeta2, k*p*q, k*q*q+zeta2, -k*z*p, -k*z*q

				xx, xy, yy, xz, yz := ixx[i], ixy[i], iyy[i], ixz[i], iyz[i]
				nx, ny := 1/(xx*xx+xy*xy+zeta2), 1/(yy*yy+xy*xy+zeta2)
				rx, ry := xz+xx*du+xy*dv, yz+xy*du+yy*dv
				k = seen[i] * slopes / 2 / sqrt(rx*rx*nx+ry*ry*ny+epsilon2)
				nx, ny = nx*k, ny*k
				a11[i] = m11 + nx*xx*xx + ny*xy*xy
				a12[i] = m12 + nx*xx*xy + ny*xy*yy
				a22[i] = m22 + nx*xy*xy + ny*yy*yy
				b1[i] = c1 - nx*xx*xz - ny*xy*yz
				b2[i] = c2 - nx*xy*xz - ny*yy*yz
			}
		})
		for range sweeps {
			for colour := range 2 { // neighbours have the other one
				each(h, func(y int) {
					for x := (y + colour) & 1; x < w; x += 2 {
						i := y*w + x
						var left, right, up, down float32
						l, r, t, d := i, i, i, i
						if x > 0 {
							l = i - 1
							left = weight[l]
						}
						if x < w-1 {
							r = i + 1
							right = weight[i]
						}
						if y > 0 {
							t = i - w
							up = weight[t]
						}
						if y < h-1 {
							d = i + w
							down = weight[i]
						}
						total := left + right + up + down
						su := left*f.U[l] + right*f.U[r] + up*f.U[t] + down*f.U[d] - total*u0[i]
						sv := left*f.V[l] + right*f.V[r] + up*f.V[t] + down*f.V[d] - total*v0[i]
						du, dv := f.U[i]-u0[i], f.V[i]-v0[i]
						du += relax * ((b1[i]+su-a12[i]*dv)/(a11[i]+total) - du)
						dv += relax * ((b2[i]+sv-a12[i]*du)/(a22[i]+total) - dv)
						f.U[i], f.V[i] = u0[i]+du, v0[i]+dv
					}
				})
			}
		}
	}
}

// gradients takes the slopes of a plane by central differences; gx may be nil.
func gradients(w, h int, plane, gx, gy []float32) {
	each(h, func(y int) {
		up, down := max(y-1, 0)*w, min(y+1, h-1)*w
		for x := range w {
			i := y*w + x
			if gx != nil {
				gx[i] = (plane[y*w+min(x+1, w-1)] - plane[y*w+max(x-1, 0)]) / 2
			}
			gy[i] = (plane[down+x] - plane[up+x]) / 2
		}
	})
}

func sqrt(v float32) float32 { return float32(math.Sqrt(float64(v))) }
