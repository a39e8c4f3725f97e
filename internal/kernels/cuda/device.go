//go:build cudnn || cudahost

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"stylenet/internal/kernels"
)

// lanes is what channels are padded to: 16 bytes of bf16.
const lanes = 8

// Open starts a device.
func Open(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	drv, err := openDriver(o)
	if err != nil {
		return nil, err
	}
	return openOn(drv, o), nil
}

func openOn(drv driver, o Options) *Device {
	e := &engine{driver: drv, options: o, about: drv.info(), memory: memory{all: map[*block]bool{}, scratch: &block{}}}
	return &Device{engine: e, root: true}
}

// engine is what a device shares with its scopes.
type engine struct {
	driver  driver
	options Options
	about   driverInfo
	err     error // the first of the launches since the last wait
	closed  bool

	memory
	recording *recording // nil but while one is made
}

// Device implements kernels.Device on an NVIDIA GPU.
type Device struct {
	*engine
	root    bool
	closed  bool
	blocks  []*block
	free    []*block
	cleanup []func() // frees what kernels hold beside memory
}

var _ kernels.Device = (*Device)(nil)

// array is a kernels.Array.
type array struct {
	shape     kernels.Shape
	parameter bool
	elem      element
	data      ptr
	block     *block // nil where memory is shared, or given back
	owner     *Device
	packed    map[element]*packed // frozen weights, as convolutions read them
}

func (a *array) Shape() kernels.Shape { return a.shape }

// groups is the number of groups of channels of a map.
func (a *array) groups() int { return groupsOf(a.shape.C) }

func groupsOf(channels int) int { return (channels + lanes - 1) / lanes }

// vectors is the number of groups of eight elements, padding included.
func (a *array) vectors() int {
	if a.parameter {
		return (a.shape.Elements() + lanes - 1) / lanes
	}
	return a.shape.N * a.shape.H * a.shape.W * a.groups()
}

func (a *array) bytes() int { return a.vectors() * lanes * a.elem.bytes() }

// lay makes an array without memory.
func (d *Device) lay(s kernels.Shape, parameter bool) *array {
	a := &array{shape: s, parameter: parameter, owner: d}
	if !parameter && s.C > kernels.PlainChannels {
		a.elem = d.options.element()
	}
	return a
}

// Info describes the GPU and the libraries. Threads are its multiprocessors.
func (d *Device) Info() kernels.Info {
	precision := kernels.Float32
	if d.options.element() == bfloat16Element {
		precision = kernels.BF16
	}
	return kernels.Info{Backend: "cuda", Description: d.about.name, Threads: d.about.sms, Exact: d.options.Exact, Precision: precision}
}

// NewActivation makes an array of feature maps.
func (d *Device) NewActivation(s kernels.Shape) (kernels.Array, error) { return d.newArray(s, false) }

// NewParameter makes a flat array.
func (d *Device) NewParameter(s kernels.Shape) (kernels.Array, error) { return d.newArray(s, true) }

func (d *Device) newArray(s kernels.Shape, parameter bool) (*array, error) {
	if err := checkShape(s); err != nil {
		return nil, err
	}
	a := d.lay(s, parameter)
	b, err := d.take(a.bytes())
	if err != nil {
		return nil, fmt.Errorf("array of shape %v: %w", s, err)
	}
	a.block, a.data = b, b.data
	return a, nil
}

// checkShape also refuses what kernels could not count: pixels of an image and
// channels of all images are numbers of 32 bits.
func checkShape(s kernels.Shape) error {
	if err := kernels.CheckShape(s); err != nil {
		return err
	}
	const most = 1 << 30
	if s.H > most/s.W || s.N > most/(s.C+lanes) {
		return fmt.Errorf("shape %v is too large for a GPU's kernels", s)
	}
	return nil
}

// NewActivations makes arrays of feature maps in one block of memory.
func (d *Device) NewActivations(shapes []kernels.Shape, lives []kernels.Life) ([]kernels.Array, error) {
	if err := kernels.CheckLives(shapes, lives); err != nil {
		return nil, err
	}
	sizes, arrays := make([]int64, len(shapes)), make([]kernels.Array, len(shapes))
	for i, s := range shapes {
		if err := checkShape(s); err != nil {
			return nil, err
		}
		a := d.lay(s, false)
		sizes[i], arrays[i] = int64(align(a.bytes(), alignment)), a
	}
	offsets, total := kernels.Place(sizes, lives)
	if total == 0 {
		return arrays, nil
	}
	b, err := d.take(int(total))
	if err != nil {
		return nil, fmt.Errorf("%d arrays of feature maps: %w", len(shapes), err)
	}
	for i, a := range arrays {
		a.(*array).data = b.data + ptr(offsets[i])
	}
	return arrays, nil
}

// MapBytes is the memory of feature maps, their channels padded.
func (d *Device) MapBytes(s kernels.Shape) int64 { return int64(d.lay(s, false).bytes()) }

