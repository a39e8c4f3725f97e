package stylize

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"stylenet/internal/images"
)

// half is a mask that is 1 on the right, from the middle on.
func half(t *testing.T, w, h int) *images.Mask {
	t.Helper()
	p := images.New(w, h)
	for i := range p.Pix {
		if i%w >= w/2 {
			p.Pix[i] = 255
		}
	}
	m, err := images.NewMask(p, w, h, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Inside the mask is what there is without one, outside the content, to the bit.
func TestMask(t *testing.T) {
	s, _ := open(t, random(t, "c3s1-2,d4,u2,c3s1-3"))
	p := numbered(20, 11)
	for _, o := range []Options{{Strength: 1}, {Strength: .4}, {Strength: 1, KeepColors: KeepLuminance}, {Strength: 1, KeepColors: KeepMatch}, {Strength: 1, Rows: 4}} {
		whole := mustPicture(t, s, p, o)
		o.Mask = half(t, 20, 11)
		got := mustPicture(t, s, p, o)
		for i, v := range got.Pix {
			want := p.Pix[i]
			if i%20 >= 10 {
				want = whole.Pix[i]
			}
			if v != want {
				t.Fatalf("%+v: value %d is %v, want %v", o, i, v, want)
			}
		}
	}
}

// The colours of the result have the mean and the covariance of the content's.
func TestKeepMatch(t *testing.T) {
	// Dark, almost grey, and with little contrast: nothing is clamped on the way.
	s, _ := open(t, linear(t, []float32{.1, .1, 0, 0, .2, 0, .1, 0, .2}, []float32{5, 40, 20}))
	p := images.New(31, 17)
	for i := range p.Pix {
		p.Pix[i] = 90 + 60*float32(math.Sin(float64(i)*float64(1+i/(31*17))))
	}
	stats := func(p *images.Picture) (mean [3]float64, covariance [3][3]float64) {
		var s images.ColorStats
		s.Add(p)
		return s.Mean(), s.Covariance()
	}
	mean, covariance := stats(p)
	for _, rows := range []int{0, 5} {
		m, c := stats(mustPicture(t, s, p, Options{Strength: 1, KeepColors: KeepMatch, Rows: rows}))
		for a := range 3 {
			if math.Abs(m[a]-mean[a]) > .05 {
				t.Errorf("mean %v, want %v", m, mean)
			}
			for b := range 3 {
				if math.Abs(c[a][b]-covariance[a][b]) > .01*covariance[a][a] {
					t.Errorf("covariance %v, want %v", c, covariance)
				}
			}
		}
	}
	// What is transparent does not count.
	p.Alpha = make([]float32, 31*17)
	for i := range p.Alpha {
		if i%31 < 20 {
			p.Alpha[i] = 1
		} else {
			p.Pix[i] = 255
		}
	}
	mean, _ = stats(p)
	got := mustPicture(t, s, p, Options{Strength: 1, KeepColors: KeepMatch})
	if m, _ := stats(got); math.Abs(m[0]-mean[0]) > .05 || !slices.Equal(got.Alpha, p.Alpha) {
		t.Errorf("with alpha: mean %v, want %v", m, mean)
	}
}

// The network sees the picture at the scale's size, and what it paints has the
// picture's.
func TestScale(t *testing.T) {
	m := random(t, "c3s1-2,d4,u2,c3s1-3")
	s, _ := open(t, m)
	p := numbered(24, 16)
	for _, c := range []struct {
		scale float64
		w, h  int
	}{{2, 12, 8}, {.5, 48, 32}, {16, 2, 1}, {1.7, 14, 9}} {
		small, err := images.Resize(p, c.w, c.h)
		if err != nil {
			t.Fatal(err)
		}
		want, err := images.Resize(mustPicture(t, s, small, Options{Strength: 1}), 24, 16)
		if err != nil {
			t.Fatal(err)
		}
		got := mustPicture(t, s, p, Options{Strength: 1, Scale: c.scale})
		// Between them are the 16 bits of what is kept.
		if d := apart(got, want); d > 2./257 {
			t.Errorf("scale %v: %v apart", c.scale, d)
		}
	}
	if d := apart(mustPicture(t, s, p, Options{Strength: 1, Scale: 1}), mustPicture(t, s, p, Options{Strength: 1})); d != 0 {
		t.Errorf("at scale 1 %v apart", d)
	}
}

// What options hold beside feature maps is counted: a limit that is enough
// without them is not with them, and a little more is.
func TestMemoryOfOptions(t *testing.T) {
	s, _ := open(t, linear(t, identity, []float32{0, 0, 0}))
	s.free = func() (int64, bool) { return 0, false }
	const w, h = 512, 256
	p := numbered(w, h)
	try := func(limit int64, o Options) bool {
		o.Strength, o.Memory, o.Rows = 1, limit, 16
		_, err := s.Picture(context.Background(), p, o)
		var size *SizeError
		if err != nil && !errors.As(err, &size) {
			t.Fatal(err)
		}
		return err == nil
	}
	// least is the least limit, in KiB.
	least := func(o Options) int64 {
		from, to := int64(1), int64(1<<20)
		for to-from > 16 {
			if half := (from + to) / 2; try(half<<10, o) {
				to = half
			} else {
				from = half
			}
		}
		return to
	}
	plain := least(Options{})
	for name, c := range map[string]struct {
		o    Options
		more int64 // bytes
	}{
		"mask": {Options{Mask: half(t, w, h)}, 4 * w * h}, "match": {Options{KeepColors: KeepMatch}, 8 * w * h}, "luminance": {Options{KeepColors: KeepLuminance}, 0},
	} {
		if more := least(c.o) - plain; math.Abs(float64(more-c.more>>10)) > 32 {
			t.Errorf("%s needs %d KiB more, want %d", name, more, c.more>>10)
		}
	}
}

// cancels is a picture that ends a context when rows are written to it.
type cancels struct {
	*images.Picture
	cancel func()
	writes int
}

func (c *cancels) WriteRows(p *images.Picture, from int) {
	c.writes++
	c.cancel()
	c.Picture.WriteRows(p, from)
}

// What comes behind the network ends with the context too.
func TestStagedEnds(t *testing.T) {
	s, _ := open(t, linear(t, identity, []float32{0, 0, 0}))
	p := numbered(1<<16, 4) // as wide as rows come one by one
	for _, o := range []Options{{Strength: 1, KeepColors: KeepMatch}, {Strength: 1, Scale: 2}} {
		for want, progress := range []func(func()) func(float64){
			func(cancel func()) func(float64) { return func(float64) { cancel() } },
			func(func()) func(float64) { return nil },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			o.Progress = progress(cancel)
			dst := &cancels{Picture: images.New(1<<16, 4), cancel: cancel}
			if err := s.Paint(ctx, p, dst, o); !errors.Is(err, context.Canceled) || dst.writes != want {
				t.Errorf("%q, scale %v: %v after %d writes, want %d", o.KeepColors, o.Scale, err, dst.writes, want)
			}
			cancel()
		}
	}
}
