//go:build cudahost && !cudnn

package cuda

import (
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/kerneltest"
	"stylenet/internal/kernels/reference"
)

func TestConformance(t *testing.T) {
	bf16 := 1.0 / 256 // half a unit in the last place, relative
	for _, c := range []struct {
		name    string
		options Options
		tol     kerneltest.Tolerance
	}{
		{"float32", Options{Exact: true}, kerneltest.Tolerance{Conv: 1e-6, Rest: 2e-6}},
		{"bf16", Options{Precision: kernels.BF16}, kerneltest.Tolerance{Conv: bf16, Rest: 2e-6, Rounding: 2 * bf16}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kerneltest.Run(t, func(t *testing.T) kernels.Device { d, _ := open(t, c.options); return d }, c.tol)
		})
	}
}

// open returns a device, and its driver, of which the device's Close checks
// that all memory came back.
func open(t *testing.T, o Options) (*Device, *hostDriver) {
	t.Helper()
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d, d.driver.(*hostDriver)
}

func openDevice(t *testing.T, o Options) *Device { d, _ := open(t, o); return d }

func heldBy(_ *testing.T, d *Device) (bytes, things int) {
	h := d.driver.(*hostDriver)
	return h.held, len(h.blocks) + h.pinned
}

// bench makes arrays and kernels, and ends the test on any error.
type bench struct {
	*testing.T
	*Device
}

// numbered are values that bf16 has, and that differ from one another nearby.
func numbered(s kernels.Shape) []float32 {
	v := make([]float32, s.Elements())
	for i := range v {
		v[i] = float32(i%113)/32 - 1.5
	}
	return v
}

