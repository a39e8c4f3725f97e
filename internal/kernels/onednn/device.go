//go:build onednn && cgo

package onednn

/*
#cgo CFLAGS: -O3 -fopenmp -Wall -Wno-psabi
#cgo LDFLAGS: -ldnnl -fopenmp -lm
#include "calls.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"stylenet/internal/kernels"
)

// Options choose how a device computes.
type Options struct {
	Threads int    // 0: one for each processor
	Exact   bool   // no approximate kernels (Winograd); bf16 rounds with them or without
	ISA     string // "avx512", "avx2" or "base" for our own kernels; "": the best
	// Precision is kernels.Float32, which "" means too, or kernels.BF16.
	Precision string
}

// Open starts a device. oneDNN keeps its scratch memory and OpenMP its team of
// threads for each calling thread, so all kernels run on one OS thread of the
// device's own.
func Open(o Options) (*Device, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("onednn: %d threads", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.NumCPU()
	}
	table, err := o.kernels()
	if err != nil {
		return nil, err
	}
	e := &engine{table: table, options: o, queue: make(chan func() error, 1024), done: make(chan error)}
	go e.work()
	d := &Device{engine: e, root: true}
	err = d.do(func() error { return status("engine", C.sn_engine_create(&e.c, table, C.int(o.Threads))) })
	if err != nil {
		close(e.queue)
		return nil, err
	}
	return d, nil
}

// kernels returns the table that the options ask for.
func (o *Options) kernels() (*C.sn_kernels, error) {
	named := func(name string) *C.sn_kernels {
		c := C.CString(name)
		defer C.free(unsafe.Pointer(c))
		return C.sn_kernels_named(c)
	}
	switch o.Precision {
	case "", kernels.Float32:
		o.Precision = kernels.Float32
	case kernels.BF16:
		if o.ISA != "" && o.ISA != "avx512" {
			return nil, fmt.Errorf("onednn: no %q kernels for precision bf16", o.ISA)
		}
		table := named("avx512_bf16")
		if table == nil {
			return nil, errors.New("onednn: this processor or build lacks AVX-512 BF16, which precision bf16 needs; use precision float32")
		}
		return table, nil
	default:
		return nil, fmt.Errorf("onednn: unknown precision %q: use float32 or bf16", o.Precision)
	}
	if o.ISA == "" {
		return C.sn_kernels_best(), nil
	}
	table := named(o.ISA)
	if table == nil {
		return nil, fmt.Errorf("onednn: this processor or build has no %q kernels", o.ISA)
	}
	return table, nil
}

// engine is what a device shares with its scopes.
type engine struct {
	c       *C.sn_engine
	table   *C.sn_kernels
	options Options
	queue   chan func() error
	done    chan error
	err     error // the first of the launches since the last wait; the worker's alone
	held    atomic.Int64
	peak    atomic.Int64
	stopped atomic.Bool // the device that the scopes come from is closed
}

func (e *engine) work() {
	runtime.LockOSThread() // never unlocked: the thread ends with its OpenMP team
	for run := range e.queue {
		if err := run(); err != nil && e.err == nil {
			e.err = err
		}
	}
}

// fence reports the first error of the launches before it. It is a variable
// of a func type so that waiting allocates nothing.
func (e *engine) fence() error {
	err := e.err
	e.err = nil
	e.done <- err
	return nil
}

// do runs fn on the device's thread, after all launches, and waits.
func (e *engine) do(fn func() error) error {
	e.queue <- func() error {
		e.done <- fn()
		return nil
	}
	return <-e.done
}

func (e *engine) hold(bytes int64) {
	held := e.held.Add(bytes)
	for {
		peak := e.peak.Load()
		if held <= peak || e.peak.CompareAndSwap(peak, held) {
			return
		}
	}
}

func status(what string, code C.int) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", what, C.GoString(C.sn_status(code)))
}

// Device implements kernels.Device on the processor.
type Device struct {
	*engine
	root    bool
	blocks  []*block
	free    []*block
	closed  bool
	cleanup []func() // frees what kernels hold; runs on the device's thread

	// What composed convolutions read; see stage. The pointer is the device
	// thread's alone.
	staged      unsafe.Pointer
	stagedBytes int
}

var _ kernels.Device = (*Device)(nil)

// block is memory that arrays with disjoint lifetimes share.
type block struct {
	data      unsafe.Pointer
	bytes     int
	parameter bool
}

// array is a kernels.Array.
type array struct {
	shape kernels.Shape
	dims  C.sn_dims     // blk 1 for parameters
	table *C.sn_kernels // that take such an array
	data  unsafe.Pointer
	count C.size_t // elements, padding lanes included
	block *block
	owner *Device
	// packed holds frozen weights in the layouts of the convolutions that read
	// them.
	packed map[packing]*packed
}

func (a *array) Shape() kernels.Shape { return a.shape }

func (d *Device) dims(s kernels.Shape) C.sn_dims {
	blk := d.table.blk
	if s.C <= kernels.PlainChannels { // a block of lanes would be mostly padding
		blk = 1
	}
	return C.sn_dims{C.int(s.N), C.int(s.C), C.int(s.H), C.int(s.W), blk}
}

// instructions is the name for people of what a table of kernels is compiled
// for.
func instructions(table *C.sn_kernels) string {
	switch name := C.GoString(table.name); name {
	case "avx512_bf16":
		return "AVX-512 BF16"
	case "avx512":
		return "AVX-512"
	case "avx2":
		return "AVX2"
	default:
		return name
	}
}

// Info describes the processor and the library.
func (d *Device) Info() kernels.Info {
	var major, minor, patch C.int
	C.sn_version(&major, &minor, &patch)
	return kernels.Info{
		Backend: "onednn",
		Description: fmt.Sprintf("%s, oneDNN %d.%d.%d with %s, own kernels for %s", strings.TrimSpace(cpuid.CPU.BrandName),
			major, minor, patch, C.GoString(C.sn_isa()), instructions(d.table)),
		Threads:   d.options.Threads,
		Exact:     d.options.Exact,
		Precision: d.options.Precision,
	}
}

// NewActivation makes an array of feature maps.
func (d *Device) NewActivation(s kernels.Shape) (kernels.Array, error) { return d.newArray(s, false) }

// NewParameter makes a flat array.
func (d *Device) NewParameter(s kernels.Shape) (kernels.Array, error) { return d.newArray(s, true) }

// NewActivations makes arrays of feature maps in one block of memory.
func (d *Device) NewActivations(shapes []kernels.Shape, lives []kernels.Life) ([]kernels.Array, error) {
	if err := kernels.CheckLives(shapes, lives); err != nil {
		return nil, err
	}
	const page = 4096
	sizes, arrays := make([]int64, len(shapes)), make([]kernels.Array, len(shapes))
	for i, s := range shapes {
		a := d.lay(s, false)
		sizes[i], arrays[i] = int64(a.bytes()+page-1)/page*page, a
	}
	offsets, total := kernels.Place(sizes, lives)
	b, err := d.take(int(total), false)
	if err != nil {
		return nil, fmt.Errorf("%d arrays of feature maps: %w", len(shapes), err)
	}
	for i, a := range arrays {
		arr(a).data = unsafe.Add(b.data, offsets[i])
	}
	return arrays, nil
}

// MapBytes is the memory of feature maps, their last block of channels filled up.
func (d *Device) MapBytes(s kernels.Shape) int64 { return int64(d.lay(s, false).bytes()) }

func (d *Device) newArray(s kernels.Shape, parameter bool) (*array, error) {
	if err := kernels.CheckShape(s); err != nil {
		return nil, err
	}
	a := d.lay(s, parameter)
	bytes := a.bytes()
	if !parameter {
		bytes = kernels.RoundUp(bytes)
	}
	b, err := d.take(bytes, parameter)
	if err != nil {
		return nil, fmt.Errorf("array of shape %v: %w", s, err)
	}
	a.block, a.data = b, b.data
	return a, nil
}

// lay makes an array without memory.
func (d *Device) lay(s kernels.Shape, parameter bool) *array {
	a := &array{shape: s, owner: d, table: d.table}
	if parameter {
		a.dims = C.sn_dims{C.int(s.N), C.int(s.C), C.int(s.H), C.int(s.W), 1}
	} else {
		a.dims = d.dims(s)
	}
	if a.dims.blk == 1 {
		a.table = d.table.plain
	}
	a.count = C.sn_count(a.dims)
	return a
}

func (a *array) bytes() int { return int(a.count) * int(a.table.size) }

// slack is what blocks are longer than what they hold: kernels read whole
// vectors.
const slack = 64

// take finds the smallest released block that fits and is at most twice as
// large, or makes one. Blocks of parameters keep zeros behind their end, so
// only parameters of the same size share them.
func (d *Device) take(bytes int, parameter bool) (*block, error) {
	best := -1
	for i, b := range d.free {
		if b.parameter != parameter || b.bytes < bytes || b.bytes > 2*bytes || (parameter && b.bytes != bytes) {
			continue
		}
		if best < 0 || b.bytes < d.free[best].bytes {
			best = i
		}
	}
	if best >= 0 {
		b := d.free[best]
		d.free = append(d.free[:best], d.free[best+1:]...)
		return b, nil
	}
	b := &block{bytes: bytes, parameter: parameter}
	b.data = C.sn_alloc(C.size_t(bytes + slack))
	if b.data == nil {
		return nil, d.outOfMemory(bytes)
	}
	if parameter {
		C.memset(unsafe.Add(b.data, bytes), 0, slack)
	}
	d.hold(int64(bytes + slack))
	d.blocks = append(d.blocks, b)
	return b, nil
}

func (d *Device) outOfMemory(bytes int) error {
	return fmt.Errorf("out of memory: %d MiB were asked for, %d MiB are held; a smaller batch or picture needs less", bytes>>20, d.held.Load()>>20)
}

// Release lets later arrays of the same device or scope share a's memory.
func (d *Device) Release(a kernels.Array) {
	if x, ok := a.(*array); ok && x.owner == d && x.block != nil {
		d.free = append(d.free, x.block)
		x.block = nil
	}
}

// Upload copies values to the device, in order with the launches.
func (d *Device) Upload(dst kernels.Array, src []float32) error {
	if err := d.check(kernels.CheckTransfer("upload", dst, len(src)), dst); err != nil {
		return err
	}
	a := arr(dst)
	return d.do(func() error {
		C.call_import(a.table, a.data, unsafe.Pointer(&src[0]), a.dims)
		return nil
	})
}

// Download waits for all launches and copies values back.
func (d *Device) Download(dst []float32, src kernels.Array) error {
	if err := d.check(kernels.CheckTransfer("download", src, len(dst)), src); err != nil {
		return err
	}
	a := arr(src)
	if err := d.Sync(); err != nil {
		return err
	}
	return d.do(func() error {
		C.call_export(a.table, unsafe.Pointer(&dst[0]), a.data, a.dims)
		return nil
	})
}

// Sync waits for all launches and returns their first error.
func (d *Device) Sync() error {
	d.queue <- d.fence
	return <-d.done
}

// PeakBytes is the most memory that arrays, packed weights and scratch took.
func (d *Device) PeakBytes() int64 { return d.peak.Load() }

// Scope opens a device whose arrays and kernels are freed together.
func (d *Device) Scope() kernels.Device { return &Device{engine: d.engine} }

// Close frees everything that was made through d.
func (d *Device) Close() error {
	if d.closed || d.stopped.Load() {
		return nil // a second Close, or a scope's after its device's
	}
	d.closed = true
	err := d.Sync()
	freed := d.do(func() error {
		for _, free := range d.cleanup {
			free()
		}
		for _, b := range d.blocks {
			C.free(b.data)
			d.hold(-int64(b.bytes + slack))
		}
		if d.root {
			C.sn_engine_destroy(d.c)
		}
		return nil
	})
	d.cleanup, d.blocks, d.free = nil, nil, nil
	if d.root {
		d.stopped.Store(true)
		close(d.queue)
	}
	return errors.Join(err, freed)
}

// bind makes a kernel of a function that runs on the device's thread.
func (d *Device) bind(run func() error) (kernels.Kernel, error) {
	queue := d.queue
	return func() { queue <- run }, nil
}

// simple binds a function that cannot fail.
func (d *Device) simple(run func()) (kernels.Kernel, error) {
	return d.bind(func() error { run(); return nil })
}

// check returns err, or an error where an array is not of this device or a
// scope of it. Arrays may be nil.
func (d *Device) check(err error, arrays ...kernels.Array) error {
	if err != nil {
		return err
	}
	for _, x := range arrays {
		if a, ok := x.(*array); x != nil && (!ok || a.owner.engine != d.engine) {
			return errors.New("an array belongs to another device")
		}
	}
	return nil
}

// sameLayout refuses activations beside parameters where a kernel works
// element by element: their memory differs.
func sameLayout(arrays ...kernels.Array) error {
	for _, a := range arrays[1:] {
		if arr(a).dims.blk != arr(arrays[0]).dims.blk {
			return errors.New("an activation stands beside a parameter")
		}
	}
	return nil
}

func arr(a kernels.Array) *array {
	if a == nil {
		return &array{}
	}
	return a.(*array)
}

func pointers(as []kernels.Array) []unsafe.Pointer {
	ps := make([]unsafe.Pointer, len(as))
	for i, a := range as {
		ps[i] = arr(a).data
	}
	return ps
}

func border(p kernels.Padding) C.sn_border {
	return C.sn_border{C.int(p.Top), C.int(p.Bottom), C.int(p.Left), C.int(p.Right)}
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
