//go:build cudahost && !cudnn

package cuda

/*
#cgo CXXFLAGS: -O3 -g -std=gnu++17 -DSTYLENET_HOST -Wall -Wno-psabi -Wno-unused-function -Wno-unused-variable -fsanitize=undefined -fsanitize=float-cast-overflow
#cgo LDFLAGS: -fsanitize=undefined
#include <stdlib.h>
#include <string.h>
#include "host_calls.h"
*/
import "C"

import (
	_ "embed"
	"errors"
	"fmt"
	"unsafe"

	"stylenet/internal/kernels"
)

// Go does not know that host.cc includes kernels.cu. Embedded, it is built anew
// where that changes.
//
//go:embed kernels.cu
var _ string

// hostDriver runs the kernels of kernels.cu on the processor, with plain loops
// in place of NVIDIA's libraries. Memory that it hands out is full of NaN, so
// that a result that depends on what nobody wrote is seen, and ends where a page
// without access begins.
type hostDriver struct {
	element element
	limit   int // bytes that it hands out in all
	blocks  map[ptr]int
	held    int
	pinned  int // blocks of the host
	err     error

	// huge maps take no memory where nothing writes, and of kernels only a few
	// blocks at both ends run.
	huge bool

	recording bool
	recorded  []func()
}

var _ driver = (*hostDriver)(nil)

func openDriver(o Options) (driver, error) {
	return &hostDriver{element: o.element(), limit: 4 << 30, blocks: map[ptr]int{}}, nil
}

func (h *hostDriver) alloc(bytes int) (ptr, error) {
	if bytes > h.limit-h.held {
		return 0, &memoryError{bytes, "the limit of the driver for tests is reached"}
	}
	p := C.host_alloc(C.size_t(align(bytes, alignment)), flagged(h.huge))
	if p == nil {
		return 0, &memoryError{bytes, "the processor has none left"}
	}
	h.blocks[ptr(p)] = bytes
	h.held += bytes
	return ptr(p), nil
}

func (h *hostDriver) free(p ptr) {
	if _, ok := h.blocks[p]; !ok {
		h.fail(fmt.Errorf("cuda: memory at %#x is freed that was not handed out", uintptr(p)))
		return
	}
	if C.host_free(address(p), C.size_t(align(h.blocks[p], alignment)), flagged(h.huge)) == 0 {
		h.fail(fmt.Errorf("cuda: something was written before %d bytes of memory", h.blocks[p]))
	}
	h.held -= h.blocks[p]
	delete(h.blocks, p)
}

// address is where memory of C lies.
func address(p ptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func (h *hostDriver) memory() (free, total int) { return h.limit - h.held, h.limit }

func (h *hostDriver) upload(dst ptr, src unsafe.Pointer, bytes int) error {
	C.memcpy(address(dst), src, C.size_t(bytes))
	return h.sync()
}

func (h *hostDriver) download(dst unsafe.Pointer, src ptr, bytes int) error {
	C.memcpy(dst, address(src), C.size_t(bytes))
	return h.sync()
}

func (h *hostDriver) zero(dst ptr, bytes int) {
	h.do(func() { C.memset(address(dst), 0, C.size_t(bytes)) })
}

type hostFetches struct {
	driver *hostDriver
	blocks [kernels.Fetches][]byte
}

func (h *hostDriver) fetches(bytes int) (fetches, error) {
	f := &hostFetches{driver: h}
	for i := range f.blocks {
		f.blocks[i] = make([]byte, bytes)
	}
	h.pinned += kernels.Fetches
	return f, nil
}

func (f *hostFetches) start(block int, src ptr) {
	b := f.blocks[block]
	f.driver.do(func() { C.memcpy(unsafe.Pointer(&b[0]), address(src), C.size_t(len(b))) })
}

func (f *hostFetches) take(block int, dst unsafe.Pointer) error {
	copy(unsafe.Slice((*byte)(dst), len(f.blocks[block])), f.blocks[block])
	return f.driver.sync()
}

func (f *hostFetches) close() { f.driver.pinned -= kernels.Fetches }

// do runs what a stream would, now or where it is replayed.
func (h *hostDriver) do(run func()) {
	if h.recording {
		h.recorded = append(h.recorded, run)
		return
	}
	run()
}

func (h *hostDriver) fail(err error) {
	if h.err == nil {
		h.err = err
	}
}

func (h *hostDriver) launch(kernel string, grid int, args unsafe.Pointer, bytes int) {
	name := C.CString(kernel)
	defer C.free(unsafe.Pointer(name))
	k := C.host_find(name, C.long(bytes))
	if k == nil || grid < 1 {
		h.fail(fmt.Errorf("cuda: no kernel %s with a parameter of %d bytes on %d blocks", kernel, bytes, grid))
		return
	}
	words := make([]uint64, (bytes+7)/8)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), bytes), unsafe.Slice((*byte)(args), bytes))
	h.do(func() {
		ends := grid
		if h.huge {
			ends = 3
		}
		if wrong := C.host_launch(k, C.int(grid), C.int(ends), unsafe.Pointer(&words[0])); wrong != nil {
			h.fail(fmt.Errorf("cuda: kernel %s: %s", kernel, C.GoString(wrong)))
		}
	})
}