func (b bench) array(s kernels.Shape, parameter bool) *array {
	b.Helper()
	a, err := b.newArray(s, parameter)
	if err == nil {
		err = b.Upload(a, numbered(s))
	}
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func (b bench) run(k kernels.Kernel, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	k()
	if err := b.Sync(); err != nil {
		b.Fatal(err)
	}
}

// raw returns a map's memory as floats.
func (b bench) raw(a *array) []float32 {
	b.Helper()
	words := make([]uint16, a.bytes()/2)
	if err := b.driver.download(unsafe.Pointer(&words[0]), a.data, a.bytes()); err != nil {
		b.Fatal(err)
	}
	v := make([]float32, a.vectors()*lanes)
	for i := range v {
		if a.elem == bfloat16Element {
			v[i] = math.Float32frombits(uint32(words[i]) << 16)
		} else {
			v[i] = math.Float32frombits(uint32(words[2*i]) | uint32(words[2*i+1])<<16)
		}
	}
	return v
}

// Maps lie as the package says, and every kernel leaves zeros in the padding of
// channels: what it finds there is NaN.
func TestLayout(t *testing.T) {
	for _, precision := range []string{kernels.Float32, kernels.BF16} {
		d, _ := open(t, Options{Precision: precision})
		b := bench{t, d}
		for _, channels := range []int{3, 5, 20} {
			s := kernels.Shape{N: 2, C: channels, H: 5, W: 7}
			x, g := b.array(s, false), b.array(s, false)
			if want := map[bool]element{false: bfloat16Element}[precision == kernels.Float32 || channels <= kernels.PlainChannels]; x.elem != want {
				t.Errorf("%s: %d channels are of element %d, not %d", precision, channels, x.elem, want)
			}
			values, wide := numbered(s), x.groups()*lanes
			if got, want := d.MapBytes(s), int64(len(b.raw(x))*x.elem.bytes()); got != want || wide != map[int]int{3: 8, 5: 8, 20: 24}[channels] {
				t.Errorf("%s: a map of %d channels takes %d bytes, not %d", precision, channels, got, want)
			}
			for i, v := range b.raw(x) {
				n, y, col, c := i/wide/s.W/s.H, i/wide/s.W%s.H, i/wide%s.W, i%wide
				want := float32(0)
				if c < s.C {
					want = values[((n*s.C+c)*s.H+y)*s.W+col]
				}
				if v != want {
					t.Fatalf("%s %v: pixel (%d %d %d) has %g in channel %d, not %g", precision, s, n, y, col, v, c, want)
				}
			}
			vector := func() *array { return b.array(kernels.Vector(channels), true) }
			stats := func() *array { return b.array(kernels.Norm{}.Stats(s), true) }
			gamma, beta, mean, invstd, dgamma, dbeta := vector(), vector(), stats(), stats(), vector(), vector()
			w := b.array(kernels.Shape{N: channels, C: channels, H: 3, W: 3}, true)
			loss, gram := b.array(kernels.Scalar(), true), b.array(kernels.Shape{N: s.N, C: 1, H: channels, W: channels}, true)
			same := kernels.Conv{Stride: 1, Pad: kernels.Same(1)}
			odd := kernels.Conv{Stride: 1, Pad: kernels.Padding{Top: 2, Right: 2}}
			norm := kernels.Norm{Eps: 1e-5}
			read := kernels.Read{Mean: mean, InvStd: invstd, Gamma: gamma, Beta: beta, Mode: kernels.PadReflect, Pad: kernels.Same(1)}
			large := kernels.Shape{N: s.N, C: s.C, H: 2 * s.H, W: 2 * s.W}
			small := kernels.Shape{N: s.N, C: s.C, H: s.H / 2, W: s.W / 2}
			bordered := kernels.Shape{N: s.N, C: s.C, H: s.H + 2, W: s.W + 2}
			double := kernels.Arrangement{Block: 2}
			for i := range 4 * channels {
				double.From = append(double.From, 4*i%channels)
			}
			one, taps := b.array(kernels.Shape{N: s.N, C: 1, H: s.H, W: 1}, false), make([]kernels.Tap, s.H+s.W)
			flow := b.array(kernels.Shape{N: s.N, C: 2, H: s.H, W: s.W}, false)
			window := kernels.Window{Kind: kernels.AvgPool, Height: 2, Width: 3, Stride: 1, Pad: kernels.Padding{Bottom: 1, Left: 2}}
			pixel := kernels.Shape{N: s.N, C: s.C, H: 1, W: 1}
			all := kernels.Window{Height: s.H, Width: s.W, Stride: 1}
			mean1 := all
			mean1.Kind = kernels.AvgPool
			big, little, frame := b.array(large, false), b.array(small, false), b.array(bordered, false)
			arrays := []*array{x, g, gamma, beta, mean, invstd, dgamma, dbeta, w, loss, gram, one, flow, big, little, frame}
			for _, a := range arrays {
				b.fence(a)
			}
			for name, c := range map[string]struct {
				shape kernels.Shape
				bind  func(y kernels.Array) (kernels.Kernel, error)
			}{
				"conv":     {s, func(y kernels.Array) (kernels.Kernel, error) { return d.Conv(y, x, w, beta, same) }},
				"odd conv": {s, func(y kernels.Array) (kernels.Kernel, error) { return d.Conv(y, x, w, beta, odd) }},
				"data":     {s, func(y kernels.Array) (kernels.Kernel, error) { return d.ConvBackwardData(y, g, w, beta, same) }},
				"odd data": {s, func(y kernels.Array) (kernels.Kernel, error) { return d.ConvBackwardData(y, g, w, beta, odd) }},
				"norm": {s, func(y kernels.Array) (kernels.Kernel, error) {
					return d.Norm(y, stats(), stats(), x, gamma, beta, norm)
				}},
				"affine":    {s, func(y kernels.Array) (kernels.Kernel, error) { return d.ChannelAffine(y, x, gamma, beta) }},
				"relu":      {s, func(y kernels.Array) (kernels.Kernel, error) { return d.ReLU(y, x) }},
				"tanh":      {s, func(y kernels.Array) (kernels.Kernel, error) { return d.Tanh(y, x, 150, 20) }},
				"tanh back": {s, func(y kernels.Array) (kernels.Kernel, error) { return d.TanhBackward(y, g, x, 150, 20) }},
				"sum":       {s, func(y kernels.Array) (kernels.Kernel, error) { return d.Sum(y, list(x, g), []float32{1, 2}) }},
				"up":        {large, func(y kernels.Array) (kernels.Kernel, error) { return d.Upsample(y, x, 2) }},
				"up back":   {s, func(y kernels.Array) (kernels.Kernel, error) { return d.UpsampleBackward(y, big, 2) }},
				"pool":      {small, func(y kernels.Array) (kernels.Kernel, error) { return d.Pool(y, x, kernels.AvgPool) }},
				"pool back": {s, func(y kernels.Array) (kernels.Kernel, error) { return d.PoolBackward(y, little, x, kernels.MaxPool) }},
				"pad":       {bordered, func(y kernels.Array) (kernels.Kernel, error) { return d.Pad(y, x, kernels.PadReflect, kernels.Same(1)) }},
				"pad back": {s, func(y kernels.Array) (kernels.Kernel, error) {
					return d.PadBackward(y, frame, kernels.PadReflect, kernels.Same(1))
				}},
				"clip": {s, func(y kernels.Array) (kernels.Kernel, error) {
					return d.Pointwise(y, x, nil, kernels.Pointwise{Function: kernels.Clip, A: 1, B: 2})
				}},
				"plus": {s, func(y kernels.Array) (kernels.Kernel, error) {
					return d.Pointwise(y, x, one, kernels.Pointwise{Function: kernels.Add})
				}},
				"arrange":   {large, func(y kernels.Array) (kernels.Kernel, error) { return d.Arrange(y, list(x), double) }},
				"resample":  {s, func(y kernels.Array) (kernels.Kernel, error) { return d.Resample(y, x, taps[:s.H], taps[s.H:]) }},
				"warp":      {s, func(y kernels.Array) (kernels.Kernel, error) { return d.Warp(y, x, flow, false) }},
				"window":    {s, func(y kernels.Array) (kernels.Kernel, error) { return d.WindowPool(y, x, window) }},
				"maximum":   {pixel, func(y kernels.Array) (kernels.Kernel, error) { return d.WindowPool(y, x, all) }},
				"mean":      {pixel, func(y kernels.Array) (kernels.Kernel, error) { return d.WindowPool(y, x, mean1) }},
				"gram back": {s, func(y kernels.Array) (kernels.Kernel, error) { return d.GramBackward(y, gram, x) }},
				"mse back":  {s, func(y kernels.Array) (kernels.Kernel, error) { return d.MSEBackward(y, loss, x, g) }},
				"tv back":   {s, func(y kernels.Array) (kernels.Kernel, error) { return d.TotalVariationBackward(y, loss, x) }},
				"fused": {s, func(y kernels.Array) (kernels.Kernel, error) {
					return d.FusedConv(y, stats(), stats(), x, read, w, beta, kernels.Conv{Stride: 1}, norm)
				}},
				"fused sum": {bordered, func(y kernels.Array) (kernels.Kernel, error) {
					return d.FusedSum(y, list(x, frame), []kernels.Read{read, {}})
				}},
				"norm back": {s, func(y kernels.Array) (kernels.Kernel, error) {
					return d.NormBackward(y, dgamma, dbeta, g, x, gamma, beta, mean, invstd, norm)
				}},
			} {
				y, err := b.newArray(c.shape, false)
				if err != nil {
					t.Fatal(err)
				}
				b.fence(y)
				b.run(c.bind(y))
				for _, a := range append(arrays, y) {
					if !b.fenced(a) {
						t.Errorf("%s %v: %s writes behind an array of shape %v", precision, s, name, a.shape)
					}
				}
				for i, v := range b.raw(y) {
					if v != v || i%wide >= s.C && v != 0 {
						t.Errorf("%s %v: %s leaves %g in channel %d", precision, s, name, v, i%wide)
						break
					}
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// behind is the memory of an array's block that lies behind the array.
func behind(a *array) []byte {
	return unsafe.Slice((*byte)(address(a.data+ptr(a.bytes()))), a.block.bytes-a.bytes())
}

const fence = 0xa5

// fence fills what lies behind an array, and fenced says whether it still does.
func (b bench) fence(a *array) {
	b.Helper()
	if len(behind(a)) == 0 {
		b.Fatalf("nothing lies behind an array of shape %v", a.shape)
	}
	for i := range behind(a) {
		behind(a)[i] = fence
	}
}

func (b bench) fenced(a *array) bool {
	return !slices.ContainsFunc(behind(a), func(v byte) bool { return v != fence })
}

// What no processor but a GPU would mind is an error here, too.
func TestMistakes(t *testing.T) {
	d, drv := open(t, Options{})
	defer d.Close()
	out, err := drv.alloc(4 * (blockThreads + 1))
	if err != nil {
		t.Fatal(err)
	}
	defer drv.free(out)
	args := struct {
		out     ptr
		mistake int32
	}{out: out}
	launch := func(kernel string) error {
		drv.launch(kernel, 2, unsafe.Pointer(&args), int(unsafe.Sizeof(args)))
		return drv.sync()
	}
	for i, want := range []string{
		"",
		"without a barrier between them",
		"without a barrier between them",
		"without a barrier between them",
		"], which its block has not written",
		"writes cells[256], which is outside of it",
		"reads cells[-1], which is outside of it",
		"a barrier that not all threads reach",
	} {
		args.mistake = int32(i)
		for range 3 { // in all orders of threads
			if err := launch("wrong_f32"); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("mistake %d is %v, not %q", i, err, want)
			}
		}
	}

	results := unsafe.Slice((*float32)(address(out)), blockThreads+1)
	seen := map[string]bool{}
	for range 3 {
		results[blockThreads] = 0
		if err := launch("turns_f32"); err != nil {
			t.Fatal(err)
		}
		seen[fmt.Sprint(results)] = true
		if slices.Sort(results); results[0] != 1 && results[0] != blockThreads+1 {
			t.Errorf("the first of all turns is %g", results[0])
		}
	}
	if len(seen) != 3 {
		t.Errorf("threads run in %d orders in 3 launches", len(seen))
	}

	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	fault := func() (err any) {
		defer func() { err = recover() }()
		t.Errorf("%d is read behind memory", *(*byte)(address(out + ptr(align(4*(blockThreads+1), alignment)))))
		return nil
	}
	if err := fault(); err == nil || !strings.Contains(fmt.Sprint(err), "fault") && !strings.Contains(fmt.Sprint(err), "invalid memory") {
		t.Errorf("memory ends with %v", err)
	}
	before, err := drv.alloc(256)
	if err != nil {
		t.Fatal(err)
	}
	*(*byte)(address(before - 1)) = 1
	drv.free(before)
	if err := drv.sync(); err == nil || !strings.Contains(err.Error(), "before 256 bytes of memory") {
		t.Errorf("a byte was written before memory: %v", err)
	}
}

// Maps of more channels than one block takes, in more parts than two
// multiprocessors need, and more images than a block has rows: the suite has none
// of either.
func TestManyChannelsAndImages(t *testing.T) {
	for _, s := range []kernels.Shape{{N: 2, C: 300, H: 30, W: 31}, {N: 37, C: 9, H: 5, W: 3}, {N: 3, C: 5, H: 64, W: 65}} {
		t.Run(fmt.Sprint(s), func(t *testing.T) { manyOf(t, s) })
	}
}

func manyOf(t *testing.T, s kernels.Shape) {
	small := kernels.Shape{N: s.N, C: s.C, H: s.H / 2, W: s.W / 2}
	stats := kernels.Norm{}.Stats(s)
	run := func(d kernels.Device) [][]float32 {
		defer d.Close()
		if c, ok := d.(*Device); ok {
			c.about.sms = 50
		}
		var results []kernels.Array
		array := func(s kernels.Shape, parameter, result bool) kernels.Array {
			a, err := d.NewActivation(s)
			if parameter {
				a, err = d.NewParameter(s)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Upload(a, numbered(s)); err != nil {
				t.Fatal(err)
			}
			if result {
				results = append(results, a)
			}
			return a
		}
		maps := func() kernels.Array { return array(s, false, true) }
		vector := func() kernels.Array { return array(kernels.Vector(s.C), true, true) }
		x, g, gamma, beta := array(s, false, false), array(s, false, false), vector(), vector()
		mean, invstd, all, deviations := array(stats, true, true), array(stats, true, true), vector(), vector()
		n := kernels.Norm{Eps: 1e-5, ReLU: true}
		whole := kernels.Norm{Eps: 1e-5, ReLU: true, Batch: true} // without ReLU the gradient of x along x is none
		for _, bind := range []func() (kernels.Kernel, error){
			func() (kernels.Kernel, error) { return d.Norm(maps(), mean, invstd, x, gamma, beta, n) },
			func() (kernels.Kernel, error) {
				return d.NormBackward(maps(), vector(), vector(), g, x, gamma, beta, mean, invstd, n)
			},
			func() (kernels.Kernel, error) { return d.Norm(maps(), all, deviations, x, gamma, beta, whole) },
			func() (kernels.Kernel, error) {
				return d.NormBackward(maps(), vector(), vector(), g, x, gamma, beta, all, deviations, whole)
			},
			func() (kernels.Kernel, error) { return d.BiasBackward(vector(), g) },
			func() (kernels.Kernel, error) { return d.Pool(array(small, false, true), x, kernels.MaxPool) },
			func() (kernels.Kernel, error) {
				return d.Pointwise(maps(), x, g, kernels.Pointwise{Function: kernels.Subtract})
			},
			func() (kernels.Kernel, error) {
				return d.WindowPool(array(kernels.Shape{N: s.N, C: s.C, H: 1, W: 1}, false, true), x,
					kernels.Window{Kind: kernels.AvgPool, Height: s.H, Width: s.W, Stride: 1})
			},
			func() (kernels.Kernel, error) {
				order := kernels.Arrangement{Block: 1}
				for c := range s.C {
					order.From = append(order.From, (c+s.C)%(2*s.C), (c*7+1)%(2*s.C))
				}
				order.From = order.From[:s.C]
				return d.Arrange(maps(), list(x, g), order)
			},
			func() (kernels.Kernel, error) {
				return d.TotalVariation(array(kernels.Scalar(), true, true), x)
			},
			func() (kernels.Kernel, error) {
				return d.FusedSum(maps(), list(x, g), []kernels.Read{{}, {Mean: mean, InvStd: invstd, Gamma: gamma, Beta: beta}})
			},
		} {
			k, err := bind()
			if err != nil {
				t.Fatal(err)
			}
			k()
		}
		var values [][]float32
		for _, a := range results {
			v := make([]float32, a.Shape().Elements())
			if err := d.Download(v, a); err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		return values
	}
	d, _ := open(t, Options{})
	want := run(reference.New(1))
	for i, got := range run(d) {
		scale := 0.0
		for _, v := range want[i] {
			scale = max(scale, math.Abs(float64(v)))
		}
		for j, v := range got {
			if diff := math.Abs(float64(v - want[i][j])); !(diff <= 2e-5*scale) {
				t.Fatalf("result %d: element %d is %g, not %g", i, j, v, want[i][j])
			}
		}
	}
}

// Scopes give back all of their memory, over and over, and the device all of its.
func TestMemoryIsReturned(t *testing.T) {
	d, drv := open(t, Options{})
	step := func(i int) {
		scope := d.Scope().(*Device)
		b := bench{t, scope}
		s := kernels.Shape{N: 1 + i%3, C: 16, H: 8, W: 8 + i%5}
		x, y, w := b.array(s, false), b.array(s, false), b.array(kernels.Shape{N: 16, C: 16, H: 3, W: 3}, true)
		b.run(scope.Conv(y, x, w, nil, kernels.Conv{Stride: 1, Pad: kernels.Same(1), Frozen: i%2 == 0}))
		if err := scope.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		step(i)
	}
	held, peak := drv.held, d.PeakBytes()
	for i := range 300 {
		step(i)
	}
	if drv.held != held || d.PeakBytes() != peak || int64(held) != d.held {
		t.Errorf("%d bytes are held and %d were, %d and %d before; the device counts %d", drv.held, d.PeakBytes(), held, peak, d.held)
	}
	open := bench{t, d.Scope().(*Device)} // and is never closed
	open.array(kernels.Shape{N: 1, C: 8, H: 9, W: 9}, false)
	if err := d.Close(); err != nil { // the driver complains of what is left
		t.Error(err)
	}
	if drv.held != 0 || d.held != 0 {
		t.Errorf("%d bytes are held after Close, %d by the device's count", drv.held, d.held)
	}
	if _, err := open.NewActivation(kernels.Scalar()); err == nil {
		t.Error("a closed device made an array")
	}
}

func TestOutOfMemory(t *testing.T) {
	d, drv := open(t, Options{})
	defer d.Close()
	drv.limit = 3 << 20
	scope := d.Scope()
	if _, err := scope.NewActivation(kernels.Shape{N: 1, C: 8, H: 256, W: 256}); err != nil {
		t.Fatal(err)
	}
	large := kernels.Shape{N: 1, C: 8, H: 256, W: 200}
	_, err := d.NewActivation(large)
	for _, want := range []string{"out of GPU memory: 1 MiB were asked for", "of 3 MiB are free", "train.batch", "data.size", "--tile", "--memory", "bf16"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	// Memory that only waits for later scopes is given up first.
	if err := scope.Close(); err != nil {
		t.Fatal(err)
	}
	wider := large
	wider.W = 330
	if _, err := d.NewActivation(wider); err != nil {
		t.Error(err)
	}
	// A kernel that was bound keeps its scratch memory when a larger one gets none.
	b := bench{t, d}
	s := kernels.Shape{N: 1, C: 8, H: 4, W: 4}
	x, sum := b.array(s, false), b.array(kernels.Vector(8), true)
	before, err := d.BiasBackward(sum, x)
	if err != nil {
		t.Fatal(err)
	}
	drv.limit = drv.held
	if err := d.reserve(1 << 20); err == nil {
		t.Fatal("scratch memory beyond the limit")
	}
	b.run(before, nil)
}

// A recorded sequence does what its launches do one by one, with the settings of
// each step, and again after its scratch memory has moved.
func TestRecord(t *testing.T) {
	train := func(record bool) []float32 {
		d, _ := open(t, Options{})
		defer d.Close()
		b := bench{t, d}
		s := kernels.Shape{N: 2, C: 8, H: 6, W: 6}
		x, y, dw := b.array(s, false), b.array(s, false), b.array(kernels.Shape{N: 8, C: 8, H: 3, W: 3}, true)
		zeros := func() *array {
			a := b.array(dw.shape, true)
			if err := d.Upload(a, make([]float32, a.shape.Elements())); err != nil {
				t.Fatal(err)
			}
			return a
		}
		w, m, v := b.array(dw.shape, true), zeros(), zeros()
		c := kernels.Conv{Stride: 1, Pad: kernels.Same(1)}
		h := kernels.Adam{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}
		var bound []kernels.Kernel
		add := func(k kernels.Kernel, err error) {
			if err != nil {
				t.Fatal(err)
			}
			bound = append(bound, k)
		}
		add(d.Conv(y, x, w, nil, c))
		add(d.ConvBackwardWeights(dw, nil, y, x, c))
		add(d.Adam(list(w), list(dw), list(m), list(v), nil, &h))
		step := func() {
			for _, k := range bound {
				k()
			}
		}
		if record {
			step = d.Record(step)
		}
		for i := range 6 {
			if i == 4 {
				if err := d.reserve(1 << 20); err != nil {
					t.Fatal(err)
				}
			}
			h.Step, h.LR = i+1, 0.1/float64(i+1)
			step()
		}
		h.Step = 0
		step()
		if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "step 0") {
			t.Errorf("a step with wrong settings: %v", err)
		}
		after := make([]float32, w.shape.Elements())
		if err := d.Download(after, w); err != nil {
			t.Fatal(err)
		}
		return after
	}
	want := train(false)
	for i, v := range train(true) {
		if v != want[i] {
			t.Fatalf("weight %d is %g after recorded steps, not %g", i, v, want[i])
		}
	}
}

func TestLimits(t *testing.T) {
	d, _ := open(t, Options{})
	defer d.Close()
	if rate, err := d.PeakFLOPS(); err != nil || !(rate > 0) {
		t.Errorf("peak %g, %v", rate, err)
	}
	if rate, err := d.Bandwidth(1 << 20); err != nil || !(rate > 0) {
		t.Errorf("bandwidth %g, %v", rate, err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Index: -1}, {Precision: "fp8"}} {
		if _, err := Open(o); err == nil {
			t.Errorf("%+v was opened", o)
		}
	}
}

// What kernels keep for themselves from one run to the next does not lie where
// maps are that were released, and that their kernels go on writing.
func TestReleasedMapsAreWrittenOn(t *testing.T) {
	d, _ := open(t, Options{Exact: true})
	b := bench{t, d}
	var writers []kernels.Kernel
	release := func() {
		for side := 2; side <= 32; side++ { // blocks of all sizes
			s := kernels.Shape{N: 1, C: 8, H: side, W: side}
			from, to := b.array(s, false), b.array(s, false)
			k, err := d.ReLU(to, from)
			b.run(k, err)
			d.Release(to)
			writers = append(writers, k)
		}
	}
	write := func() {
		for _, k := range writers {
			k()
		}
	}
	one := kernels.Shape{N: 1, C: 1, H: 1, W: 1}
	s := kernels.Shape{N: 1, C: 8, H: 6, W: 6}
	x, y := b.array(s, false), b.array(kernels.Shape{N: 1, C: 16, H: 4, W: 4}, false)
	w, norm := b.array(kernels.Shape{N: 16, C: 8, H: 3, W: 3}, true), b.array(one, true)

	release()
	squares, err := d.SquaredNorm(norm, []kernels.Array{w})
	b.run(squares, err)
	wantNorm := b.values(norm)
	release()
	conv, err := d.Conv(y, x, w, nil, kernels.Conv{Stride: 1, Frozen: true})
	b.run(conv, err)
	want := b.values(y)

	write()
	b.run(squares, nil)
	if got := b.values(norm); got[0] != wantNorm[0] {
		t.Errorf("the squared norm is %g, before the maps were written %g", got[0], wantNorm[0])
	}
	b.run(conv, nil)
	if got := b.values(y); !slices.Equal(got, want) {
		t.Errorf("the convolution gives %g…, before the maps were written %g…", got[0], want[0])
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func (b bench) values(a *array) []float32 {
	b.Helper()
	v := make([]float32, a.shape.Elements())
	if err := b.Download(v, a); err != nil {
		b.Fatal(err)
	}
	return v
}

// Kernels find the last pixel of maps with more elements than 32 bits count.
func TestHugeMaps(t *testing.T) {
	d, drv := open(t, Options{})
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	drv.huge, drv.limit, d.about.sms = true, 1<<42, 1<<20
	last := func(a *array) []float32 { // channels of the last pixel's last group
		return unsafe.Slice((*float32)(address(a.data+ptr(a.bytes()-lanes*4))), lanes)
	}
	sparse := func(s kernels.Shape, parameter bool) *array {
		t.Helper()
		a, err := d.newArray(s, parameter)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	const h, w = 12000, 9000
	s := kernels.Shape{N: 2, C: 20, H: h, W: w}
	of := func(height, width int) *array {
		return sparse(kernels.Shape{N: s.N, C: s.C, H: height, W: width}, false)
	}
	scalar := func(v float32) *array {
		a := sparse(kernels.Scalar(), true)
		*(*float32)(address(a.data)) = v
		return a
	}
	x, g, y, large, small, frame := of(h, w), of(h, w), of(h, w), of(2*h, 2*w), of(h/2, w/2), of(h+2, w+2)
	flow := sparse(kernels.Shape{N: s.N, C: 2, H: h, W: w}, false)
	stats := func() *array { return sparse(kernels.Norm{}.Stats(s), true) }
	vector := func() *array { return sparse(kernels.Vector(s.C), true) }
	mean, invstd, gamma, beta, dgamma, dbeta, loss, two := stats(), stats(), vector(), vector(), vector(), vector(), scalar(0), scalar(2)
	ones := unsafe.Slice((*float32)(address(gamma.data)), s.C)
	for c := range ones {
		ones[c] = 1
	}
	taps := make([]kernels.Tap, h+w)
	for i := range h {
		taps[i] = kernels.Tap{A: int32(i), B: int32(i), W: .5}
	}
	for i := range w {
		taps[h+i] = kernels.Tap{A: int32(i), B: int32(i), W: .5}
	}
	reversed := kernels.Arrangement{Block: 1}
	for c := range s.C {
		reversed.From = append(reversed.From, s.C-1-c)
	}
	pooled := kernels.Window{Height: 2, Width: 2, Stride: 2}
	for i, a := range []*array{x, g, small, large, frame} {
		for c := range s.C % lanes {
			last(a)[c] = float32(3 + i) // x: 3, g: 4, small: 5, large: 6, frame: 7
		}
	}
	norm := kernels.Norm{Eps: 1e-5}
	// These come first: parts of blocks that do not run are what scratch memory held.
	for _, c := range []struct {
		name string
		dst  *array
		want float32
		bind func() (kernels.Kernel, error)
	}{
		{"mse", loss, 4 / float32(s.Elements()), func() (kernels.Kernel, error) { return d.MSE(loss, x, g) }},
		{"dots", loss, 4 * 12, func() (kernels.Kernel, error) { return d.Dots(loss, x, list(g)) }},
		{"tv", loss, 4 * 2 * 9, func() (kernels.Kernel, error) { return d.TotalVariation(loss, x) }},
		{"statistics", mean, 0, func() (kernels.Kernel, error) { return d.Norm(y, mean, invstd, x, gamma, beta, norm) }},
		{"bias", dbeta, 0, func() (kernels.Kernel, error) { return d.BiasBackward(dbeta, g) }},
	} {
		k, err := c.bind()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		k()
		if err := d.Sync(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if v := *(*float32)(address(c.dst.data)); math.Abs(float64(v-c.want)) > 1e-6*math.Abs(float64(c.want)) {
			t.Errorf("%s is %g, not %g", c.name, v, c.want)
		}
	}
	for _, c := range []struct {
		name string
		dst  *array
		want float32
		bind func(dst kernels.Array) (kernels.Kernel, error)
	}{
		{"relu", y, 3, func(y kernels.Array) (kernels.Kernel, error) { return d.ReLU(y, x) }},
		{"tanh", y, 6, func(y kernels.Array) (kernels.Kernel, error) { return d.TanhBackward(y, g, x, 2, 4) }}, // 4·2·(1-(3-4)²/2²) = 6
		{"sum", y, 11, func(y kernels.Array) (kernels.Kernel, error) { return d.Sum(y, list(x, g), []float32{1, 2}) }},
		{"pad", of(h+2, w+2), 0, func(y kernels.Array) (kernels.Kernel, error) {
			return d.Pad(y, x, kernels.PadZero, kernels.Same(1))
		}},
		{"pad edge", of(h+2, w+2), 3, func(y kernels.Array) (kernels.Kernel, error) {
			return d.Pad(y, x, kernels.PadEdge, kernels.Same(1))
		}},
		{"pad back", y, 7, func(y kernels.Array) (kernels.Kernel, error) {
			return d.PadBackward(y, frame, kernels.PadEdge, kernels.Same(1))
		}},
		{"up", of(2*h, 2*w), 3, func(y kernels.Array) (kernels.Kernel, error) { return d.Upsample(y, x, 2) }},
		{"up back", y, 6, func(y kernels.Array) (kernels.Kernel, error) { return d.UpsampleBackward(y, large, 2) }},
		{"pool", of(h/2, w/2), 3, func(y kernels.Array) (kernels.Kernel, error) { return d.Pool(y, x, kernels.MaxPool) }},
		{"pool back", y, 5, func(y kernels.Array) (kernels.Kernel, error) { return d.PoolBackward(y, small, x, kernels.MaxPool) }},
		{"subtract", y, -1, func(y kernels.Array) (kernels.Kernel, error) {
			return d.Pointwise(y, x, g, kernels.Pointwise{Function: kernels.Subtract})
		}},
		{"arrange", y, 0, func(y kernels.Array) (kernels.Kernel, error) { return d.Arrange(y, list(x), reversed) }},
		{"resample", y, 3, func(y kernels.Array) (kernels.Kernel, error) { return d.Resample(y, x, taps[:h], taps[h:]) }},
		{"warp", y, 3, func(y kernels.Array) (kernels.Kernel, error) { return d.Warp(y, x, flow, false) }},
		{"window", of(h/2, w/2), 3, func(y kernels.Array) (kernels.Kernel, error) { return d.WindowPool(y, x, pooled) }},
		{"affine", y, 3, func(y kernels.Array) (kernels.Kernel, error) { return d.ChannelAffine(y, x, gamma, beta) }},
		{"mse back", y, -4 / float32(s.Elements()), func(y kernels.Array) (kernels.Kernel, error) { return d.MSEBackward(y, two, x, g) }},
		{"tv back", y, 24, func(y kernels.Array) (kernels.Kernel, error) { return d.TotalVariationBackward(y, two, x) }},
		{"norm back", y, 0, func(y kernels.Array) (kernels.Kernel, error) { // with a deviation of 1/0
			return d.NormBackward(y, dgamma, dbeta, g, x, gamma, beta, stats(), stats(), norm)
		}},
	} {
		k, err := c.bind(c.dst)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i := range last(c.dst) {
			last(c.dst)[i] = -9
		}
		k()
		if err := d.Sync(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i, v := range last(c.dst) {
			if want := c.want; i < s.C%lanes && math.Abs(float64(v-want)) > 1e-6*math.Abs(float64(want)) || i >= s.C%lanes && v != 0 {
				t.Errorf("%s leaves %g in channel %d of the last pixel, not %g", c.name, v, i, want)
			}
		}
	}

	// What goes between the host's order and a map's.
	flat, err := drv.alloc(4 * s.Elements())
	if err != nil {
		t.Fatal(err)
	}
	defer drv.free(flat)
	end := (*float32)(address(flat + ptr(4*(s.Elements()-1))))
	*end = 8
	args := layoutArgs{y.data, flat, d.over(s, streaming)}
	for _, kernel := range []string{"import_map_f32", "export_map_f32"} {
		drv.launch(kernel, args.d.grid(), unsafe.Pointer(&args), int(unsafe.Sizeof(args)))
		if err := d.Sync(); err != nil {
			t.Fatalf("%s: %v", kernel, err)
		}
		if v := last(y)[s.C%lanes-1]; v != 8 || *end != 8 {
			t.Errorf("%s: the last pixel is %g, %g for the host", kernel, v, *end)
		}
		*end = 0
	}
}
