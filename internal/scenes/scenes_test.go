package scenes

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"testing"
)

const kindsOfPhoto = 9

// luma is a picture's brightness, 0 to 1, row by row.
func luma(m *image.RGBA) []float64 {
	out := make([]float64, 0, len(m.Pix)/4)
	for k := 0; k < len(m.Pix); k += 4 {
		out = append(out, (0.299*float64(m.Pix[k])+0.587*float64(m.Pix[k+1])+0.114*float64(m.Pix[k+2]))/255)
	}
	return out
}

// halve averages blocks of two by two.
func halve(y []float64, w int) []float64 {
	out := make([]float64, 0, len(y)/4)
	for j := 0; j < len(y)/w; j += 2 {
		for i := 0; i < w; i += 2 {
			out = append(out, (y[j*w+i]+y[j*w+i+1]+y[(j+1)*w+i]+y[(j+1)*w+i+1])/4)
		}
	}
	return out
}

func meanAndDeviation(y []float64) (mean, dev float64) {
	for _, v := range y {
		mean += v / float64(len(y))
	}
	for _, v := range y {
		dev += (v - mean) * (v - mean) / float64(len(y))
	}
	return mean, math.Sqrt(dev)
}

// edges is the mean absolute difference of neighbours in a row and in a column.
func edges(y []float64, w int) float64 {
	sum := 0.0
	for k := w + 1; k < len(y); k++ {
		if k%w > 0 {
			sum += math.Abs(y[k]-y[k-1]) + math.Abs(y[k]-y[k-w])
		}
	}
	return sum / float64(2*len(y))
}

// colours counts the 4-bit colours that fill at least 1/2000 of the picture.
func colours(m *image.RGBA) int {
	count := map[[3]uint8]int{}
	for k := 0; k < len(m.Pix); k += 4 {
		count[[3]uint8{m.Pix[k] >> 4, m.Pix[k+1] >> 4, m.Pix[k+2] >> 4}]++
	}
	n := 0
	for _, c := range count {
		if c*2000 >= len(m.Pix)/4 {
			n++
		}
	}
	return n
}

