//go:build cudnn || cudahost

package cuda

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"testing"

	"stylenet/internal/kernels"
)

// usage is what a process holds: of the device bytes, and blocks, pinned ones,
// events, graphs and descriptors as far as the driver can tell; of the host
// goroutines, and the heap of Go and all memory in bytes.
type usage struct {
	bytes, things    int
	goroutines       int
	heap, everything int
}

func usageOf(t *testing.T, d *Device) usage {
	t.Helper()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	u := usage{goroutines: runtime.NumGoroutine()}
	u.bytes, u.things = heldBy(t, d)
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one finalised
	runtime.ReadMemStats(&m)
	u.heap = int(m.HeapAlloc)
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			pages, err := strconv.Atoi(string(fields[1]))
			if err != nil {
				t.Fatal(err)
			}
			u.everything = pages * os.Getpagesize()
		}
	}
	return u
}

// Thousands of training steps as a run makes them, with pictures between them,
// leave nothing behind.
func TestNothingLeaks(t *testing.T) {
	d := openDevice(t, Options{Exact: true})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	shape, taps := kernels.Shape{N: 1, C: 8, H: 3, W: 3}, kernels.Shape{N: 8, C: 8, H: 3, W: 3}
	values := make([]float32, taps.Elements())
	for i := range values {
		values[i] = float32(i%7)/7 - 0.4
	}
	array := func(s kernels.Shape, make func(kernels.Shape) (kernels.Array, error)) kernels.Array {
		t.Helper()
		a, err := make(s)
		must(err)
		must(d.Upload(a, values[:s.Elements()]))
		return a
	}
	x, y, dy := array(shape, d.NewActivation), array(shape, d.NewActivation), array(shape, d.NewActivation)
	w, dw, m, v := array(taps, d.NewParameter), array(taps, d.NewParameter), array(taps, d.NewParameter), array(taps, d.NewParameter)
	gram, norm := array(kernels.Shape{N: 1, C: 1, H: 8, W: 8}, d.NewParameter), array(kernels.Scalar(), d.NewParameter)
	must(d.Upload(v, make([]float32, len(values))))
	same := kernels.Conv{Stride: 1, Pad: kernels.Same(1)}
	h := kernels.Adam{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, ClipNorm: 1}
	bind := func(into *[]kernels.Kernel, k kernels.Kernel, err error) {
		t.Helper()
		must(err)
		*into = append(*into, k)
	}
	var launches []kernels.Kernel
	all := func(k []kernels.Kernel) func() {
		return func() {
			for _, launch := range k {
				launch()
			}
		}
	}
	k, err := d.Conv(y, x, w, nil, same)
	bind(&launches, k, err)
	k, err = d.Gram(gram, y)
	bind(&launches, k, err)
	k, err = d.GramBackward(dy, gram, y)
	bind(&launches, k, err)
	k, err = d.ConvBackwardWeights(dw, nil, dy, x, same)
	bind(&launches, k, err)
	k, err = d.SquaredNorm(norm, list(dw))
	bind(&launches, k, err)
	k, err = d.Adam(list(w), list(dw), list(m), list(v), norm, &h)
	bind(&launches, k, err)
	train := d.Record(all(launches))
	start, take, err := d.Fetch(list(norm, gram))
	must(err)

	read, picture := make([]float32, 65), make([]float32, shape.Elements())
	step := func(i int) {
		h.Step = i + 1
		must(d.Upload(x, values[:shape.Elements()]))
		train()
		start()
		if i > 0 {
			must(take(read))
		}
		if i%100 != 50 {
			return
		}
		// A preview: a network in a scope of its own, run until it is recorded.
		scope := d.Scope().(*Device)
		to, err := scope.NewActivation(shape)
		must(err)
		var network []kernels.Kernel
		k, err := scope.Conv(to, x, w, nil, kernels.Conv{Stride: 1, Pad: kernels.Same(1), Frozen: i%200 == 50})
		bind(&network, k, err)
		run := scope.Record(all(network))
		for range 3 {
			run()
		}
		must(scope.Download(picture, to))
		must(scope.Close())
	}
	const warmUp, steps = 300, 10000
	for i := range warmUp {
		step(i)
	}
	before := usageOf(t, d)
	for i := warmUp; i < warmUp+steps; i++ {
		step(i)
	}
	after := usageOf(t, d)
	t.Logf("%+v before %d steps, %+v after them", before, steps, after)
	if after.bytes != before.bytes || after.things != before.things || after.goroutines != before.goroutines {
		t.Errorf("%d steps leave %+v, there was %+v", steps, after, before)
	}
	// A leak of 16 bytes a step would show.
	if more := after.heap - before.heap; more > 16*steps {
		t.Errorf("%d steps leave %d bytes on the heap of Go", steps, more)
	}
	// The system counts pages, and allocators keep some of what they got back.
	if more := after.everything - before.everything; more > 8<<20 {
		t.Errorf("%d steps make the process %d bytes larger", steps, more)
	}
	must(take(read))
	must(d.Close())
}
