//go:build cudnn

package cuda

/*
#cgo LDFLAGS: -lcuda
// The link finds it in libcuda, as gorgonia.org/cu's calls.
int cuInit(unsigned flags);

#include "libraries.h"
*/
import "C"

import (
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"stylenet/internal/kernels"
)

//go:generate ../../../scripts/ptx.sh kernels.cu kernels.ptx

//go:embed kernels.ptx
var kernelsPTX string

const (
	oldestCapability     = 75 // what kernels.ptx is compiled for
	oldestBF16Capability = 80

	// A block of pinned memory, through which copies between host and device go.
	// The next blocks fill while the first is under way. An upload that needs no
	// more than all of them waits for no launch but those before the last upload:
	// photos cross the bus while the step before them runs. One is for the
	// optimiser's settings.
	stagingBytes  = 4 << 20
	stagingBlocks = 8

	// cuBLAS asks for 32 MiB on Hopper, and for less before it.
	gemmWorkspace = 32 << 20
)

// gpu is the driver of one NVIDIA GPU.
type gpu struct {
	options  Options
	about    driverInfo
	libs     *libraries
	device   cu.Device
	context  cu.CUContext
	module   cu.Module
	kernels  map[string]cu.Function
	stream   cu.Stream // everything but uploads
	uploads  cu.Stream // from the host to staging memory, while stream computes
	staging  [stagingBlocks]staging
	next     int // block of staging
	dnn      unsafe.Pointer
	blas     unsafe.Pointer
	blasWork ptr
	choices  *choices
	key      string // of the choices: the GPU and the libraries
	closers  []func() error

	recording bool
	err       error // the first since the last call that returned one

	words  [maxArgument / 8]uint64 // a launch's argument
	params [maxArgument / 8]unsafe.Pointer
}

// maxArgument is the most that a kernel takes.
const maxArgument = 4096

// staging is a pinned block of the host and one of the device.
type staging struct {
	host   unsafe.Pointer
	device ptr
	copied cu.Event // host to device, on the stream of uploads
	done   cu.Event // the block may be used again
}

var _ driver = (*gpu)(nil)

// openDriver opens a GPU and NVIDIA's libraries.
func openDriver(o Options) (driver, error) {
	libs, err := openLibraries()
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	d := &gpu{options: o, libs: libs, kernels: map[string]cu.Function{}}
	for i := range d.params {
		d.params[i] = unsafe.Pointer(&d.words[i])
	}
	if err := d.open(); err != nil {
		err = errors.Join(err, d.close())
		return nil, fmt.Errorf("cuda:%d: %w", o.Index, err)
	}
	return d, nil
}

func (d *gpu) open() error {
	// Package cu made the first call, and with the libcuda that scripts/cuda.sh
	// makes for the link, which opens the real one now, it did nothing.
	if err := d.libs.status("cuInit", C.cuInit(0)); err != nil {
		return err
	}
	n, err := cu.NumDevices()
	if err != nil {
		return fmt.Errorf("count GPUs: %w", err)
	}
	if d.options.Index >= n {
		return fmt.Errorf("no such GPU: this machine has %d that may be used, counted from 0 ($CUDA_VISIBLE_DEVICES hides others)", n)
	}
	if d.device, err = cu.GetDevice(d.options.Index); err != nil {
		return err
	}
	if err := d.describe(); err != nil {
		return err
	}
	// The context that the libraries find, too.
	if d.context, err = d.device.RetainPrimaryCtx(); err != nil {
		return fmt.Errorf("open a context: %w", err)
	}
	d.closers = append(d.closers, d.device.ReleasePrimaryCtx)
	d.enter()
	defer runtime.UnlockOSThread()
	if d.err != nil {
		return d.take(nil)
	}
	if d.module, err = cu.LoadData(kernelsPTX); err != nil {
		return fmt.Errorf("compile our kernels, which takes driver 11.4 or newer: %w", err)
	}
	d.closers = append(d.closers, d.module.Unload)
	for _, s := range []*cu.Stream{&d.stream, &d.uploads} {
		if *s, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return fmt.Errorf("make a stream: %w", err)
		}
		d.closers = append(d.closers, s.Destroy)
	}
	if err := d.openStaging(); err != nil {
		return err
	}
	return d.openMath()
}

