package stylize

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
)

// anyStyle is a network for any style whose decoder was not trained.
func anyStyle(t *testing.T) (kernels.Device, *model.Model) {
	t.Helper()
	dev, err := devices.Open("auto", devices.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	design := networks.AdaIN{Encoder: networks.Caffe, Layer: "relu2_1"}
	net, err := design.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	return dev, &model.Model{Network: design, Weights: set}
}

func noise(w, h int, seed uint64, contrast float64) *images.Picture {
	p := images.New(w, h)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range p.Pix {
		p.Pix[i] = float32(128 + contrast*(rnd.Float64()-.5))
	}
	return p
}

func paint(t *testing.T, dev kernels.Device, m *model.Model, p *images.Picture, o Options) *images.Picture {
	t.Helper()
	s, err := Open(dev, m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Picture(t.Context(), p, o)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

// A style is the same whether its picture is shown once or four times over, and
// a photo in its own style is what no strength gives.
func TestStyleOf(t *testing.T) {
	dev, m := anyStyle(t)
	photo := noise(40, 48, 1, 200)
	own, err := StyleOf(dev, m, photo)
	if err != nil {
		t.Fatal(err)
	}
	if len(own.Mean) != 128 || !slices.ContainsFunc(own.Deviation, func(v float32) bool { return v > .1 }) {
		t.Fatalf("a style of %d channels, whose deviations are %v", len(own.Mean), own.Deviation)
	}
	other, err := StyleOf(dev, m, noise(64, 32, 2, 40))
	if err != nil {
		t.Fatal(err)
	}
	styled := func(s model.Style, strength float32) *model.Model {
		m, err := m.Styled(s, strength)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	plain := paint(t, dev, styled(other, 0), photo, Options{Strength: 1})
	itself := paint(t, dev, styled(own, 1), photo, Options{Strength: 1})
	strange := paint(t, dev, styled(other, 1), photo, Options{Strength: 1})
	if d := difference(plain, itself); d > .5 {
		t.Errorf("a photo in its own style differs by %g from the one without a style", d)
	}
	if d := difference(plain, strange); d < 2 {
		t.Errorf("a photo in another style differs by %g alone from the one without a style", d)
	}
	// By strips the statistics are the whole picture's.
	strips := paint(t, dev, styled(other, .6), photo, Options{Strength: 1, Rows: 8})
	if d := difference(strips, paint(t, dev, styled(other, .6), photo, Options{Strength: 1})); d > .1 {
		t.Errorf("by strips a picture differs by %g", d)
	}
	if _, err := Open(dev, m); err == nil || !strings.Contains(err.Error(), "takes its style from a picture") {
		t.Errorf("a model without a style was opened: %v", err)
	}
	if _, err := StyleOf(dev, styled(own, 1), photo); err == nil {
		t.Error("a model of one style took another")
	}
	if _, err := StyleOf(dev, m, noise(1, 1, 1, 1)); err == nil || !strings.Contains(err.Error(), "a style of 1×1 pixels") {
		t.Errorf("a style of one pixel: %v", err)
	}
}

func difference(a, b *images.Picture) (most float64) {
	for i, v := range a.Pix {
		most = max(most, math.Abs(float64(v-b.Pix[i])))
	}
	return most
}

func TestRegions(t *testing.T) {
	dev, m := anyStyle(t)
	photo := noise(24, 20, 3, 200)
	photo.Alpha = slices.Repeat([]float32{.5}, 24*20)
	var stylizers []*Stylizer
	var whole []*images.Picture
	for i := range uint64(2) {
		s, err := StyleOf(dev, m, noise(32, 32, 10+i, 50+150*float64(i)))
		if err != nil {
			t.Fatal(err)
		}
		styled, err := m.Styled(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		st, err := Open(dev, styled)
		if err != nil {
			t.Fatal(err)
		}
		stylizers = append(stylizers, st)
		whole = append(whole, paint(t, dev, styled, photo, Options{Strength: 1}))
	}
	right := images.New(24, 20) // black on the left, grey in the middle, white on the right
	for c := range 3 {
		for i := range 24 * 20 {
			right.Plane(c)[i] = [3]float32{0, 127.5, 255}[i%24/8]
		}
	}
	mask := func(w, h int) (*images.Mask, error) { return images.NewMask(right, w, h, 0) }
	r := &Regions{Base: stylizers[0], Parts: []Region{{stylizers[1], mask}}}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	var told []float64
	var got *images.Picture
	for _, base := range []*images.Picture{whole[0], photo} {
		if base == photo {
			defer stylizers[0].Close()
			r.Base = nil
		}
		got = images.New(24, 20)
		got.Alpha = make([]float32, 24*20)
		o := Options{Strength: 1, Progress: func(s float64) { told = append(told, s) }}
		if err := r.Paint(t.Context(), photo, got, o); err != nil {
			t.Fatal(err)
		}
		for i, v := range got.Pix {
			share := [3]float32{0, .5, 1}[i%24/8]
			if want := base.Pix[i] + share*(whole[1].Pix[i]-base.Pix[i]); math.Abs(float64(v-want)) > .1 {
				t.Fatalf("value %d is %v, want %v", i, v, want)
			}
		}
	}
	if got.Alpha[7] != .5 {
		t.Errorf("alpha is %v", got.Alpha[7])
	}
	if !slices.IsSorted(told[:2]) || told[1] != 1 {
		t.Errorf("progress %v", told)
	}
}

// Models share the memory: plans stay as far as it goes, and a mask for pictures
// of one size is made once.
func TestRegionsMemory(t *testing.T) {
	m := random(t, "c3s1-2,d4,u2,c3s1-3")
	a, dev := open(t, m)
	b, err := Open(dev, m)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, s := range []*Stylizer{a, b} {
		s.free = func() (int64, bool) { return 0, false }
	}
	made := 0
	r := &Regions{Base: a, Parts: []Region{{b, func(w, h int) (*images.Mask, error) {
		made++
		return half(t, w, h), nil
	}}}}
	p := numbered(64, 32)
	maps, err := inference.MapBytes(a.dev, a.net, 1, 32, 64)
	if err != nil {
		t.Fatal(err)
	}
	whole, mask := maps+2*4*3*32*64, int64(4*32*64)
	most := whole + whole/2 // for one at once, and not for two
	limit := processBytes + 2*packedWeights*a.weights + 3*p.Bytes() + mask
	var want *images.Picture
	for _, c := range []struct {
		limit  int64
		a, b   int // plans
		strips bool
	}{{limit + most, 0, 1, false}, {limit + 2*whole, 1, 1, false}, {limit + most, 0, 1, false}, {limit + whole*9/10, 0, 0, true}} {
		for range 2 {
			got := images.New(64, 32)
			if err := r.Paint(t.Context(), p, got, Options{Strength: 1, Memory: c.limit}); err != nil {
				t.Fatal(err)
			}
			if len(a.plans) != c.a || len(b.plans) != c.b {
				t.Errorf("in %d bytes %d and %d plans were kept, want %d and %d", c.limit-limit, len(a.plans), len(b.plans), c.a, c.b)
			}
			if want == nil {
				want = got
			}
			if d := apart(got, want); d > 1 || d != 0 && !c.strips {
				t.Errorf("in %d bytes the result is %v apart", c.limit-limit, d)
			}
		}
	}
	if made != 1 {
		t.Errorf("the mask was made %d times", made)
	}
	if err := r.Paint(t.Context(), numbered(20, 30), images.New(20, 30), Options{Strength: 1}); err != nil || made != 2 {
		t.Errorf("a picture of another size: %v, with %d masks", err, made)
	}
	// Masks that take much are not kept.
	for range 2 {
		if err := r.Paint(t.Context(), p, images.New(64, 32), Options{Strength: 0, Memory: mask * maskShare * 9 / 10}); err != nil {
			t.Fatal(err)
		}
	}
	if made != 4 || len(r.masks) != 0 {
		t.Errorf("large masks were made %d times, and %d are kept", made-2, len(r.masks))
	}
}
