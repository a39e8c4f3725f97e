package images

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMaskOfPicture(t *testing.T) {
	p := New(4, 1)
	for c := range 3 {
		copy(p.Plane(c), []float32{0, 255, 51, 255})
	}
	p.Alpha = []float32{1, 1, 1, .25}
	m, err := NewMask(p, 4, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{0, 1, .2, .25} {
		if got := m.Rows(0, 1)[i]; math.Abs(float64(got-want)) > 1e-6 {
			t.Errorf("value %d is %v, want %v", i, got, want)
		}
	}
	// The luminance of colours counts.
	if m, err = NewMask(plain(1, 1, 255, 0, 0), 1, 1, 0); err != nil || math.Abs(float64(m.Rows(0, 1)[0])-.299) > 1e-6 {
		t.Errorf("red is %v (%v)", m.Rows(0, 1), err)
	}
}

func TestMaskIsResized(t *testing.T) {
	src, err := NewSource(noisy(40, 30)["Gray16"])
	if err != nil {
		t.Fatal(err)
	}
	src.orient = 6
	m, err := NewMask(src, 61, 17, 0)
	if err != nil {
		t.Fatal(err)
	}
	if w, h := m.Size(); w != 61 || h != 17 || m.Bytes() != 4*61*17 {
		t.Fatalf("%d×%d, %d bytes", w, h, m.Bytes())
	}
	want, err := Resize(src.Picture(), 61, 17)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 4, 17} {
		for y := 0; y+n <= 17; y += n {
			for i, v := range m.Rows(y, n) {
				if d := math.Abs(float64(v - want.Plane(1)[y*61+i]/255)); d > 1e-5 {
					t.Fatalf("row %d, value %d: %v, want %v", y, i, v, want.Plane(1)[y*61+i]/255)
				}
			}
		}
	}
}

// The blur is a Gaussian's, whatever its deviation, edges included.
func TestMaskIsFeathered(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	const w, h = 97, 53
	for _, sigma := range []float64{1, 2.5, 7, 20, 97} {
		p := New(w, h)
		for i := range w * h {
			v := float32(0)
			if x, y := i%w, i/w; x > 40 && y > 20 || rnd.IntN(7) == 0 {
				v = 255
			}
			for c := range 3 {
				p.Plane(c)[i] = v
			}
		}
		m, err := NewMask(p, w, h, sigma)
		if err != nil {
			t.Fatal(err)
		}
		// The definition, on the mirrored picture.
		reach := int(4*sigma) + 1
		k := gaussian(2*reach+1, sigma)
		lines := make([]float64, w*h)
		for y := range h {
			for x := range w {
				for j, kj := range k {
					lines[y*w+x] += kj * float64(p.Plane(0)[y*w+mirrored(x+j-reach, w)]) / 255
				}
			}
		}
		for y := range h {
			for x := range w {
				want := 0.
				for j, kj := range k {
					want += kj * lines[mirrored(y+j-reach, h)*w+x]
				}
				if got := float64(m.Rows(y, 1)[x]); math.Abs(got-want) > .02 || got < -1e-6 || got > 1+1e-6 {
					t.Fatalf("sigma %v, (%d, %d): %v, want %v", sigma, x, y, got, want)
				}
			}
		}
	}
}

func TestMirrored(t *testing.T) {
	for i, want := range map[int]int{0: 0, 2: 2, 3: 2, 5: 0, 6: 0, 7: 1, -1: 0, -3: 2, -4: 2, -6: 0, -7: 0, 600: 0} {
		if got := mirrored(i, 3); got != want {
			t.Errorf("%d is %d, want %d", i, got, want)
		}
	}
}

func TestMaskRefuses(t *testing.T) {
	p := New(3, 3)
	for _, c := range []struct {
		w, h    int
		feather float64
	}{{0, 1, 0}, {1, 0, 0}, {3, 3, -1}, {3, 3, 3.1}, {3, 3, math.NaN()}, {3, 3, math.Inf(1)}} {
		if _, err := NewMask(p, c.w, c.h, c.feather); err == nil {
			t.Errorf("a mask of %+v was made", c)
		}
	}
}

func TestMix(t *testing.T) {
	a, b := plain(3, 1, 10, 20, 30), plain(3, 1, 110, 220, 130)
	a.Alpha = []float32{1, .5, 0}
	got := Mix(a, b, []float32{0, .25, 1})
	for i, want := range [][4]float32{{10, 20, 30, 1}, {35, 70, 55, .5}, {110, 220, 130, 0}} {
		if v := at(got, i, 0); v != want {
			t.Errorf("pixel %d is %v, want %v", i, v, want)
		}
	}
}

func BenchmarkFeather(b *testing.B) {
	p := New(2000, 1500)
	for b.Loop() {
		if _, err := NewMask(p, 2000, 1500, 40); err != nil {
			b.Fatal(err)
		}
	}
}