// describe fills in about, and refuses GPUs that are too old.
func (d *gpu) describe() error {
	name, err := d.device.Name()
	if err != nil {
		return err
	}
	major, minor, err := d.device.ComputeCapability()
	if err != nil {
		return err
	}
	sms, err := d.device.Attribute(cu.MultiprocessorCount)
	if err != nil {
		return err
	}
	d.key = fmt.Sprintf("%s, compute capability %d.%d, driver %d.%d, cuDNN %s",
		name, major, minor, d.libs.driverVersion[0], d.libs.driverVersion[1], d.libs.cudnnVersion)
	d.about = driverInfo{
		name: fmt.Sprintf("%s, cuBLAS %s", d.key, d.libs.cublasVersion),
		sms:  sms, element: d.options.element(),
	}
	switch capability := 10*major + minor; {
	case capability < oldestCapability:
		return fmt.Errorf("%s has compute capability %d.%d, too old: 7.5 (Turing) is the least", name, major, minor)
	case capability < oldestBF16Capability && d.about.element == bfloat16Element:
		return fmt.Errorf("%s has compute capability %d.%d and no bf16, which takes 8.0 (Ampere); use precision float32", name, major, minor)
	}
	return nil
}

func (d *gpu) openStaging() error {
	for i := range d.staging {
		s := &d.staging[i]
		if err := d.libs.status("pin memory of the host", C.nv_pinned(&d.libs.driver, &s.host, stagingBytes)); err != nil {
			return err
		}
		d.closers = append(d.closers, func() error { return cu.MemFreeHost(s.host) })
		var err error
		if s.device, err = d.hold(stagingBytes); err != nil {
			return err
		}
		for _, e := range []*cu.Event{&s.copied, &s.done} {
			// Waiting for it leaves the processor to the goroutines that decode photos.
			if *e, err = cu.MakeEvent(cu.DisableTiming | cu.BlockingSyncEvent); err != nil {
				return fmt.Errorf("make an event: %w", err)
			}
			d.closers = append(d.closers, func() error { return cu.DestroyEvent(e) })
		}
	}
	return nil
}

// openMath opens cuDNN and cuBLAS on the stream.
func (d *gpu) openMath() error {
	stream := unsafe.Pointer(d.stream.C())
	code := C.nv_cudnn_create(&d.libs.cudnn, stream, &d.dnn)
	if d.dnn != nil {
		d.closers = append(d.closers, func() error { C.nv_cudnn_destroy(&d.libs.cudnn, d.dnn); return nil })
	}
	if code != 0 {
		return d.dnnError("start", code)
	}
	var err error
	if d.blasWork, err = d.hold(gemmWorkspace); err != nil {
		return err
	}
	code = C.nv_cublas_create(&d.libs.cublas, stream, C.size_t(d.blasWork), gemmWorkspace, &d.blas)
	if d.blas != nil {
		d.closers = append(d.closers, func() error { C.nv_cublas_destroy(&d.libs.cublas, d.blas); return nil })
	}
	if code != 0 {
		return fmt.Errorf("cuBLAS %s: start: status %d", d.libs.cublasVersion, code)
	}
	d.choices = openChoices()
	return nil
}

func (d *gpu) dnnError(what string, code C.int) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("cuDNN %s: %s: %s", d.libs.cudnnVersion, what, C.GoString(C.nv_cudnn_error(&d.libs.cudnn, code)))
}

// enter makes the GPU's context that of the calling thread, and holds the
// goroutine there until runtime.UnlockOSThread.
func (d *gpu) enter() {
	runtime.LockOSThread()
	d.fail("enter the context", cu.SetCurrentContext(d.context))
}

func (d *gpu) fail(what string, err error) {
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, err)
	}
}

// take returns the first failure, err the last of them.
func (d *gpu) take(err error) error {
	if d.err != nil {
		err, d.err = d.err, nil
	}
	if err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	return nil
}

// hold allocates until close.
func (d *gpu) hold(bytes int) (ptr, error) {
	p, err := d.alloc(bytes)
	if err == nil {
		d.closers = append(d.closers, func() error { return cu.MemFree(cu.DevicePtr(p)) })
	}
	return p, err
}

func (d *gpu) alloc(bytes int) (ptr, error) {
	d.enter()
	defer runtime.UnlockOSThread()
	p, err := cu.MemAlloc(int64(max(bytes, 1)))
	if err != nil {
		cause := err.Error()
		if free, total := d.memory(); err == cu.OutOfMemory {
			cause = fmt.Sprintf("%d of the GPU's %d MiB are free", free>>20, total>>20)
		}
		return 0, &memoryError{bytes, cause}
	}
	return ptr(p), nil
}

func (d *gpu) free(p ptr) {
	d.enter()
	defer runtime.UnlockOSThread()
	d.fail("free memory", cu.MemFree(cu.DevicePtr(p)))
}

func (d *gpu) memory() (free, total int) {
	d.enter()
	defer runtime.UnlockOSThread()
	f, t, err := cu.MemInfo()
	d.fail("ask for free memory", err)
	return int(f), int(t)
}

