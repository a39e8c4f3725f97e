package reference

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"stylenet/internal/kernels"
)

// TestThreads checks that the number of threads changes no bit.
func TestThreads(t *testing.T) {
	results := func(threads int) [][]float32 {
		d := New(threads)
		r := rand.New(rand.NewPCG(1, 2))
		array := func(a kernels.Array, err error) kernels.Array {
			if err != nil {
				t.Fatal(err)
			}
			v := make([]float32, a.Shape().Elements())
			for i := range v {
				v[i] = r.Float32()
			}
			if err := d.Upload(a, v); err != nil {
				t.Fatal(err)
			}
			return a
		}
		c := kernels.Conv{Stride: 2, Pad: kernels.Same(1)}
		x, y := array(d.NewActivation(shape(3, 5, 20, 31))), array(d.NewActivation(shape(3, 7, 10, 16)))
		w, b, w2 := array(d.NewParameter(shape(7, 5, 3, 3))), array(d.NewParameter(kernels.Vector(7))), array(d.NewParameter(shape(7, 5, 3, 3)))
		x2, loss, gram := array(d.NewActivation(x.Shape())), array(d.NewParameter(kernels.Scalar())), array(d.NewParameter(shape(3, 1, 5, 5)))
		var all [][]float32
		run := func(dst kernels.Array, k kernels.Kernel, err error) {
			if err != nil {
				t.Fatal(err)
			}
			k()
			v := make([]float32, dst.Shape().Elements())
			if err := d.Download(v, dst); err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		k, err := d.Conv(y, x, w, b, c)
		run(y, k, err)
		k, err = d.ConvBackwardData(x2, y, w, nil, c)
		run(x2, k, err)
		k, err = d.ConvBackwardWeights(w2, b, y, x, c)
		run(w2, k, err)
		run(b, k, err)
		k, err = d.MSE(loss, x, x2)
		run(loss, k, err)
		k, err = d.TotalVariation(loss, x)
		run(loss, k, err)
		k, err = d.Gram(gram, x)
		run(gram, k, err)
		k, err = d.GramBackward(x2, gram, x)
		run(x2, k, err)
		return all
	}
	want := results(1)
	for _, threads := range []int{2, 5, 64} {
		for i, v := range results(threads) {
			for j := range v {
				if math.Float32bits(v[j]) != math.Float32bits(want[i][j]) {
					t.Fatalf("%d threads: element %d of result %d is %g, not %g", threads, j, i, v[j], want[i][j])
				}
			}
		}
	}
}

func TestLaunchesAllocateNothing(t *testing.T) {
	d := New(3)
	x, _ := d.NewActivation(shape(2, 4, 8, 8))
	y, _ := d.NewActivation(shape(2, 4, 8, 8))
	w, _ := d.NewParameter(shape(4, 4, 3, 3))
	stats, _ := d.NewParameter(shape(2, 4, 1, 1))
	stats2, _ := d.NewParameter(shape(2, 4, 1, 1))
	v, _ := d.NewParameter(kernels.Vector(4))
	loss, _ := d.NewParameter(kernels.Scalar())
	c := kernels.Conv{Stride: 1, Pad: kernels.Same(1)}
	var all []kernels.Kernel
	add := func(k kernels.Kernel, err error) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	add(d.Conv(y, x, w, v, c))
	add(d.ConvBackwardData(x, y, w, v, c))
	add(d.ConvBackwardWeights(w, v, y, x, c))
	add(d.Norm(y, stats, stats2, x, v, v, kernels.Norm{Eps: 1}))
	add(d.ReLU(y, x))
	add(d.MSE(loss, x, y))
	add(d.TotalVariationBackward(y, loss, x))
	add(d.SquaredNorm(loss, []kernels.Array{w, v}))
	run := func() {
		for _, k := range all {
			k()
		}
	}
	run() // the runtime keeps the goroutines that it made
	if n := testing.AllocsPerRun(100, run); n > 0.5 {
		t.Errorf("%v allocations in %d launches", n, len(all))
	}
}

func TestMemoryIsAccountedFor(t *testing.T) {
	d := New(1)
	array := func(d kernels.Device, width int) kernels.Array {
		a, err := d.NewActivation(shape(1, 1, 1, width))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	peak := func(what string, want int64) {
		t.Helper()
		if got := d.PeakBytes(); got != want {
			t.Errorf("PeakBytes after %s is %d, not %d", what, got, want)
		}
	}
	a, b := array(d, 100), array(d, 60)
	peak("two arrays", 640)
	d.Release(a)
	d.Release(a) // must not share the memory out twice
	c := array(d, 80)
	peak("a smaller array in released memory", 640)
	array(d, 100)
	peak("a new block", 1040)
	d.Release(b)
	array(d, 10)
	peak("an array that would waste most of a block", 1080)
	if err := d.Upload(c, make([]float32, 80)); err != nil {
		t.Error(err)
	}

	s := d.Scope()
	array(s, 1000)
	peak("an array of a scope", 5080)
	nested := s.Scope()
	kept := array(nested, 1000)
	peak("an array of a nested scope", 9080)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	array(d, 2000)
	peak("an array as large as those of closed scopes", 9080)
	if _, err := nested.ReLU(kept, kept); err == nil || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("ReLU on a scope whose parent was closed: %v", err)
	}
}

func TestMisuse(t *testing.T) {
	d := New(1)
	scope := d.Scope()
	act := func(d kernels.Device) kernels.Array {
		a, err := d.NewActivation(shape(1, 1, 1, 1))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	p, err := d.NewParameter(kernels.Scalar())
	if err != nil {
		t.Fatal(err)
	}
	released := act(d)
	d.Release(released)
	a, inner := act(d), act(scope)
	try := func(want string) func(kernels.Kernel, error) {
		return func(_ kernels.Kernel, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not say %q", err, want)
			}
		}
	}
	try("was released")(d.ReLU(a, released))
	try("is a parameter, not an activation")(d.ReLU(a, p))
	try("is an activation, not a parameter")(d.MSE(a, a, a))
	try("activations and parameters are mixed")(d.Sum(a, []kernels.Array{p}, []float32{1}))
	try("an array is missing")(d.ReLU(a, nil))
	try("belongs to another device")(d.ReLU(a, inner))
	if _, err := scope.ReLU(inner, a); err != nil {
		t.Errorf("a scope cannot read its parent's array: %v", err)
	}
	k, err := d.ReLU(a, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	k()
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "used after Close") {
		t.Errorf("Sync after a launch after Close: %v", err)
	}
	if _, err := d.NewActivation(shape(1, 1, 1, 1)); err == nil {
		t.Error("a closed device made an array")
	}
	try("device was closed")(d.ReLU(a, a))
	try("device was closed")(scope.ReLU(inner, inner))
}
