// Package reference runs every kernel of the contract in plain Go.
//
// It is the truth that the other backends are measured against, and the
// backend of a build without cgo. It owns readable arithmetic over float32 and
// float64 on arrays in row-major N, C, H, W order. It refuses assembly,
// approximation and any order of additions that depends on the number of
// threads.
//
// Sums over many values are always taken in float64. Launches are synchronous.
package reference

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"stylenet/internal/kernels"
)

// Float is the type of an array's values.
type Float interface{ float32 | float64 }

// Device implements kernels.Device. Arrays take part in PeakBytes; the few
// rows of scratch memory that a kernel holds do not.
type Device[T Float] struct {
	threads int
	parent  *Device[T] // nil unless this is a scope
	closed  bool
	held    int64        // bytes of the blocks that this device or scope made
	free    [][]T        // blocks of released arrays
	staged  []T          // what a fused convolution reads; see stage
	shared  *shared      // one for a device and all of its scopes
	scopes  []*Device[T] // opened from this device and perhaps still open
}

// shared is what the scopes of a device have in common: its memory and its
// queue.
type shared struct {
	held, peak int64
	err        error // of the first failed launch since the last Sync
}

var _ kernels.Device = (*Device[float32])(nil)

// New opens the device on that many threads; below 1 means all that Go uses.
func New(threads int) *Device[float32] { return open[float32](threads) }

// NewFloat64 opens a device whose arrays hold float64, with the same kernels.
// Write and Read keep the precision that Upload and Download cannot.
func NewFloat64(threads int) *Device[float64] { return open[float64](threads) }

func open[T Float](threads int) *Device[T] {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device[T]{threads: threads, shared: new(shared)}
}

// array is a block of values in row-major N, C, H, W order.
type array[T Float] struct {
	shape     kernels.Shape
	data      []T
	owner     *Device[T]
	parameter bool
	released  bool
	placed    bool // in memory that others share
}

// Shape returns the number of images, channels, rows and columns.
func (a *array[T]) Shape() kernels.Shape { return a.shape }

// image returns the maps of image n, plane one of its maps and row one row of
// that, all without a copy.
func (a *array[T]) image(n int) []T {
	size := a.shape.C * a.shape.H * a.shape.W
	return a.data[n*size : (n+1)*size]
}

func (a *array[T]) plane(n, c int) []T {
	size := a.shape.H * a.shape.W
	start := (n*a.shape.C + c) * size
	return a.data[start : start+size]
}

func (a *array[T]) row(n, c, y int) []T {
	w := a.shape.W
	return a.plane(n, c)[y*w : (y+1)*w]
}

// planes is the number of maps, and planeAt the map of that index.
func (a *array[T]) planes() int { return a.shape.N * a.shape.C }

func (a *array[T]) planeAt(i int) []T { return a.plane(i/a.shape.C, i%a.shape.C) }

// Info says what the device is.
func (d *Device[T]) Info() kernels.Info {
	return kernels.Info{
		Backend:     "reference",
		Description: fmt.Sprintf("plain Go, %T, %s", T(0), runtime.GOARCH),
		Threads:     d.threads,
		Exact:       true,
		Precision:   kernels.Float32,
	}
}

// NewActivation makes an array for feature maps.
func (d *Device[T]) NewActivation(s kernels.Shape) (kernels.Array, error) {
	return d.newArray(s, false)
}

// NewActivations makes arrays that share one block of memory.
func (d *Device[T]) NewActivations(shapes []kernels.Shape, lives []kernels.Life) ([]kernels.Array, error) {
	if d.closed {
		return nil, errClosed
	}
	if err := kernels.CheckLives(shapes, lives); err != nil {
		return nil, err
	}
	sizes := make([]int64, len(shapes))
	for i, s := range shapes {
		sizes[i] = int64(s.Elements())
	}
	offsets, total := kernels.Place(sizes, lives)
	b := make([]T, total)
	d.account(bytes(b))
	arrays := make([]kernels.Array, len(shapes))
	for i, s := range shapes {
		// Release must not hand out what others share.
		arrays[i] = &array[T]{shape: s, data: b[offsets[i] : offsets[i]+sizes[i] : offsets[i]+sizes[i]], owner: d, placed: true}
	}
	return arrays, nil
}

// MapBytes is the memory of an array of that shape.
func (d *Device[T]) MapBytes(s kernels.Shape) int64 { return int64(s.Elements()) * size[T]() }

