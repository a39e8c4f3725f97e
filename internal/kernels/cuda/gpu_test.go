//go:build cudnn

package cuda

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/kerneltest"
)

// anyGPU is whether the tests run on a GPU, and if not where they find what
// testdata/fake.cc has in its place. It is decided once, for the driver is opened
// once.
type anyGPU struct {
	real bool
	fake string
}

var tested anyGPU

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stylenet-cuda-")
	if err != nil {
		panic(err)
	}
	// Algorithms that were measured here are of no use to anyone else.
	os.Setenv("XDG_CACHE_HOME", dir)
	if d, err := openDriver(Options{}); err == nil {
		tested.real = d.close() == nil
	}
	tested.fake = filepath.Join(dir, "fake.so")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// useGPU makes openDriver open a GPU, or the fake of one.
func useGPU(t *testing.T) {
	t.Helper()
	if tested.real {
		return
	}
	if _, err := os.Stat(tested.fake); err != nil {
		t.Log("no GPU works here: a fake takes its place")
		compile(t, "c++", "fake.cc", tested.fake, "-O2", "-std=gnu++17", "-w", "-Wl,-Bsymbolic")
	}
	for _, name := range []string{"STYLENET_LIBCUDA", "STYLENET_CUDNN", "STYLENET_CUBLAS"} {
		t.Setenv(name, tested.fake)
	}
}

func needFake(t *testing.T) {
	t.Helper()
	if tested.real {
		t.Skip("tests a fake, and this machine has a GPU")
	}
	useGPU(t)
}

func openGPU(t *testing.T, o Options) *gpu {
	t.Helper()
	useGPU(t)
	d, err := openDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d.(*gpu)
}

func openDevice(t *testing.T, o Options) *Device {
	t.Helper()
	useGPU(t)
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// heldBy asks the driver. What it has beside memory the fake alone counts, and on
// a GPU others take memory, too: it is known to 16 MiB.
func heldBy(t *testing.T, d *Device) (bytes, things int) {
	t.Helper()
	g := d.driver.(*gpu)
	free, total := g.memory()
	if tested.real {
		return (total - free) >> 24, 0
	}
	things, err := g.device.Attribute(fakeHeld)
	if err != nil {
		t.Fatal(err)
	}
	return total - free, things
}

// fakeHeld is how many things the fake has to get back, as an attribute of its GPU.
const fakeHeld = cu.DeviceAttribute(9999)

func TestConformance(t *testing.T) {
	useGPU(t)
	bf16 := 1.0 / 256 // half a unit in the last place, relative
	for _, c := range []struct {
		name    string
		fake    bool // whether it says more than the others of a fake
		options Options
		tol     kerneltest.Tolerance
	}{
		{"exact", true, Options{Exact: true}, kerneltest.Tolerance{Conv: 2e-6, Rest: 2e-6}},
		{"tf32", false, Options{}, kerneltest.Tolerance{Conv: 2e-3, Rest: 2e-3}}, // Gram matrices are products, too
		{"bf16", true, Options{Precision: kernels.BF16}, kerneltest.Tolerance{Conv: bf16, Rest: 2e-6, Rounding: 2 * bf16}},
		{"deterministic", false, Options{Deterministic: true, Precision: kernels.BF16}, kerneltest.Tolerance{Conv: bf16, Rest: 2e-6, Rounding: 2 * bf16}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !tested.real && !c.fake {
				t.Skip("no GPU works here")
			}
			kerneltest.Run(t, func(t *testing.T) kernels.Device {
				d, err := Open(c.options)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, c.tol)
		})
	}
}

// floats copies values to the GPU.
func floats(t *testing.T, d *gpu, values []float32) ptr {
	t.Helper()
	p, err := d.alloc(4 * len(values))
	if err == nil {
		err = d.upload(p, unsafe.Pointer(&values[0]), 4*len(values))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.free(p) })
	return p
}