// block waits for the next block of staging memory.
func (d *gpu) block() *staging {
	s := &d.staging[d.next]
	d.next = (d.next + 1) % stagingBlocks
	d.fail("wait for a copy", s.done.Synchronize())
	return s
}

// spread copies with a few goroutines: one processor alone copies frames of 1080p
// no faster than a GPU stylizes them.
func spread(dst, src []byte) int {
	const parts, least = 4, 1 << 20
	n := min(len(dst), len(src))
	if n < least {
		return copy(dst, src)
	}
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() { copy(dst[n*i/parts:n*(i+1)/parts], src[n*i/parts:n*(i+1)/parts]) })
	}
	wait.Wait()
	return n
}

// upload crosses the bus on a stream of its own, while the launches before it
// run, and moves into place after them.
func (d *gpu) upload(dst ptr, src unsafe.Pointer, bytes int) error {
	if d.recording {
		return errors.New("cuda: an upload cannot be recorded")
	}
	d.enter()
	defer runtime.UnlockOSThread()
	for from := unsafe.Slice((*byte)(src), bytes); len(from) > 0 && d.err == nil; {
		s := d.block()
		n := spread(unsafe.Slice((*byte)(s.host), stagingBytes), from)
		d.fail("upload", cu.MemcpyHtoDAsync(cu.DevicePtr(s.device), s.host, int64(n), d.uploads))
		d.fail("upload", s.copied.Record(d.uploads))
		d.fail("upload", d.stream.Wait(s.copied, 0))
		d.fail("upload", cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(s.device), int64(n), d.stream))
		d.fail("upload", s.done.Record(d.stream))
		dst += ptr(n)
		from = from[n:]
	}
	return d.take(nil)
}

func (d *gpu) download(dst unsafe.Pointer, src ptr, bytes int) error {
	if d.recording {
		return errors.New("cuda: a download cannot be recorded")
	}
	d.enter()
	defer runtime.UnlockOSThread()
	type part struct {
		*staging
		to []byte
	}
	var under []part // way; one block is copied out while the next ones fill
	land := func() {
		d.fail("download", under[0].done.Synchronize())
		if d.err == nil {
			spread(under[0].to, unsafe.Slice((*byte)(under[0].host), stagingBytes))
		}
		under = under[1:]
	}
	for to := unsafe.Slice((*byte)(dst), bytes); len(to) > 0 && d.err == nil; {
		if len(under) == stagingBlocks {
			land()
		}
		s, n := d.block(), min(len(to), stagingBytes)
		d.fail("download", cu.MemcpyDtoHAsync(s.host, cu.DevicePtr(src), int64(n), d.stream))
		d.fail("download", s.done.Record(d.stream))
		under = append(under, part{s, to[:n]})
		src += ptr(n)
		to = to[n:]
	}
	for len(under) > 0 {
		land()
	}
	return d.take(nil)
}

// gpuFetches copies to pinned memory on the stream of the launches.
type gpuFetches struct {
	*gpu
	bytes  int
	blocks [kernels.Fetches]struct {
		host unsafe.Pointer
		done cu.Event
	}
}

func (d *gpu) fetches(bytes int) (fetches, error) {
	d.enter()
	defer runtime.UnlockOSThread()
	f := &gpuFetches{gpu: d, bytes: bytes}
	for i := range f.blocks {
		b := &f.blocks[i]
		err := d.libs.status("pin memory of the host", C.nv_pinned(&d.libs.driver, &b.host, C.size_t(bytes)))
		if err == nil {
			b.done, err = cu.MakeEvent(cu.DisableTiming | cu.BlockingSyncEvent)
		}
		if err != nil {
			f.close()
			return nil, d.take(err)
		}
	}
	return f, nil
}

func (f *gpuFetches) start(block int, src ptr) {
	f.enter()
	defer runtime.UnlockOSThread()
	b := &f.blocks[block]
	f.fail("fetch", cu.MemcpyDtoHAsync(b.host, cu.DevicePtr(src), int64(f.bytes), f.stream))
	f.fail("fetch", b.done.Record(f.stream))
}

func (f *gpuFetches) take(block int, dst unsafe.Pointer) error {
	f.enter()
	defer runtime.UnlockOSThread()
	b := &f.blocks[block]
	f.fail("fetch", b.done.Synchronize())
	copy(unsafe.Slice((*byte)(dst), f.bytes), unsafe.Slice((*byte)(b.host), f.bytes))
	return f.gpu.take(nil)
}

func (f *gpuFetches) close() {
	f.enter()
	defer runtime.UnlockOSThread()
	for i := range f.blocks {
		b := &f.blocks[i]
		if b.done != (cu.Event{}) {
			f.fail("free an event", cu.DestroyEvent(&b.done))
		}
		if b.host != nil {
			f.fail("free pinned memory", cu.MemFreeHost(b.host))
		}
	}
}