// NewParameter makes an array for weights, vectors, matrices and scalars.
func (d *Device[T]) NewParameter(s kernels.Shape) (kernels.Array, error) {
	return d.newArray(s, true)
}

func (d *Device[T]) newArray(s kernels.Shape, parameter bool) (kernels.Array, error) {
	if d.closed {
		return nil, errClosed
	}
	if err := kernels.CheckShape(s); err != nil {
		return nil, err
	}
	a := &array[T]{shape: s, data: d.block(s.Elements()), owner: d, parameter: parameter}
	return a, nil
}

// block takes the smallest free block for n values, or makes one. A block more
// than twice as large is left to larger arrays.
func (d *Device[T]) block(n int) []T {
	best := -1
	for i, b := range d.free {
		if n <= cap(b) && cap(b)/2 <= n && (best < 0 || cap(b) < cap(d.free[best])) {
			best = i
		}
	}
	if best >= 0 {
		b := d.free[best][:n]
		d.free = append(d.free[:best], d.free[best+1:]...)
		return b
	}
	b := make([]T, n)
	d.account(bytes(b))
	return b
}

func bytes[T Float](b []T) int64 { return int64(cap(b)) * size[T]() }

// size is that of one value, in bytes.
func size[T Float]() int64 {
	if _, double := any(T(0)).(float64); double {
		return 8
	}
	return 4
}

func (d *Device[T]) account(bytes int64) {
	d.held += bytes
	d.shared.held += bytes
	d.shared.peak = max(d.shared.peak, d.shared.held)
}

// Release hands an array's memory to the arrays made after it through the same
// device or scope. Releasing an array twice, or one of another device, does
// nothing.
func (d *Device[T]) Release(a kernels.Array) {
	r, ok := a.(*array[T])
	if !ok || r.released || r.placed || !d.sees(r.owner) {
		return
	}
	r.released = true
	r.owner.free = append(r.owner.free, r.data)
}

// sees says whether arrays of owner may be used through d: its own and those of
// the devices it was opened from.
func (d *Device[T]) sees(owner *Device[T]) bool {
	for ; d != nil; d = d.parent {
		if d == owner {
			return true
		}
	}
	return false
}

// Upload copies values in row-major N, C, H, W order to dst.
func (d *Device[T]) Upload(dst kernels.Array, src []float32) error {
	a, err := d.transfer("upload", dst, len(src))
	if err != nil {
		return err
	}
	for i, v := range src {
		a.data[i] = T(v)
	}
	return nil
}

// Download copies values back and returns the first error of any launch since
// the last Download or Sync.
func (d *Device[T]) Download(dst []float32, src kernels.Array) error {
	a, err := d.transfer("download", src, len(dst))
	if err != nil {
		return err
	}
	for i, v := range a.data {
		dst[i] = float32(v)
	}
	return d.Sync()
}

// Write is Upload without a conversion.
func (d *Device[T]) Write(dst kernels.Array, src []T) error {
	a, err := d.transfer("upload", dst, len(src))
	if err != nil {
		return err
	}
	copy(a.data, src)
	return nil
}

// Read is Download without a conversion.
func (d *Device[T]) Read(dst []T, src kernels.Array) error {
	a, err := d.transfer("download", src, len(dst))
	if err != nil {
		return err
	}
	copy(dst, a.data)
	return d.Sync()
}

func (d *Device[T]) transfer(what string, x kernels.Array, values int) (*array[T], error) {
	o := d.operands(what)
	a := o.either(x)
	return a, o.verify(func() error { return kernels.CheckTransfer(what, x, values) })
}

// Sync returns the first error of any launch since the last Download or Sync.
func (d *Device[T]) Sync() error {
	err := d.shared.err
	d.shared.err = nil
	if err == nil && d.closed {
		err = errClosed
	}
	return err
}

// PeakBytes is the most memory that the arrays of the device and its scopes
// have held at once.
func (d *Device[T]) PeakBytes() int64 { return d.shared.peak }

// Scope opens a device whose Close frees what was made through it.
func (d *Device[T]) Scope() kernels.Device {
	s := &Device[T]{threads: d.threads, parent: d, closed: d.closed, shared: d.shared}
	d.scopes = append(d.scopes, s)
	return s
}

// Close frees all arrays made through this device and its scopes. Kernels
// launched afterwards fail. It returns what Sync would.
func (d *Device[T]) Close() error {
	if d.closed {
		return nil
	}
	err := d.Sync()
	for _, s := range d.scopes {
		s.release()
	}
	d.release()
	if p := d.parent; p != nil {
		for i, s := range p.scopes {
			if s == d {
				p.scopes = append(p.scopes[:i], p.scopes[i+1:]...)
				break
			}
		}
	}
	return err
}

