package images

import (
	"fmt"
	"math"
	"sync"
)

// Measures of how far a picture is from another one of its size. Alpha is left
// out of account.

// SSIM is the mean structural similarity of two pictures, 1 where they are equal
// (Wang, Bovik, Sheikh and Simoncelli 2004): a Gaussian window of 11×11 pixels
// with σ 1.5, where it lies inside the picture; C1 = (.01·255)², C2 = (.03·255)².
type SSIM struct {
	Luma float64 // of .299 R + .587 G + .114 B, as the paper's
	RGB  float64 // the mean of those of R, G and B
}

// MeasureSSIM compares two pictures of the same size, both sides at least 11
// pixels.
func MeasureSSIM(a, b *Picture) (SSIM, error) {
	if err := sameSize(a, b); err != nil {
		return SSIM{}, err
	}
	if min(a.W, a.H) < ssimWindow {
		return SSIM{}, fmt.Errorf("ssim needs pictures of at least %d×%[1]d pixels, not %d×%d", ssimWindow, a.W, a.H)
	}
	planesA := [][]float32{Luminance(a), a.Plane(0), a.Plane(1), a.Plane(2)}
	planesB := [][]float32{Luminance(b), b.Plane(0), b.Plane(1), b.Plane(2)}
	var means [4]float64
	var wg sync.WaitGroup
	for i := range means {
		wg.Go(func() { means[i] = ssim(planesA[i], planesB[i], a.W, a.H) })
	}
	wg.Wait()
	return SSIM{Luma: means[0], RGB: (means[1] + means[2] + means[3]) / 3}, nil
}

const ssimWindow = 11

// ssim is the mean over all places of the window in two planes (h, w).
func ssim(a, b []float32, w, h int) float64 {
	const (
		c1 = (.01 * 255) * (.01 * 255)
		c2 = (.03 * 255) * (.03 * 255)
		n  = ssimWindow
	)
	kernel := gaussian(n, 1.5)
	across := w - n + 1
	// Lines of moments, weighted along x: of a, b, a², b² and ab. The last n
	// are kept.
	var lines [n][5][]float64
	for i := range lines {
		for k := range lines[i] {
			lines[i][k] = make([]float64, across)
		}
	}
	sum := 0.
	for y := range h {
		weigh(&lines[y%n], a[y*w:(y+1)*w], b[y*w:(y+1)*w], kernel)
		if y < n-1 {
			continue
		}
		for x := range across {
			var m [5]float64
			for j, k := range kernel {
				line := &lines[(y-n+1+j)%n]
				for i := range m {
					m[i] += k * line[i][x]
				}
			}
			ma, mb := m[0], m[1]
			va, vb, vab := m[2]-ma*ma, m[3]-mb*mb, m[4]-ma*mb
			sum += (2*ma*mb + c1) * (2*vab + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
		}
	}
	return sum / float64(across) / float64(h-n+1)
}

// weigh fills a line of moments.
func weigh(dst *[5][]float64, a, b []float32, kernel []float64) {
	for x := range dst[0] {
		var m [5]float64
		for j, k := range kernel {
			u, v := float64(a[x+j]), float64(b[x+j])
			m[0] += k * u
			m[1] += k * v
			m[2] += k * u * u
			m[3] += k * v * v
			m[4] += k * u * v
		}
		for i := range m {
			dst[i][x] = m[i]
		}
	}
}

// gaussian is a window of n weights whose sum is 1.
func gaussian(n int, sigma float64) []float64 {
	k := make([]float64, n)
	sum := 0.
	for i := range k {
		d := float64(i) - float64(n-1)/2
		k[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += k[i]
	}
	for i := range k {
		k[i] /= sum
	}
	return k
}

// ColorDistance is the mean over all pixels of the colour difference ΔE*ab (CIE
// 1976, CIE 15:2004, 8.2.1) of two pictures of the same size, taken as sRGB under
// D65. 0 is equal; a difference of about 2.3 is just noticed; black and white
// differ by 100.
func ColorDistance(a, b *Picture) (float64, error) {
	if err := sameSize(a, b); err != nil {
		return 0, err
	}
	sum := 0.
	for i := range a.W * a.H {
		u, v := lab(a, i), lab(b, i)
		sum += math.Sqrt((u[0]-v[0])*(u[0]-v[0]) + (u[1]-v[1])*(u[1]-v[1]) + (u[2]-v[2])*(u[2]-v[2]))
	}
	return sum / float64(a.W*a.H), nil
}

// lab returns a pixel's CIE L*a*b*.
func lab(p *Picture, i int) [3]float64 {
	n := p.W * p.H
	r, g, b := linear(p.Pix[i]), linear(p.Pix[n+i]), linear(p.Pix[2*n+i])
	// To XYZ (IEC 61966-2-1), as shares of the white point D65.
	x := (.4124*r + .3576*g + .1805*b) / .9505
	y := .2126*r + .7152*g + .0722*b
	z := (.0193*r + .1192*g + .9505*b) / 1.0890
	fx, fy, fz := labCurve(x), labCurve(y), labCurve(z)
	return [3]float64{116*fy - 16, 500 * (fx - fy), 200 * (fy - fz)}
}

// linear undoes the transfer function of sRGB (IEC 61966-2-1) of 0 to 255.
func linear(v float32) float64 {
	s := float64(clamp(v)) / 255
	if s > .04045 {
		return math.Pow((s+.055)/1.055, 2.4)
	}
	return s / 12.92
}

func labCurve(t float64) float64 {
	const d = 6. / 29
	if t > d*d*d {
		return math.Cbrt(t)
	}
	return t/(3*d*d) + 4./29
}

func sameSize(a, b *Picture) error {
	if a.W != b.W || a.H != b.H || a.W < 1 || a.H < 1 {
		return fmt.Errorf("cannot compare a picture of %d×%d with one of %d×%d", a.W, a.H, b.W, b.H)
	}
	return nil
}