// spectralSlope fits amplitude ~ frequency^slope over frequencies 2 to w/4 of the
// rows and columns, by a plain Fourier sum with a Hann window.
func spectralSlope(y []float64, w int) float64 {
	mean, _ := meanAndDeviation(y)
	var n, sx, sy, sxx, sxy float64
	for f := 2.0; f <= float64(w)/4; f *= 1.5 {
		f := math.Round(f)
		power := 0.0
		for line := 0; line < w; line += 3 {
			var rowRe, rowIm, colRe, colIm float64
			for i := range w {
				sn, cs := math.Sincos(2 * math.Pi * f * float64(i) / float64(w))
				hann := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(w))
				a, b := (y[line*w+i]-mean)*hann, (y[i*w+line]-mean)*hann
				rowRe, rowIm, colRe, colIm = rowRe+a*cs, rowIm+a*sn, colRe+b*cs, colIm+b*sn
			}
			power += rowRe*rowRe + rowIm*rowIm + colRe*colRe + colIm*colIm
		}
		x, z := math.Log(f), math.Log(power)/2
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+z, sxx+x*x, sxy+x*z
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func TestPhotosHaveTheStatisticsOfPhotos(t *testing.T) {
	const w = 128
	slopes := 0.0
	for seed := range uint64(2 * kindsOfPhoto) {
		m := Photo(seed, w, w)
		y := luma(m)
		mean, dev := meanAndDeviation(y)
		if mean < 0.15 || mean > 0.75 {
			t.Errorf("seed %d: mean brightness %.3f, want 0.15 to 0.75", seed, mean)
		}
		if dev < 0.05 {
			t.Errorf("seed %d: brightness deviates by %.3f only, want 0.05", seed, dev)
		}
		if n := colours(m); n < 25 {
			t.Errorf("seed %d: %d colours, want 25", seed, n)
		}
		for size, z := w, y; size >= 16; size, z = size/2, halve(z, size) {
			if e := edges(z, size); e < 0.01 || e > 0.2 {
				t.Errorf("seed %d: mean gradient %.4f at %d pixels, want 0.01 to 0.2", seed, e, size)
			}
		}
		slope := spectralSlope(y, w)
		// Single photos range widely about 1/f (Torralba and Oliva 2003).
		if slope > -0.35 || slope < -1.9 {
			t.Errorf("seed %d: amplitude falls as f^%.2f, want f^-0.35 to f^-1.9", seed, slope)
		}
		slopes += slope / (2 * kindsOfPhoto)
	}
	if slopes > -0.7 || slopes < -1.3 {
		t.Errorf("amplitude falls as f^%.2f on average, want about 1/f", slopes)
	}
}

func TestPaintingIsStrokesInALimitedPalette(t *testing.T) {
	const w = 256
	m := Painting(1, w, w)
	y := luma(m)
	if mean, dev := meanAndDeviation(y); mean < 0.25 || mean > 0.6 || dev < 0.12 {
		t.Errorf("mean brightness %.3f, deviation %.3f; want 0.25 to 0.6, above 0.12", mean, dev)
	}
	for size, z := w, y; size >= 16; size, z = size/2, halve(z, size) {
		if e := edges(z, size); e < 0.03 {
			t.Errorf("mean gradient %.4f at %d pixels, want 0.03", e, size)
		}
	}
	blue, yellow := 0, 0
	for k := 0; k < len(m.Pix); k += 4 {
		r, g, b := int(m.Pix[k]), int(m.Pix[k+1]), int(m.Pix[k+2])
		if b > r+40 && b > g+15 {
			blue++
		}
		if r > b+50 && g > b+30 {
			yellow++
		}
	}
	if blue < w*w*3/10 || yellow < w*w/10 {
		t.Errorf("%d%% blue and %d%% yellow, want 30 and 10", blue*100/w/w, yellow*100/w/w)
	}

	// Strokes are oriented: over patches the structure tensor must have one large
	// and one small eigenvalue far more often than in noise (coherence about 0.2 there).
	coherent, patches := 0, 0
	for py := 8; py+16 < w; py += 8 {
		for px := 8; px+16 < w; px += 8 {
			var xx, yy, xy float64
			for j := py; j < py+8; j++ {
				for i := px; i < px+8; i++ {
					gx, gy := y[j*w+i+1]-y[j*w+i-1], y[(j+1)*w+i]-y[(j-1)*w+i]
					xx, yy, xy = xx+gx*gx, yy+gy*gy, xy+gx*gy
				}
			}
			patches++
			if math.Hypot(xx-yy, 2*xy) > 0.5*(xx+yy) {
				coherent++
			}
		}
	}
	if coherent*2 < patches {
		t.Errorf("%d of %d patches have one direction, want half", coherent, patches)
	}
}

func TestSameSeedSamePicture(t *testing.T) {
	for name, draw := range map[string]func(uint64, int, int) *image.RGBA{"photo": Photo, "painting": Painting} {
		for seed := range uint64(kindsOfPhoto) {
			a, b := draw(seed, 48, 40), draw(seed, 48, 40)
			if !bytes.Equal(a.Pix, b.Pix) {
				t.Errorf("%s %d differs between two calls", name, seed)
			}
			if other := draw(seed+kindsOfPhoto, 48, 40); bytes.Equal(a.Pix, other.Pix) {
				t.Errorf("%s %d and %d are the same", name, seed, seed+kindsOfPhoto)
			}
		}
	}
}

// A scene must not depend on the number of pixels: only then do small previews show
// what a large picture will be.
func TestSameSceneAtEverySize(t *testing.T) {
	for seed := range uint64(kindsOfPhoto) {
		small, large := luma(Photo(seed, 64, 64)), luma(Photo(seed, 128, 128))
		small, large = halve(halve(small, 64), 32), halve(halve(halve(large, 128), 64), 32)
		diff := 0.0
		for k := range small {
			diff += math.Abs(small[k]-large[k]) / float64(len(small))
		}
		if diff > 0.04 {
			t.Errorf("seed %d: brightness differs by %.3f between 64 and 128 pixels", seed, diff)
		}
	}
}

func TestEverySizeIsFilled(t *testing.T) {
	sizes := []image.Point{{1, 1}, {1, 2}, {2, 1}, {3, 3}, {1, 60}, {60, 1}, {5, 97}, {97, 5}, {31, 33}}
	for _, size := range sizes {
		for seed := range uint64(kindsOfPhoto) {
			for _, m := range []*image.RGBA{Photo(seed, size.X, size.Y), Painting(seed, size.X, size.Y)} {
				if m.Rect != (image.Rectangle{Max: size}) {
					t.Fatalf("seed %d: bounds %v, want %v", seed, m.Rect, size)
				}
				for k := 3; k < len(m.Pix); k += 4 {
					if m.Pix[k] != 255 {
						t.Fatalf("seed %d, %v: pixel %d has alpha %d", seed, size, k/4, m.Pix[k])
					}
				}
			}
		}
	}
	for _, size := range []image.Point{{0, 5}, {5, 0}, {-1, -1}} {
		if m := Photo(1, size.X, size.Y); !m.Rect.Empty() {
			t.Errorf("photo of %v has bounds %v, want none", size, m.Rect)
		}
		if m := Painting(1, size.X, size.Y); !m.Rect.Empty() {
			t.Errorf("painting of %v has bounds %v, want none", size, m.Rect)
		}
	}
}

func BenchmarkPhoto256(b *testing.B) {
	for kind := range uint64(kindsOfPhoto) {
		b.Run(fmt.Sprint(kind), func(b *testing.B) {
			seed := kind
			for b.Loop() {
				Photo(seed, 256, 256)
				seed += kindsOfPhoto
			}
		})
	}
}

func BenchmarkPainting512(b *testing.B) {
	for b.Loop() {
		Painting(1, 512, 512)
	}
}