// Release lets later arrays of the same device or scope share a's memory.
func (d *Device) Release(a kernels.Array) {
	if x, ok := a.(*array); ok && x.owner == d && x.block != nil {
		d.free = append(d.free, x.block)
		x.block = nil
	}
}

// Upload copies values to the device, in order with the launches.
func (d *Device) Upload(dst kernels.Array, src []float32) error {
	a, err := d.transfer("upload", dst, len(src))
	if err != nil {
		return err
	}
	from, bytes := unsafe.Pointer(&src[0]), 4*len(src)
	if a.parameter {
		return d.driver.upload(a.data, from, bytes)
	}
	if err := d.reserve(bytes); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if err := d.driver.upload(d.scratch.data, from, bytes); err != nil {
		return err
	}
	d.convert("import_map", a)
	return nil
}

// Download waits for all launches and copies values back.
func (d *Device) Download(dst []float32, src kernels.Array) error {
	a, err := d.transfer("download", src, len(dst))
	if err != nil {
		return err
	}
	from, bytes := a.data, 4*len(dst)
	if !a.parameter {
		if err := d.reserve(bytes); err != nil {
			return fmt.Errorf("download: %w", err)
		}
		d.convert("export_map", a)
		from = d.scratch.data
	}
	return errors.Join(d.failed(), d.driver.download(unsafe.Pointer(&dst[0]), from, bytes))
}

func (d *Device) transfer(what string, x kernels.Array, values int) (*array, error) {
	if err := d.check(kernels.CheckTransfer(what, x, values), nil, nil, x); err != nil {
		return nil, err
	}
	if d.recording != nil {
		return nil, fmt.Errorf("%s: launches are being recorded", what)
	}
	return x.(*array), nil
}

// convert moves a map between its own layout and the host's, in scratch memory.
func (d *Device) convert(kernel string, a *array) {
	dd := d.over(a.shape, streaming)
	args := layoutArgs{a.data, d.scratch.data, dd}
	d.driver.launch(kernel+suffix(a.elem), dd.grid(), unsafe.Pointer(&args), int(unsafe.Sizeof(args)))
}

// Sync waits for all launches and returns their first error.
func (d *Device) Sync() error { return errors.Join(d.failed(), d.driver.sync()) }

// fail keeps the first error of a launch for the next wait.
func (e *engine) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *engine) failed() error {
	err := e.err
	e.err = nil
	return err
}

// PeakBytes is the most memory that arrays, packed weights and scratch took.
func (d *Device) PeakBytes() int64 { return d.peak }

// Scope opens a device whose arrays and kernels are freed together.
func (d *Device) Scope() kernels.Device { return &Device{engine: d.engine} }

var errClosed = errors.New("cuda: used after Close")

// Close frees everything that was made through d.
func (d *Device) Close() error {
	if d.closed || d.engine.closed {
		return nil // a second Close, or a scope's after its device's
	}
	d.closed = true
	err := d.Sync()
	for _, free := range d.cleanup {
		free()
	}
	for _, b := range d.blocks {
		d.giveBack(b)
	}
	d.cleanup, d.blocks, d.free = nil, nil, nil
	if d.root {
		d.engine.closed = true
		for b := range d.all { // also of scopes that nobody closed
			d.drop(b)
		}
		err = errors.Join(err, d.driver.close())
	}
	return err
}

// check returns err, or an error where an array is not of this device or a
// scope of it, a map is a parameter or a parameter a map. Arrays may be nil.
func (d *Device) check(err error, maps, parameters []kernels.Array, either ...kernels.Array) error {
	if err == nil && (d.closed || d.engine.closed) {
		err = errClosed
	}
	for kind, arrays := range [][]kernels.Array{maps, parameters, either} {
		for _, x := range arrays {
			if err != nil {
				return err
			}
			if x == nil {
				continue
			}
			a, ok := x.(*array)
			switch {
			case !ok || a.owner.engine != d.engine:
				err = errors.New("an array belongs to another device")
			case kind == 0 && a.parameter:
				err = fmt.Errorf("an array of shape %v is a parameter, not a feature map", a.shape)
			case kind == 1 && !a.parameter:
				err = fmt.Errorf("an array of shape %v is a feature map, not a parameter", a.shape)
			}
		}
	}
	return err
}

// alike refuses feature maps beside parameters.
func (d *Device) alike(err error, arrays ...kernels.Array) error {
	if err := d.check(err, nil, nil, arrays...); err != nil {
		return err
	}
	for _, a := range arrays[1:] {
		if a.(*array).parameter != arrays[0].(*array).parameter {
			return errors.New("a feature map stands beside a parameter")
		}
	}
	return nil
}

func list(a ...kernels.Array) []kernels.Array { return a }

// arr is the array behind a, an empty one where a is nil.
func arr(a kernels.Array) *array {
	if a == nil {
		return &array{}
	}
	return a.(*array)
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
