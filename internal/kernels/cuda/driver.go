//go:build cudnn || cudahost

package cuda

import "unsafe"

// ptr is an address in a device's memory; 0 is none.
type ptr uintptr

// element is what feature maps are made of.
type element int

const (
	float32Element  element = iota // multiplied as TF32, unless the device is exact
	bfloat16Element                // accumulated in float32
)

func (e element) bytes() int {
	if e == bfloat16Element {
		return 2
	}
	return 4
}

// blockThreads is the number of threads of each block: kernels.cu counts on it.
const blockThreads = 256

// driver is what a device needs below its kernels: memory, launches in one
// stream, and the convolutions and matrix products of NVIDIA's libraries. There
// are two: a GPU's (gorgonia.org/cu, cuDNN, cuBLAS) and, for tests on machines
// without a GPU, one that runs the same kernels, compiled as C++, on the
// processor.
//
// Each has a function openDriver(o Options) (driver, error), in the file with its
// build tag.
//
// Everything runs in the order of the calls. An asynchronous failure is kept and
// returned by the next call that returns an error.
type driver interface {
	// alloc returns memory aligned to 256 bytes. A failure is a *memoryError.
	alloc(bytes int) (ptr, error)
	free(ptr)
	// free memory of the device, in bytes, and all of it
	memory() (free, total int)

	// upload copies from the host; src may change when it returns. download waits
	// for everything before it.
	upload(dst ptr, src unsafe.Pointer, bytes int) error
	download(dst unsafe.Pointer, src ptr, bytes int) error
	zero(dst ptr, bytes int)
	// fetches makes what copies so many bytes to the host and waits for nothing.
	fetches(bytes int) (fetches, error)

	// launch starts a kernel of kernels.cu on grid blocks of blockThreads threads.
	// Each takes one parameter, a structure by value: args points to it, in memory
	// of Go that holds no pointers of Go, and it is copied before launch returns.
	launch(kernel string, grid int, args unsafe.Pointer, bytes int)

	// conv prepares a convolution; its workspace is the caller's.
	conv(s convSpec) (convolution, error)
	// gemm is C = alpha·op(A)·B for each of batch row-major matrices, which lie a
	// fixed number of elements apart: op(A) is m×k, B k×n, C m×n.
	gemm(g gemmSpec, a, b, c ptr)

	// record starts to collect launches in place of running them; replay ends that
	// and returns what runs them all at once (a CUDA graph). A driver that cannot
	// record returns an error from record, and the device launches one by one.
	record() error
	replay() (run func(), free func(), err error)

	sync() error
	info() driverInfo
	close() error
}

// fetches are copies to kernels.Fetches blocks of pinned memory.
type fetches interface {
	// start copies to a block, after everything before it. take waits for that, and
	// for nothing after it, and hands out the block.
	start(block int, src ptr)
	take(block int, dst unsafe.Pointer) error
	close()
}

// driverInfo describes what runs the kernels.
type driverInfo struct {
	name    string // such as "NVIDIA H100 PCIe, compute capability 9.0, driver 12.4, cuDNN 9.1.0, cuBLAS 12.4.5"
	sms     int    // streaming multiprocessors: how many blocks run at once, times a few
	element element
}

// convWhat is which of a convolution's three arrays is computed.
type convWhat int

const (
	convForward convWhat = iota
	convBackwardData
	convBackwardWeights
)

// convSpec is a convolution of maps in NHWC with weights in KRSC, all of elem but
// the gradient of weights, which is what its convolution says. c and k are
// multiples of 8. The border is of zeros and symmetric.
type convSpec struct {
	what                 convWhat
	elem                 element
	n, h, w, c           int // source
	oh, ow, k            int // result
	r, s                 int // kernel
	stride, padH, padW   int
	exact, deterministic bool // no TF32; only algorithms that always sum in one order
}

// convolution runs in workspace bytes of memory, on any arrays of its shape.
type convolution interface {
	workspace() int
	// gradient is what run writes the gradient of weights in: cuDNN computes it in
	// the element of its sources alone, other drivers in float32.
	gradient() element
	// run computes x, w or y of the other two.
	run(x, w, y, workspace ptr)
	close()
}

type gemmSpec struct {
	transposeA                bool // A is stored k×m
	m, n, k                   int
	alpha                     float32
	elem                      element // of A and B
	out                       element // of C
	batch                     int
	strideA, strideB, strideC int // elements between the matrices of a batch
	exact                     bool
}