func (d *Device[T]) release() {
	for _, s := range d.scopes {
		s.release()
	}
	d.account(-d.held)
	d.closed, d.free, d.staged, d.scopes = true, nil, nil, nil
}

var errClosed = errors.New("reference device: used after Close")

// operands turns the arguments of one kernel into arrays of this device and
// keeps the first fault.
type operands[T Float] struct {
	device *Device[T]
	kernel string
	err    error
}

func (d *Device[T]) operands(kernel string) *operands[T] {
	o := &operands[T]{device: d, kernel: kernel}
	if d.closed {
		o.fail("device was closed")
	}
	return o
}

func (o *operands[T]) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(o.kernel+": "+format, args...)
	}
}

// either accepts an activation or a parameter.
func (o *operands[T]) either(x kernels.Array) *array[T] {
	a, ok := x.(*array[T])
	switch {
	case x == nil || ok && a == nil:
		o.fail("an array is missing")
	case !ok || !o.device.sees(a.owner):
		o.fail("an array belongs to another device")
	case a.owner.closed:
		o.fail("an array's device was closed")
	case a.released:
		o.fail("an array of shape %v was released", a.shape)
	}
	return a
}

// Other devices keep activations and parameters in different layouts, so the
// wrong kind is refused here although it would work.

func (o *operands[T]) activation(x kernels.Array) *array[T] {
	a := o.either(x)
	if o.err == nil && a.parameter {
		o.fail("an array of shape %v is a parameter, not an activation", a.shape)
	}
	return a
}

func (o *operands[T]) parameter(x kernels.Array) *array[T] {
	a := o.either(x)
	if o.err == nil && !a.parameter {
		o.fail("an array of shape %v is an activation, not a parameter", a.shape)
	}
	return a
}

// optional is parameter for an argument that may be nil.
func (o *operands[T]) optional(x kernels.Array) *array[T] {
	if x == nil {
		return nil
	}
	return o.parameter(x)
}

// alike accepts arrays that are all activations or all parameters.
func (o *operands[T]) alike(xs ...kernels.Array) []*array[T] {
	as := make([]*array[T], len(xs))
	for i, x := range xs {
		as[i] = o.either(x)
		if o.err == nil && as[i].parameter != as[0].parameter {
			o.fail("activations and parameters are mixed")
		}
	}
	return as
}

func (o *operands[T]) parameters(xs []kernels.Array) []*array[T] {
	as := make([]*array[T], len(xs))
	for i, x := range xs {
		as[i] = o.parameter(x)
	}
	return as
}

// verify returns the first fault, check's included, which needs arrays that are
// there.
func (o *operands[T]) verify(check func() error) error {
	if o.err != nil {
		return o.err
	}
	return check()
}

// launch makes a kernel of run.
func (d *Device[T]) launch(run func() error) kernels.Kernel {
	return func() {
		err := errClosed
		if !d.closed {
			err = run()
		}
		if d.shared.err == nil {
			d.shared.err = err
		}
	}
}

// each makes a kernel that calls do for every item; see split.
func (d *Device[T]) each(items int, do func(worker, item int)) kernels.Kernel {
	run := d.split(items, do)
	return d.launch(func() error { run(); return nil })
}

// split returns a function that calls do once for every item, on all threads.
// Items are handed out in any order, so do must not write what another item
// reads or writes, scratch memory of its worker (0 to threads−1) excepted.
// Calls of the function allocate nothing.
func (d *Device[T]) split(items int, do func(worker, item int)) func() {
	var next atomic.Int64
	var done sync.WaitGroup
	workers := make([]func(), min(d.threads, items))
	for w := range workers {
		workers[w] = func() {
			defer done.Done()
			for {
				item := int(next.Add(1)) - 1
				if item >= items {
					return
				}
				do(w, item)
			}
		}
	}
	return func() {
		next.Store(0)
		done.Add(len(workers))
		for _, w := range workers[1:] {
			go w()
		}
		workers[0]()
		done.Wait()
	}
}

// scratch makes n float64 for each worker.
func (d *Device[T]) scratch(n int) [][]float64 {
	s := make([][]float64, d.threads)
	for i := range s {
		s[i] = make([]float64, n)
	}
	return s
}
