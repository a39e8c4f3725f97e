package kerneltest

import (
	"math"
	"strings"
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

// bench makes arrays and kernels of one device and ends the test on any error.
type bench struct {
	*testing.T
	kernels.Device
}

func (b bench) array(s kernels.Shape, values ...float32) kernels.Array {
	b.Helper()
	a, err := b.NewActivation(s)
	return b.filled(a, err, values)
}

func (b bench) parameter(s kernels.Shape, values ...float32) kernels.Array {
	b.Helper()
	a, err := b.NewParameter(s)
	return b.filled(a, err, values)
}

// filled uploads the values, repeated as often as they fit.
func (b bench) filled(a kernels.Array, err error, values []float32) kernels.Array {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	if len(values) > 0 {
		b.upload(a, values...)
	}
	return a
}

func (b bench) upload(a kernels.Array, values ...float32) {
	b.Helper()
	all := make([]float32, a.Shape().Elements())
	for i := range all {
		all[i] = values[i%len(values)]
	}
	if err := b.Upload(a, all); err != nil {
		b.Fatal(err)
	}
}

func (b bench) kernel(k kernels.Kernel, err error) kernels.Kernel {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func (b bench) values(a kernels.Array) []float32 {
	b.Helper()
	v := make([]float32, a.Shape().Elements())
	if err := b.Download(v, a); err != nil {
		b.Fatal(err)
	}
	return v
}

// holds checks that all elements of an array have one value.
func (b bench) holds(what string, a kernels.Array, want float32) {
	b.Helper()
	for i, v := range b.values(a) {
		if math.Abs(float64(v-want)) > 1e-4*math.Abs(float64(want)) {
			b.Fatalf("%s: element %d is %g, not %g", what, i, v, want)
		}
	}
}

// scale binds dst = src + k·src.
func (b bench) scale(dst, src kernels.Array, k float32) kernels.Kernel {
	b.Helper()
	return b.kernel(b.Sum(dst, []kernels.Array{src, src}, []float32{1, k - 1}))
}

func testTransfer(t *testing.T, d kernels.Device) {
	b := bench{t, d.Scope()}
	defer b.Close()
	if i := b.Info(); i.Backend == "" || i.Description == "" || i.Threads < 1 || i.Precision == "" {
		t.Errorf("Info says too little: %+v", i)
	}
	for _, s := range shapes {
		values := make([]float32, s.Elements())
		for i := range values {
			values[i] = float32(i%127) + 0.5 // bf16 has them all
		}
		for _, a := range []kernels.Array{b.array(s), b.parameter(s)} {
			if a.Shape() != s {
				t.Fatalf("array has shape %v, not %v", a.Shape(), s)
			}
			b.upload(a, values...)
			for i, v := range b.values(a) {
				if v != values[i] {
					t.Fatalf("%v: element %d came back as %g, not %g", s, i, v, values[i])
				}
			}
			if err := b.Upload(a, make([]float32, s.Elements()+1)); err == nil {
				t.Errorf("%v: Upload of too many values succeeded", s)
			}
			if err := b.Download(make([]float32, s.Elements()-1), a); err == nil {
				t.Errorf("%v: Download of too few values succeeded", s)
			}
		}
	}
	for _, s := range []kernels.Shape{{}, {N: 1, C: 1, H: 0, W: 1}, {N: 1, C: -1, H: 1, W: 1}, {N: 1 << 30, C: 1 << 30, H: 1 << 30, W: 1 << 30}} {
		if _, err := b.NewActivation(s); err == nil {
			t.Errorf("NewActivation made %v", s)
		}
		if _, err := b.NewParameter(s); err == nil {
			t.Errorf("NewParameter made %v", s)
		}
	}
}

// testOrder launches a chain of kernels without waiting for any of them.
func testOrder(t *testing.T, d kernels.Device) {
	b := bench{t, d.Scope()}
	defer b.Close()
	s := kernels.Shape{N: 2, C: 20, H: 33, W: 31}
	x, y, z := b.array(s, 1), b.array(s), b.array(s)
	double, triple, back := b.scale(y, x, 2), b.scale(z, y, 3), b.scale(x, z, 1)
	for range 3 {
		double()
		triple()
		back()
	}
	b.holds("2·3 thrice", x, 216)
	// An upload comes after the launches before it.
	double()
	b.upload(x, 7)
	b.holds("result of a launch before an upload", y, 432)
	b.holds("uploaded values", x, 7)
	double()
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	b.holds("result of a launch after an upload", y, 14)
}

// testAdamSteps changes the settings between launches.
func testAdamSteps(t *testing.T, d kernels.Device, tol Tolerance) {
	type result struct{ p, m, v []float32 }
	steps := func(d kernels.Device) result {
		b := bench{t, d.Scope()}
		defer b.Close()
		s := kernels.Shape{N: 2, C: 3, H: 3, W: 3}
		p, g := b.parameter(s, 1, -2, 3, 0.5, 0), b.parameter(s)
		m, v, norm := b.parameter(s, 0), b.parameter(s, 0), b.parameter(kernels.Scalar())
		h := kernels.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
		square := b.kernel(b.SquaredNorm(norm, []kernels.Array{g}))
		step := b.kernel(b.Adam([]kernels.Array{p}, []kernels.Array{g}, []kernels.Array{m}, []kernels.Array{v}, norm, &h))
		for i := range 4 {
			b.upload(g, float32(i)-1.5, 0.3, -10, 0)
			h.Step, h.LR, h.ClipNorm = i+1, 1/float64(i+1), float64(i)
			square()
			step()
			if err := b.Sync(); err != nil { // h is read at a launch, which may be later
				t.Fatal(err)
			}
		}
		return result{b.values(p), b.values(m), b.values(v)}
	}
	got, want := steps(d), steps(reference.NewFloat64(1))
	for name, pair := range map[string][2][]float32{"p": {got.p, want.p}, "m": {got.m, want.m}, "v": {got.v, want.v}} {
		for i, v := range pair[0] {
			if w := pair[1][i]; !(math.Abs(float64(v-w)) <= 10*tol.Rest*(1+math.Abs(float64(w)))) {
				t.Errorf("%s[%d] is %g after four steps, not %g", name, i, v, w)
			}
		}
	}
}

func testFailedLaunch(t *testing.T, d kernels.Device) {
	b := bench{t, d.Scope()}
	defer b.Close()
	one := func() []kernels.Array { return []kernels.Array{b.parameter(kernels.Vector(3), 1)} }
	p := one()
	h := kernels.Adam{LR: 1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
	step := b.kernel(b.Adam(p, one(), one(), one(), nil, &h))
	for _, c := range []struct {
		want string
		set  kernels.Adam
	}{
		{"step 0 is below 1", h},
		{"clipping needs the squared norm", kernels.Adam{LR: 1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, ClipNorm: 1}},
	} {
		h = c.set
		step()
		if err := b.Sync(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Sync returned %v, want %q", err, c.want)
		}
		if err := b.Sync(); err != nil {
			t.Errorf("Sync returned an error twice: %v", err)
		}
		step()
		if err := b.Download(make([]float32, 3), p[0]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Download returned %v, want %q", err, c.want)
		}
		b.holds("parameter of a failed step", p[0], 1)
	}
}

// testRelease lets later arrays share memory with earlier ones whose values
// are no longer needed.
func testRelease(t *testing.T, d kernels.Device, tol Tolerance) {
	b := bench{t, d}
	s := kernels.Shape{N: 2, C: 17, H: 12, W: 13}
	x, first, second := b.array(s, 1), b.array(s), b.array(s)
	run := []kernels.Kernel{b.scale(first, x, 2), b.scale(second, first, 3)}
	peak := d.PeakBytes()
	if least := 3 * d.MapBytes(s); peak < least {
		t.Errorf("PeakBytes is %d with arrays of %d bytes", peak, least)
	}
	d.Release(first)
	third := b.array(s)
	run = append(run, b.scale(third, second, 5))
	d.Release(second)
	fourth := b.array(s)
	run = append(run, b.scale(fourth, third, 7))
	if now := d.PeakBytes(); now != peak {
		t.Errorf("PeakBytes went from %d to %d although an array of the same shape was released", peak, now)
	}
	for _, v := range []float32{1, 8} {
		b.upload(x, v)
		for _, k := range run {
			k()
		}
		b.holds("end of a chain over released memory", fourth, 210*v)
		b.holds("array beside released memory", third, 30*v)
		b.holds("source", x, v)
	}
	// Released memory carries no padding that a larger or smaller map could
	// trip over.
	for _, c := range []int{16, 1, 17, 3} {
		convolution{n: 1, in: c, out: 5, h: 6, w: 5, kh: 3, kw: 3, Conv: kernels.Conv{Stride: 1}}.forward().check(t, d, tol, 1)
		a := b.array(kernels.Shape{N: 1, C: c, H: 6, W: 5}, float32(math.Inf(1)))
		d.Release(a)
	}
}

// testLives holds a chain of maps to its values, and to the memory of the two
// largest neighbours.
func testLives(t *testing.T, d kernels.Device) {
	b := bench{t, d}
	sizes := []int{8, 40, 24, 24, 24, 40, 8}
	shapes, lives, sum := make([]kernels.Shape, len(sizes)), make([]kernels.Life, len(sizes)), int64(0)
	for i, s := range sizes {
		shapes[i], lives[i] = kernels.Shape{N: 1, C: 16, H: s, W: 8}, kernels.Life{First: i - 1, Last: i}
		sum += d.MapBytes(shapes[i])
	}
	before := d.PeakBytes()
	maps, err := d.NewActivations(shapes, lives)
	if err != nil {
		t.Fatal(err)
	}
	if took := d.PeakBytes() - before; took <= 0 || took >= sum {
		t.Errorf("the maps take %d bytes, one by one they would take %d", took, sum)
	}
	var run []kernels.Kernel
	for i := 1; i < len(maps); i++ {
		p := kernels.Padding{Bottom: sizes[i] - sizes[i-1]}
		k, err := d.Pad(maps[i], maps[i-1], kernels.PadZero, p)
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, k)
		d.Release(maps[i-1]) // nothing of its own to give back
	}
	b.array(shapes[1], 9)
	b.upload(maps[0], 5)
	for _, k := range run {
		k()
	}
	b.holds("end of a chain of maps that share memory", maps[len(maps)-1], 5)
	for _, bad := range [][]kernels.Life{nil, {{First: 1, Last: 0}}} {
		if _, err := d.NewActivations(shapes[:1], bad); err == nil {
			t.Errorf("lives %v were accepted", bad)
		}
	}
}

func testScope(t *testing.T, d kernels.Device) {
	b := bench{t, d}
	s := kernels.Shape{N: 1, C: 16, H: 20, W: 20}
	x := b.array(s, 3)
	y := b.array(s)
	kept := b.scale(y, x, 2)
	var peak int64
	for i := range 5 {
		scope := bench{t, d.Scope()}
		inner := scope.array(s)
		scope.scale(inner, x, float32(i+1))()
		scope.holds("array of a scope", inner, 3*float32(i+1))
		nested := bench{t, scope.Scope()}
		innermost := nested.array(s)
		nested.scale(innermost, inner, 10)()
		nested.holds("array of a nested scope", innermost, 30*float32(i+1))
		if err := nested.Close(); err != nil {
			t.Fatalf("Close of a nested scope: %v", err)
		}
		scope.holds("array of a scope after one inside was closed", inner, 3*float32(i+1))
		if err := scope.Close(); err != nil {
			t.Fatalf("Close of a scope: %v", err)
		}
		if i == 0 {
			peak = d.PeakBytes()
		}
	}
	if now := d.PeakBytes(); now != peak {
		t.Errorf("PeakBytes went from %d to %d over scopes that were closed", peak, now)
	}
	if least := 4 * d.MapBytes(s); peak < least {
		t.Errorf("PeakBytes is %d although scopes held arrays of %d bytes", peak, least)
	}
	kept()
	b.holds("result of a kernel that outlived the scopes", y, 6)
}

// testForeign binds arrays of another device of the same backend and of
// another backend.
func testForeign(t *testing.T, d, other kernels.Device) {
	b := bench{t, d.Scope()}
	defer b.Close()
	s := kernels.Shape{N: 1, C: 3, H: 4, W: 4}
	x, y, v, w := b.array(s, 1), b.array(s), b.parameter(kernels.Vector(s.C), 1), b.parameter(kernels.Shape{N: s.C, C: s.C, H: 1, W: 1}, 1)
	for name, d := range map[string]kernels.Device{"the same backend": other, "another backend": reference.NewFloat64(1)} {
		foreign, vector := bench{t, d}.array(s, 1), bench{t, d}.parameter(kernels.Vector(s.C), 1)
		if _, err := b.ReLU(x, foreign); err == nil {
			t.Errorf("ReLU read an array of %s", name)
		}
		if _, err := b.ReLU(foreign, x); err == nil {
			t.Errorf("ReLU wrote an array of %s", name)
		}
		for place, r := range []kernels.Read{{}, {Mean: vector, InvStd: v, Gamma: v, Beta: v}, {Mean: v, InvStd: v, Gamma: v, Beta: vector}} {
			src := []kernels.Array{x}
			if place == 0 {
				src[0] = foreign
			}
			if _, err := b.FusedConv(y, nil, nil, src[0], r, w, nil, kernels.Conv{Stride: 1}, kernels.Norm{}); err == nil {
				t.Errorf("FusedConv read an array of %s in place %d", name, place)
			}
			if _, err := b.FusedSum(y, src, []kernels.Read{r}); err == nil {
				t.Errorf("FusedSum read an array of %s in place %d", name, place)
			}
		}
		if _, err := b.FusedConv(y, v, vector, x, kernels.Read{}, w, nil, kernels.Conv{Stride: 1}, kernels.Norm{Eps: 1}); err == nil {
			t.Errorf("FusedConv wrote statistics to an array of %s", name)
		}
		if err := b.Upload(foreign, make([]float32, s.Elements())); err == nil {
			t.Errorf("Upload wrote an array of %s", name)
		}
		if err := b.Download(make([]float32, s.Elements()), foreign); err == nil {
			t.Errorf("Download read an array of %s", name)
		}
	}
}