func (h *hostDriver) record() error {
	if h.recording {
		return errors.New("cuda: launches are being recorded already")
	}
	h.recording, h.recorded = true, nil
	return nil
}

func (h *hostDriver) replay() (run func(), free func(), err error) {
	launches := h.recorded
	h.recording, h.recorded = false, nil
	return func() {
		for _, l := range launches {
			l()
		}
	}, func() {}, nil
}

func (h *hostDriver) sync() error {
	err := h.err
	h.err = nil
	return err
}

func (h *hostDriver) info() driverInfo {
	return driverInfo{name: "kernels for NVIDIA GPUs, compiled for the processor", sms: 2, element: h.element}
}

func (h *hostDriver) close() error {
	err := h.sync()
	if h.pinned != 0 {
		err = errors.Join(err, fmt.Errorf("cuda: %d pinned blocks were not freed", h.pinned))
	}
	for p, bytes := range h.blocks {
		err = errors.Join(err, fmt.Errorf("cuda: %d bytes of memory were not freed", bytes))
		h.free(p)
	}
	return err
}

type hostConvolution struct {
	driver *hostDriver
	what   convWhat
	elem   element
	spec   C.host_conv
}

func (h *hostDriver) conv(s convSpec) (convolution, error) {
	if s.c%8 != 0 || s.k%8 != 0 {
		return nil, fmt.Errorf("cuda: a convolution from %d to %d channels", s.c, s.k)
	}
	return &hostConvolution{h, s.what, s.elem, C.host_conv{
		half: half(s.elem), n: C.int(s.n), h: C.int(s.h), w: C.int(s.w), c: C.int(s.c), oh: C.int(s.oh), ow: C.int(s.ow), k: C.int(s.k),
		r: C.int(s.r), s: C.int(s.s), stride: C.int(s.stride), pad_h: C.int(s.padH), pad_w: C.int(s.padW),
	}}, nil
}

func half(e element) C.int { return flagged(e == bfloat16Element) }

func flagged(b bool) C.int { return C.int(flag(b)) }

func (c *hostConvolution) workspace() int { return 64 }

func (c *hostConvolution) gradient() element { return c.elem } // as cuDNN

func (c *hostConvolution) run(x, w, y, _ ptr) {
	c.driver.do(func() {
		switch c.what {
		case convForward:
			C.host_conv_forward(&c.spec, address(x), address(w), address(y))
		case convBackwardData:
			C.host_conv_backward_data(&c.spec, address(x), address(w), address(y))
		case convBackwardWeights:
			C.host_conv_backward_weights(&c.spec, address(x), address(w), address(y))
		}
	})
}

func (c *hostConvolution) close() {}

func (h *hostDriver) gemm(g gemmSpec, a, b, c ptr) {
	spec := C.host_gemm{
		half: half(g.elem), half_out: half(g.out), transpose_a: flagged(g.transposeA), m: C.int(g.m), n: C.int(g.n), k: C.int(g.k), batch: C.int(g.batch),
		alpha: C.float(g.alpha), stride_a: C.long(g.strideA), stride_b: C.long(g.strideB), stride_c: C.long(g.strideC),
	}
	h.do(func() { C.host_multiply(&spec, address(a), address(b), address(c)) })
}
