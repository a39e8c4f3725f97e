package stylize

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

func reflectNet(architecture string) networks.Johnson {
	return networks.Johnson{Architecture: architecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
}

// linear is a network of one 1×1 convolution: out = matrix·in + bias.
func linear(t *testing.T, matrix, bias []float32) *model.Model {
	t.Helper()
	set := &weights.Set{}
	if err := errors.Join(set.Add("conv1.conv2d.weight", []int{3, 3, 1, 1}, matrix), set.Add("conv1.conv2d.bias", []int{3}, bias)); err != nil {
		t.Fatal(err)
	}
	return &model.Model{Network: reflectNet("c1s1-3"), Weights: set}
}

// random is a network with upsampling, residual blocks and norms.
func random(t *testing.T, architecture string) *model.Model {
	t.Helper()
	j := reflectNet(architecture)
	net, err := j.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(3)
	if err != nil {
		t.Fatal(err)
	}
	return &model.Model{Network: j, Weights: set}
}

func open(t *testing.T, m *model.Model) (*Stylizer, kernels.Device) {
	t.Helper()
	dev := reference.New(1)
	s, err := Open(dev, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), dev.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, dev
}

// numbered is a picture whose values are all different.
func numbered(w, h int) *images.Picture {
	p := images.New(w, h)
	for i := range p.Pix {
		p.Pix[i] = 255 * float32(i) / float32(len(p.Pix))
	}
	return p
}

func mustPicture(t *testing.T, s *Stylizer, p *images.Picture, o Options) *images.Picture {
	t.Helper()
	out, err := s.Picture(context.Background(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	identity = []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}
	swap     = []float32{0, 0, 1, 0, 1, 0, 1, 0, 0} // R and B
)

func TestValues(t *testing.T) {
	p := &images.Picture{W: 2, H: 1, Pix: []float32{10, 250, 20, 100, 30, 5}, Alpha: []float32{1, .25}}
	for _, c := range []struct {
		name         string
		matrix, bias []float32
		o            Options
		want         []float32
	}{
		{"identity", identity, []float32{0, 0, 0}, Options{Strength: 1}, []float32{10, 250, 20, 100, 30, 5}},
		{"swapped", swap, []float32{0, 0, 0}, Options{Strength: 1}, []float32{30, 5, 20, 100, 10, 250}},
		{"clamped", identity, []float32{10, -25, 0}, Options{Strength: 1}, []float32{20, 255, 0, 75, 30, 5}},
		{"strength 0", swap, []float32{9, 9, 9}, Options{}, []float32{10, 250, 20, 100, 30, 5}},
		{"strength ¼", swap, []float32{0, 0, 0}, Options{Strength: .25}, []float32{15, 188.75, 20, 100, 25, 66.25}},
		// Values outside 0..255 are clamped before they are mixed.
		{"clamped, then mixed", identity, []float32{0, 1000, 0}, Options{Strength: .5}, []float32{10, 250, 137.5, 177.5, 30, 5}},
		// Grey of luminance 100 keeps the chroma: each channel is moved by 100 − .299R − .587G − .114B.
		{"colours", make([]float32, 9), []float32{100, 100, 100}, Options{Strength: 1, KeepColors: KeepLuminance},
			[]float32{91.85, 215.98, 101.85, 65.98, 111.85, 0}},
	} {
		s, _ := open(t, linear(t, c.matrix, c.bias))
		before := p.Clone()
		got := mustPicture(t, s, p, c.o)
		for i, want := range c.want {
			if math.Abs(float64(got.Pix[i]-want)) > 1e-3 {
				t.Errorf("%s: got %v, want %v", c.name, got.Pix, c.want)
				break
			}
		}
		if !slices.Equal(got.Alpha, p.Alpha) {
			t.Errorf("%s: alpha is %v, want %v", c.name, got.Alpha, p.Alpha)
		}
		if !slices.Equal(p.Pix, before.Pix) {
			t.Errorf("%s: the input was changed", c.name)
		}
		if got.Pix[0] = -1; p.Pix[0] == -1 {
			t.Errorf("%s: the result shares the input's memory", c.name)
		}
	}
}

// A network of many styles paints one mix of them.
func TestManyStyles(t *testing.T) {
	d := networks.MultiStyle{Johnson: reflectNet("c3s1-4,d4,u4,c3s1-3"), Styles: []string{"a", "b"}}
	net, err := d.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &model.Model{Network: d}
	if m.Weights, err = net.Init(3); err != nil {
		t.Fatal(err)
	}
	for i := range m.Weights.Get("in1.b.weight").Data {
		m.Weights.Get("in1.b.weight").Data[i] = 3
		m.Weights.Get("in1.b.bias").Data[i] = float32(i)
	}
	paint := func(mix ...model.Share) *images.Picture {
		mixed, err := m.Mix(mix)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, mixed)
		return mustPicture(t, s, numbered(9, 7), Options{Strength: 1})
	}
	a, b, both := paint(model.Share{Style: "a", Weight: 1}), paint(model.Share{Style: "b", Weight: 1}), paint(model.Share{Style: "a", Weight: 1}, model.Share{Style: "b", Weight: 1})
	for _, p := range [][2]*images.Picture{{a, b}, {a, both}, {b, both}} {
		if d := apart(p[0], p[1]); d < 1e-3 {
			t.Errorf("two mixes paint pictures that are %g apart", d)
		}
	}
	dev := reference.New(1)
	_, err = Open(dev, m)
	if e, ok := errors.AsType[*model.MixError](err); !ok || !slices.Equal(e.Styles, d.Styles) {
		t.Errorf("without a mix: %v", err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEverySizeKeepsIt(t *testing.T) {
	// Sides are padded to 4 and at least 12: conv1 reflects 4, res1 wants 2 at a quarter.
	s, _ := open(t, random(t, "c9s1-2,d4,d4,R4,u4,u2,c9s1-3"))
	for _, size := range [][2]int{{1, 1}, {1, 17}, {2, 3}, {5, 4}, {13, 8}, {12, 12}, {17, 13}} {
		w, h := size[0], size[1]
		out := mustPicture(t, s, numbered(w, h), Options{Strength: 1})
		if out.W != w || out.H != h || len(out.Pix) != 3*w*h || out.Alpha != nil {
			t.Errorf("%d×%d became %d×%d with %d values", w, h, out.W, out.H, len(out.Pix))
		}
	}
}

// A picture that needs a border gives what the same picture gives with that
// border already on it.
func TestBorderRepeatsTheEdge(t *testing.T) {
	s, _ := open(t, random(t, "c3s1-2,d4,u2,c3s1-3"))
	p := numbered(5, 3)
	wide := images.New(6, 4)
	for c := range 3 {
		for y := range 4 {
			for x := range 6 {
				wide.Plane(c)[y*6+x] = p.Plane(c)[min(y, 2)*5+min(x, 4)]
			}
		}
	}
	o := Options{Strength: 1}
	want, err := images.Crop(mustPicture(t, s, wide, o), 0, 0, 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := mustPicture(t, s, p, o); !slices.Equal(got.Pix, want.Pix) {
		t.Errorf("got %v, want %v", got.Pix, want.Pix)
	}
}

func TestPlansAreBounded(t *testing.T) {
	s, dev := open(t, random(t, "c3s1-8,d8,u8,c3s1-3"))
	sizes := func() (got []int) {
		for _, p := range s.plans {
			got = append(got, p.w)
		}
		return got
	}
	for i, want := range [][]int{{8}, {16, 8}, {8, 16}, {24, 8}} {
		w := []int{8, 16, 8, 24}[i]
		mustPicture(t, s, numbered(w, 8), Options{Strength: 1})
		if !slices.Equal(sizes(), want) {
			t.Errorf("after picture %d the plans are %v, want %v", i, sizes(), want)
		}
	}
	// Memory must not grow with the number of sizes.
	peak := dev.PeakBytes()
	for w := 2; w <= 24; w += 2 {
		mustPicture(t, s, numbered(w, 8), Options{Strength: 1})
	}
	if after := dev.PeakBytes(); after > 2*peak {
		t.Errorf("12 sizes took %d bytes, two of the largest %d", after, peak)
	}
}

func TestConcurrentUse(t *testing.T) {
	s, _ := open(t, linear(t, swap, []float32{0, 0, 0}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := numbered(3+i%3, 4)
			out, err := s.Picture(context.Background(), p, Options{Strength: 1})
			if err != nil || !slices.Equal(out.Plane(0), p.Plane(2)) {
				t.Errorf("picture %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// failing is a device without memory for feature maps while others are held.
type failing struct {
	kernels.Device
	limit int64
}

func (f failing) Scope() kernels.Device { return failing{f.Device.Scope(), f.limit} }

func (f failing) NewActivations(shapes []kernels.Shape, lives []kernels.Life) ([]kernels.Array, error) {
	for _, s := range shapes {
		if int64(s.Elements())*4 > f.limit {
			return nil, errors.New("out of memory: no 1 MiB left")
		}
	}
	return f.Device.NewActivations(shapes, lives)
}

// A device that fails is not a picture that is too large.
func TestDeviceFails(t *testing.T) {
	dev := failing{reference.New(1), 4 * 3 * 64}
	s, err := Open(dev, linear(t, identity, []float32{0, 0, 0}))
	if err != nil {
		t.Fatal(err)
	}
	mustPicture(t, s, numbered(8, 8), Options{Strength: 1})
	_, err = s.Picture(context.Background(), numbered(9, 8), Options{Strength: 1})
	var size *SizeError
	if err == nil || errors.As(err, &size) || !strings.Contains(err.Error(), "out of memory: no 1 MiB left") {
		t.Errorf("got %v", err)
	}
	mustPicture(t, s, numbered(8, 8), Options{Strength: 1}) // still works
}

// fixed is what a stylizer takes without maps and pictures.
func fixed(s *Stylizer) int64 { return processBytes + packedWeights*s.weights }

func TestMemory(t *testing.T) {
	s, dev := open(t, random(t, "c3s1-8,d16,R16,u8,c3s1-3"))
	p := numbered(128, 256)
	pictures := 2 * p.Bytes()
	whole := dev.PeakBytes()
	want := mustPicture(t, s, p, Options{Strength: 1})
	whole = dev.PeakBytes() - whole
	if err := s.drop(0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		maps  int64
		plans int
	}{{2 * whole, 1}, {whole / 2, 0}, {whole / 4, 0}} {
		var last float64
		got := mustPicture(t, s, p, Options{Strength: 1, Memory: fixed(s) + pictures + c.maps, Progress: func(share float64) { last = share }})
		if len(s.plans) != c.plans {
			t.Errorf("with %d of %d bytes there are %d plans, want %d", c.maps, whole, len(s.plans), c.plans)
		}
		if last < .999 || last > 1.001 {
			t.Errorf("the last progress was %v", last)
		}
		for i, v := range got.Pix {
			if math.Abs(float64(v-want.Pix[i])) > .01 {
				t.Fatalf("with %d of %d bytes value %d is %v, whole %v", c.maps, whole, i, v, want.Pix[i])
			}
		}
	}
	_, err := s.Picture(context.Background(), p, Options{Strength: 1, Memory: fixed(s) + pictures + 1000})
	var size *SizeError
	if !errors.As(err, &size) || size.W != 128 || size.H != 256 || size.Full || !strings.Contains(err.Error(), "128×256 pixels is too large for the memory: feature maps need 1 MiB, and 0 MiB are left") {
		t.Errorf("got %v", err)
	}
	// More would be allowed, but is not there.
	s.free = func() (int64, bool) { return p.Bytes() + 1000, true }
	if _, err = s.Picture(context.Background(), p, Options{Strength: 1}); !errors.As(err, &size) || !size.Full || !strings.Contains(err.Error(), "the memory that is free: feature maps need 1 MiB") {
		t.Errorf("got %v", err)
	}
	s.free = func() (int64, bool) { return p.Bytes() + whole/2, true }
	if mustPicture(t, s, p, Options{Strength: 1}); len(s.plans) != 0 {
		t.Error("the picture was run whole in half of the memory")
	}
}

// Strips of any height give the picture of the whole, with alpha, strength and
// colours too, for networks of every kind.
func TestStrips(t *testing.T) {
	for _, j := range []networks.Johnson{
		{Architecture: "c9s1-2,d4,R4,u2,c9s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"},
		{Architecture: "c9s1-2,d4,d4,R4,R4,u4,u2,c9s1-3", Padding: "reflect-start", Norm: "instance", Upsample: "transposed", Output: "tanh", OutputScale: 150, OutputOffset: 120},
		{Architecture: "c3s2-3,R3,U2,c3s1-3", Padding: "zero", Norm: "batch", Upsample: "nearest", Output: "linear"},
	} {
		net, err := j.Build()
		if err != nil {
			t.Fatal(err)
		}
		set, err := net.Init(3)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, &model.Model{Network: j, Weights: set})
		p := numbered(37, 53) // needs a border on both sides
		p.Alpha = make([]float32, 37*53)
		for i := range p.Alpha {
			p.Alpha[i] = float32(i%7) / 6
		}
		for _, o := range []Options{
			{Strength: 1}, {Strength: .3, KeepColors: KeepLuminance}, {Strength: 1, KeepColors: KeepMatch}, {Strength: .5, Scale: .7, Mask: half(t, 37, 53)},
		} {
			want := mustPicture(t, s, p, o)
			most := .05
			if o.KeepColors == KeepMatch {
				most = .3 // random weights paint with little contrast, which is stretched
			}
			for _, n := range []int{1, 3, 7, 20, 100} {
				o.Rows = n
				got := mustPicture(t, s, p, o)
				if !slices.Equal(got.Alpha, want.Alpha) {
					t.Errorf("%s, strips of %d rows: alpha differs", j.Architecture, n)
				}
				for i, v := range got.Pix {
					if math.Abs(float64(v-want.Pix[i])) > most {
						t.Fatalf("%s, strips of %d rows, %+v: value %d is %v, want %v", j.Architecture, n, o, i, v, want.Pix[i])
					}
				}
			}
		}
	}
}

// apart is the largest difference of two pictures.
func apart(a, b *images.Picture) float64 {
	worst := 0.
	for i, v := range a.Pix {
		worst = max(worst, math.Abs(float64(v-b.Pix[i])))
	}
	return worst
}

// With the weights of a trained network the strips show in no pixel.
func TestStripsOfATrainedNetwork(t *testing.T) {
	m, err := model.Open(testassets.Path(t, "models/pytorch-starry.pth"))
	if err != nil {
		t.Fatal(err)
	}
	photo, err := images.Open(testassets.Path(t, "photos/0000.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	var float32s *images.Picture
	for _, c := range []struct {
		devices.Options
		most float64 // how far apart
	}{
		{devices.Options{}, .01},
		{devices.Options{Exact: true}, .01},
		// The last bit of the statistics decides how some values are rounded to
		// 8 bits, and these decide others in the layers that follow.
		{devices.Options{Precision: kernels.BF16}, 3},
	} {
		dev, err := devices.Open("auto", c.Options)
		if err != nil {
			if c.Precision == kernels.BF16 {
				t.Log(err)
				continue
			}
			t.Fatal(err)
		}
		defer dev.Close()
		size := 301
		if dev.Info().Backend == "reference" {
			size = 41
		}
		p, err := images.FitWithin(photo, size)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(dev, m)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		want := mustPicture(t, s, p, Options{Strength: 1})
		if float32s == nil {
			float32s = want
		}
		t.Logf("%+v: at most %.4f of 255 from the first", c.Options, apart(want, float32s))
		for _, n := range []int{17, 64, 101} {
			worst := apart(mustPicture(t, s, p, Options{Strength: 1, Rows: n}), want)
			t.Logf("%+v, strips of %d rows: at most %.4f of 255 apart", c.Options, n, worst)
			if worst > c.most {
				t.Errorf("%+v, strips of %d rows: %v of 255 apart", c.Options, n, worst)
			}
		}
	}
}

// A picture that is stopped between strips stays as it is.
func TestStop(t *testing.T) {
	s, _ := open(t, random(t, "c3s1-2,d4,u2,c3s1-3"))
	ctx, stop := context.WithCancel(context.Background())
	o := Options{Strength: 1, Rows: 4, Progress: func(share float64) {
		if share > .5 {
			stop()
		}
	}}
	if _, err := s.Picture(ctx, numbered(16, 64), o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestErrors(t *testing.T) {
	s, _ := open(t, linear(t, identity, []float32{0, 0, 0}))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		p    *images.Picture
		o    Options
		want string
	}{
		{context.Background(), numbered(2, 2), Options{Strength: 1.5}, "strength 1.5 is not between 0 and 1"},
		{context.Background(), numbered(2, 2), Options{Strength: float32(math.NaN())}, "strength NaN"},
		{context.Background(), numbered(2, 2), Options{Memory: -1}, "a memory of -1 bytes"},
		{context.Background(), numbered(2, 2), Options{Rows: -1}, "strips of -1 rows"},
		{context.Background(), numbered(2, 2), Options{KeepColors: "all"}, `colours are kept by luminance or match, not by "all"`},
		{context.Background(), numbered(2, 2), Options{Scale: 17}, "scale 17 is not between 1/16 and 16"},
		{context.Background(), numbered(2, 2), Options{Scale: math.NaN()}, "scale NaN"},
		{context.Background(), numbered(2, 2), Options{Mask: half(t, 3, 2)}, "a mask of 3×2 for a picture of 2×2"},
		{context.Background(), &images.Picture{W: 2, H: 2}, Options{Strength: 1}, "a picture of 2×2 with 0 values"},
		{ended, numbered(2, 2), Options{Strength: 1}, "context canceled"},
	} {
		if _, err := s.Picture(c.ctx, c.p, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}

	// Black where the truth is not a number would hide a broken model.
	m := random(t, "c3s1-2,d4,u2,c3s1-3")
	for i := range m.Weights.Get("conv1.conv2d.weight").Data {
		m.Weights.Get("conv1.conv2d.weight").Data[i] = 3e38
	}
	huge, _ := open(t, m)
	if _, err := huge.Picture(context.Background(), numbered(9, 9), Options{Strength: 1}); err == nil || !strings.Contains(err.Error(), "not a number") {
		t.Errorf("got %v", err)
	}

	broken := linear(t, identity, []float32{0, 0, 0})
	broken.Weights.Get("conv1.conv2d.bias").Data[0] = float32(math.Inf(1))
	if _, err := Open(reference.New(1), broken); err == nil || !strings.Contains(err.Error(), `"conv1.conv2d.bias" holds +Inf`) {
		t.Errorf("got %v", err)
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Picture(context.Background(), numbered(1, 1), Options{Strength: 1}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}