func download(t *testing.T, d *gpu, p ptr, n int) []float32 {
	t.Helper()
	values := make([]float32, n)
	if err := d.download(unsafe.Pointer(&values[0]), p, 4*n); err != nil {
		t.Fatal(err)
	}
	return values
}

func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, n)
	for i := range v {
		v[i] = r.Float32() - 0.5
	}
	return v
}

// Copies go through blocks of memory that are used again while others are under
// way, whatever was launched before.
func TestCopies(t *testing.T) {
	d := openGPU(t, Options{})
	n := (stagingBlocks+3)*stagingBytes/4 + 5
	want := random(n, 1)
	sent := append([]float32{}, want...)
	p := floats(t, d, sent)
	clear(sent) // upload has returned
	small := floats(t, d, []float32{1, 2, 3})
	d.zero(p+4, 8)
	want[1], want[2] = 0, 0
	for i, v := range download(t, d, p, n) {
		if v != want[i] {
			t.Fatalf("element %d is %g, not %g", i, v, want[i])
		}
	}
	if got := download(t, d, small, 3); got[2] != 3 {
		t.Errorf("%v came back", got)
	}
	// An upload waits for what reads the memory before it.
	for i := range 3 * stagingBlocks {
		v := []float32{float32(i)}
		if err := d.upload(small, unsafe.Pointer(&v[0]), 4); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			d.zero(small, 4)
		}
	}
	if got := download(t, d, small, 1); got[0] != 3*stagingBlocks-1 {
		t.Errorf("the last upload left %v", got)
	}
}