func (d *gpu) zero(dst ptr, bytes int) {
	d.enter()
	defer runtime.UnlockOSThread()
	d.fail("zero", cu.MemsetD8Async(cu.DevicePtr(dst), 0, int64(bytes), d.stream))
}

func (d *gpu) launch(kernel string, grid int, args unsafe.Pointer, bytes int) {
	if bytes > maxArgument {
		d.fail("launch "+kernel, fmt.Errorf("an argument of %d bytes; %d is the most", bytes, maxArgument))
		return
	}
	d.enter()
	defer runtime.UnlockOSThread()
	f, ok := d.kernels[kernel]
	if !ok {
		var err error
		if f, err = d.module.Function(kernel); err != nil {
			d.fail("find kernel "+kernel, err)
			return
		}
		d.kernels[kernel] = f
	}
	// Package cu copies eight bytes of each parameter, one after the other. Given
	// a structure's words as parameters it makes a copy of the structure, to whose
	// start the kernel's only parameter points.
	words := (bytes + 7) / 8
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&d.words[0])), maxArgument), unsafe.Slice((*byte)(args), bytes))
	if err := f.Launch(grid, 1, 1, blockThreads, 1, 1, 0, d.stream, d.params[:words]); err != nil {
		d.fail("launch "+kernel, err)
	}
}

func (d *gpu) gemm(g gemmSpec, a, b, c ptr) {
	d.enter()
	defer runtime.UnlockOSThread()
	flag := func(b bool) C.int {
		if b {
			return 1
		}
		return 0
	}
	code := C.nv_gemm(&d.libs.cublas, d.blas, &C.nv_gemm_spec{
		transpose_a: flag(g.transposeA), m: C.int(g.m), n: C.int(g.n), k: C.int(g.k), alpha: C.float(g.alpha),
		bf16: flag(g.elem == bfloat16Element), bf16_out: flag(g.out == bfloat16Element), batch: C.int(g.batch), exact: flag(g.exact),
		stride_a: C.longlong(g.strideA), stride_b: C.longlong(g.strideB), stride_c: C.longlong(g.strideC),
	}, C.size_t(a), C.size_t(b), C.size_t(c))
	if code != 0 {
		d.fail("multiply matrices", fmt.Errorf("cuBLAS %s: status %d for %+v", d.libs.cublasVersion, code, g))
	}
}

func (d *gpu) record() error {
	d.enter()
	defer runtime.UnlockOSThread()
	if d.recording {
		return errors.New("cuda: launches are being recorded already")
	}
	if d.err != nil {
		return d.take(nil)
	}
	err := d.libs.status("record launches", C.nv_record(&d.libs.driver, unsafe.Pointer(d.stream.C())))
	d.recording = err == nil
	return d.take(err)
}

func (d *gpu) replay() (run, free func(), err error) {
	if !d.recording {
		return nil, nil, errors.New("cuda: no launches are being recorded")
	}
	d.recording = false
	d.enter()
	defer runtime.UnlockOSThread()
	stream := unsafe.Pointer(d.stream.C())
	var exec unsafe.Pointer
	err = d.libs.status("record launches", C.nv_recorded(&d.libs.driver, stream, &exec))
	// The failure of a launch comes before that of what it spoiled.
	if err := d.take(err); err != nil {
		if exec != nil {
			C.nv_forget(&d.libs.driver, exec)
		}
		return nil, nil, err
	}
	run = func() {
		d.enter()
		defer runtime.UnlockOSThread()
		d.fail("replay launches", d.libs.status("cuGraphLaunch", C.nv_replay(&d.libs.driver, exec, stream)))
	}
	free = func() {
		d.enter()
		defer runtime.UnlockOSThread()
		d.fail("free a recording", d.libs.status("cuGraphExecDestroy", C.nv_forget(&d.libs.driver, exec)))
	}
	return run, free, nil
}

func (d *gpu) sync() error {
	d.enter()
	defer runtime.UnlockOSThread()
	// By an event, which waits without using the processor.
	done := d.staging[d.next].done
	d.fail("wait", done.Record(d.stream))
	d.fail("wait", done.Synchronize())
	return d.take(nil)
}

func (d *gpu) info() driverInfo { return d.about }

func (d *gpu) close() error {
	if d.context != (cu.CUContext{}) {
		d.enter()
		defer runtime.UnlockOSThread()
		// Whatever a failed launch left behind is freed all the same.
		d.fail("wait", cu.Synchronize())
	}
	err := d.take(nil)
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	d.closers = nil
	return err
}