// Photos and settings are on their way, and upload has returned, before the step
// ahead of them has begun to run. They take their places after it.
func TestUploadsOverlap(t *testing.T) {
	needFake(t)
	d := openGPU(t, Options{})
	const steps, n = 5, (stagingBlocks - 1) * stagingBytes / 4
	photos, settings := make([]float32, n), make([]float32, lanes)
	x, at := floats(t, d, photos), floats(t, d, settings)
	results := floats(t, d, slices.Repeat([]float32{-1}, steps*lanes))
	result := func(step int) ptr { return results + ptr(4*lanes*step) }
	copies, err := d.fetches(4)
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer copies.close()
	var got [1]float32
	for step := range steps {
		photos[n-lanes], settings[0] = float32(step), 10*float32(step)
		for _, err := range []error{d.upload(x, unsafe.Pointer(&photos[0]), 4*n), d.upload(at, unsafe.Pointer(&settings[0]), 4*lanes)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		// The memory of the fake is the processor's.
		before := result(step - 1)
		if step > 0 && **(**float32)(unsafe.Pointer(&before)) != -1 {
			t.Errorf("the uploads of step %d waited for the step before it", step)
		}
		// The step is a launch that reads the end of the photos and the settings.
		args := sumArgs{dst: result(step), src: [terms]ptr{x + 4*(n-lanes), at}, weight: [terms]float32{2, 1}, groups: 1, terms: 2, fixed: 2}
		d.launch("sum_f32", 1, unsafe.Pointer(&args), int(unsafe.Sizeof(args)))
		copies.start(step%kernels.Fetches, result(step))
		if step == 0 {
			continue
		}
		if err := copies.take((step-1)%kernels.Fetches, unsafe.Pointer(&got[0])); err != nil {
			t.Fatal(err)
		}
		if want := float32(12 * (step - 1)); got[0] != want {
			t.Errorf("step %d computes %g, not %g", step-1, got[0], want)
		}
	}
}

func TestGemm(t *testing.T) {
	d := openGPU(t, Options{Exact: true})
	const m, n, k, batch, alpha = 16, 24, 40, 3, 0.25
	a, b := random(batch*m*k, 1), random(batch*k*n, 2)
	pa, pb, pc := floats(t, d, a), floats(t, d, b), floats(t, d, make([]float32, batch*m*n))
	for _, transpose := range []bool{false, true} {
		d.gemm(gemmSpec{transposeA: transpose, m: m, n: n, k: k, alpha: alpha, batch: batch, strideA: m * k, strideB: k * n, strideC: m * n, exact: true}, pa, pb, pc)
		for i, got := range download(t, d, pc, batch*m*n) {
			image, row, col := i/(m*n), i/n%m, i%n
			want := 0.0
			for j := range k {
				at := row*k + j
				if transpose {
					at = j*m + row
				}
				want += alpha * float64(a[image*m*k+at]) * float64(b[image*k*n+j*n+col])
			}
			if math.Abs(float64(got)-want) > 1e-5 {
				t.Fatalf("transposed %v: C[%d][%d][%d] is %g, not %g", transpose, image, row, col, got, want)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	d := openGPU(t, Options{})
	p := floats(t, d, []float32{1, 2, 3, 4})
	if err := d.record(); err != nil {
		t.Fatal(err)
	}
	d.zero(p+4, 8)
	one := float32(1)
	if err := d.upload(p, unsafe.Pointer(&one), 4); err == nil {
		t.Error("an upload was recorded")
	}
	if err := d.download(unsafe.Pointer(&one), p, 4); err == nil {
		t.Error("a download was recorded")
	}
	if err := d.record(); err == nil {
		t.Error("a recording was begun in another")
	}
	run, free, err := d.replay()
	if err != nil {
		t.Fatal(err)
	}
	if got := download(t, d, p, 4); got[1] != 2 {
		t.Errorf("what was recorded ran: %v", got)
	}
	run()
	run()
	if got := download(t, d, p, 4); got[0] != 1 || got[1] != 0 || got[2] != 0 || got[3] != 4 {
		t.Errorf("after the replay: %v", got)
	}
	free()
	if _, _, err := d.replay(); err == nil {
		t.Error("a replay without a recording")
	}
	// A launch that fails ends up in the recording's error, and nowhere else.
	if err := d.record(); err != nil {
		t.Fatal(err)
	}
	d.launch("no_such_kernel", 1, unsafe.Pointer(&one), 4)
	if _, _, err := d.replay(); err == nil || !strings.Contains(err.Error(), "no_such_kernel") {
		t.Errorf("a recording with a launch that failed: %v", err)
	}
	if err := d.sync(); err != nil {
		t.Error(err)
	}
}

func TestFailures(t *testing.T) {
	d := openGPU(t, Options{})
	word := uint64(0)
	d.launch("no_such_kernel", 1, unsafe.Pointer(&word), 8)
	d.launch("nor_this", 1, unsafe.Pointer(&word), 8)
	if err := d.sync(); err == nil || !strings.Contains(err.Error(), "no_such_kernel") {
		t.Errorf("a kernel that does not exist: %v", err)
	}
	if err := d.sync(); err != nil {
		t.Errorf("and again: %v", err)
	}
	d.launch("relu_f32", 1, unsafe.Pointer(&make([]byte, 2*maxArgument)[0]), 2*maxArgument)
	if err := d.sync(); err == nil || !strings.Contains(err.Error(), "8192 bytes") {
		t.Errorf("a large argument: %v", err)
	}
	var full *memoryError
	if _, err := d.alloc(1 << 46); !errors.As(err, &full) || full.bytes != 1<<46 || !strings.Contains(err.Error(), "MiB are free") {
		t.Errorf("out of memory: %v", err)
	}
	if free, total := d.memory(); free <= 0 || total < free {
		t.Errorf("%d of %d bytes are free", free, total)
	}
	if _, err := d.conv(convSpec{n: 1, h: 8, w: 8, c: 8, oh: 100, ow: 8, k: 8, r: 3, s: 3, stride: 1, padH: 1, padW: 1}); err == nil || !strings.Contains(err.Error(), "cuDNN") {
		t.Errorf("a convolution whose shapes do not fit: %v", err)
	}
	if _, err := openDriver(Options{Index: 999}); err == nil || !strings.Contains(err.Error(), "cuda:999: no such GPU") {
		t.Errorf("GPU 999: %v", err)
	}
}

func TestOldGPU(t *testing.T) {
	needFake(t)
	for _, c := range []struct {
		major, minor string
		options      Options
		want         string
	}{
		{"7", "0", Options{}, "compute capability 7.0, too old: 7.5 (Turing) is the least"},
		{"7", "5", Options{}, ""},
		{"7", "5", Options{Precision: kernels.BF16}, "no bf16, which takes 8.0 (Ampere); use precision float32"},
		{"8", "0", Options{Precision: kernels.BF16}, ""},
	} {
		t.Setenv("FAKE_MAJOR", c.major)
		t.Setenv("FAKE_MINOR", c.minor)
		d, err := openDriver(c.options)
		if err == nil {
			err = d.close()
		}
		if err == nil != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("compute capability %s.%s, %+v: %v; want %q", c.major, c.minor, c.options, err, c.want)
		}
	}
}

// Algorithms are measured once, and then known to every program.
func TestChoices(t *testing.T) {
	needFake(t)
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	file := filepath.Join(cache, "stylenet", "convolutions.json")
	spec := convSpec{what: convForward, n: 1, h: 8, w: 8, c: 8, oh: 4, ow: 4, k: 16, r: 3, s: 3, stride: 2, padH: 1, padW: 1}
	chosen := func(change func(*convSpec)) choice {
		t.Helper()
		s := spec
		change(&s)
		d, err := openDriver(Options{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := d.conv(s)
		if err != nil {
			t.Fatal(err)
		}
		c := v.(*gpuConv).choice
		if want := map[bool]int{true: 4096}[c.Algorithm == 1] + map[bool]int{true: 3000}[c.Algorithm == 7]; v.workspace() != want {
			t.Errorf("algorithm %d: %d bytes of workspace, want %d", c.Algorithm, v.workspace(), want)
		}
		v.close()
		if err := d.close(); err != nil {
			t.Error(err)
		}
		return c
	}
	as := func(*convSpec) {}
	exact := func(s *convSpec) { s.exact = true }
	if got := chosen(as); got != (choice{1, mathDefault}) {
		t.Errorf("the fastest is %+v", got)
	}
	if got := chosen(exact); got != (choice{1, mathFMA}) {
		t.Errorf("the fastest exact one is %+v", got)
	}
	if got := chosen(func(s *convSpec) { s.deterministic = true }); got != (choice{7, mathDefault}) {
		t.Errorf("the first deterministic one is %+v", got)
	}
	if got := chosen(func(s *convSpec) { s.deterministic, s.exact = true, true }); got != (choice{1, mathFMA}) {
		t.Errorf("the first exact deterministic one is %+v", got)
	}
	if got := chosen(func(s *convSpec) { s.elem = bfloat16Element }); got != (choice{1, mathTensorCore}) {
		t.Errorf("the fastest in bf16 is %+v", got)
	}

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]choice{}
	if err := json.Unmarshal(data, &known); err != nil || len(known) != 3 {
		t.Fatalf("%d choices in the cache, want 3: %v\n%s", len(known), err, data)
	}
	for k := range known {
		if !strings.HasPrefix(k, "Fake GPU, compute capability 9.0, driver 12.4, cuDNN 9.1.0: {what:0 ") {
			t.Errorf("key %q", k)
		}
		known[k] = choice{0, known[k].Math}
	}
	if err := (&choices{file: file}).write(known); err != nil {
		t.Fatal(err)
	}
	if got := chosen(as); got != (choice{0, mathDefault}) {
		t.Errorf("%+v in place of what the cache has", got)
	}
	// An algorithm that cuDNN no longer has is measured again, a damaged file written anew.
	for k := range known {
		known[k] = choice{99, 0}
	}
	if err := (&choices{file: file}).write(known); err != nil {
		t.Fatal(err)
	}
	if got := chosen(as); got != (choice{1, mathDefault}) {
		t.Errorf("%+v in place of one that is gone", got)
	}
	if err := os.WriteFile(file, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if got := chosen(exact); got != (choice{1, mathFMA}) {
		t.Errorf("%+v with a damaged cache", got)
	}
	if data, err := os.ReadFile(file); err != nil || json.Unmarshal(data, &known) != nil {
		t.Errorf("the damaged cache stays: %v %s", err, data)
	}
	// A guess, where there was no memory to measure in, is not for the next time.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	d := openGPU(t, Options{})
	free, _ := d.memory()
	filler, err := d.alloc(free - 512)
	if err != nil {
		t.Fatal(err)
	}
	v, err := d.conv(spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.(*gpuConv).choice; got != (choice{7, mathDefault}) {
		t.Errorf("%+v without memory to measure in, not the first guess", got)
	}
	v.close()
	d.free(filler)
	if data, err := os.ReadFile(file); err == nil {
		t.Errorf("a guess was kept: %s", data)
	}
	// Without a place for the cache it works all the same.
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(file, "none"))
	if got := chosen(as); got != (choice{1, mathDefault}) {
		t.Errorf("%+v without a cache", got)
	}
}

// A step that is recorded, with convolutions, a matrix product and Adam in it,
// does the same as one that is launched kernel by kernel.
func TestRecordedStep(t *testing.T) {
	useGPU(t)
	shape, weights := kernels.Shape{N: 2, C: 8, H: 6, W: 6}, kernels.Shape{N: 8, C: 8, H: 3, W: 3}
	train := func(record bool) []float32 {
		device, err := Open(Options{Exact: true, Deterministic: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := device.Close(); err != nil {
				t.Error(err)
			}
		}()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		array := func(s kernels.Shape, values []float32, make func(kernels.Shape) (kernels.Array, error)) kernels.Array {
			a, err := make(s)
			must(err)
			must(device.Upload(a, values))
			return a
		}
		n := weights.Elements()
		x := array(shape, random(shape.Elements(), 1), device.NewActivation)
		y, dy := array(shape, random(shape.Elements(), 1), device.NewActivation), array(shape, random(shape.Elements(), 1), device.NewActivation)
		w, dw := array(weights, random(n, 2), device.NewParameter), array(weights, random(n, 2), device.NewParameter)
		m, v := array(weights, make([]float32, n), device.NewParameter), array(weights, make([]float32, n), device.NewParameter)
		gram := array(kernels.Shape{N: 2, C: 1, H: 8, W: 8}, make([]float32, 128), device.NewParameter)
		c, h := kernels.Conv{Stride: 1, Pad: kernels.Same(1)}, kernels.Adam{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}
		var bound []kernels.Kernel
		for _, bind := range []func() (kernels.Kernel, error){
			func() (kernels.Kernel, error) { return device.Conv(y, x, w, nil, c) },
			func() (kernels.Kernel, error) { return device.Gram(gram, y) },
			func() (kernels.Kernel, error) { return device.GramBackward(dy, gram, y) },
			func() (kernels.Kernel, error) { return device.ConvBackwardWeights(dw, nil, dy, x, c) },
			func() (kernels.Kernel, error) {
				return device.Adam([]kernels.Array{w}, []kernels.Array{dw}, []kernels.Array{m}, []kernels.Array{v}, nil, &h)
			},
		} {
			k, err := bind()
			must(err)
			bound = append(bound, k)
		}
		step := func() {
			for _, k := range bound {
				k()
			}
		}
		run := step
		if record {
			run = device.Record(step)
		}
		for i := range 5 {
			must(device.Upload(x, random(shape.Elements(), uint64(10+i)))) // the next batch
			h.Step, h.LR = i+1, 0.1/float64(i+1)
			run()
		}
		if record {
			// Where it cannot be recorded a step runs all the same, slower.
			r, err := device.recorded(step)
			must(err)
			r.free()
		}
		after := make([]float32, n)
		must(device.Download(after, w))
		return after
	}
	want := train(false)
	for i, v := range train(true) {
		if v != want[i] {
			t.Fatalf("weight %d is %g after recorded steps, not %g", i, v, want[i])
		}
	}
}
