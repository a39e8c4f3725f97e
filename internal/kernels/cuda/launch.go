//go:build cudnn || cudahost

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"stylenet/internal/kernels"
)

// How many blocks a multiprocessor gets at the most. Those that add something up
// leave a part each, which a second kernel reads.
const (
	streaming = 8
	adding    = 4
)

// over is what a kernel that goes over all pixels of maps of that shape runs
// over: at least 4 pixels for a thread, where that leaves no multiprocessor
// without work.
func (e *engine) over(s kernels.Shape, perSM int) dims {
	groups := groupsOf(s.C)
	blocks, rows := (groups+31)/32, blockThreads/min(groups, 32)
	pixels := s.H * s.W
	chunks := min((pixels+4*rows-1)/(4*rows), max(1, perSM*e.about.sms/(s.N*blocks)))
	return dims{int32(s.N), int32(s.H), int32(s.W), int32(s.C), int32(groups), int32(chunks)}
}

// parts is the number of chunks of all images, and grid that of blocks.
func (d dims) parts() int { return int(d.n * d.chunks) }
func (d dims) grid() int  { return d.parts() * (int(d.groups+31) / 32) }

// partBytes is the memory for so many floats of each channel of each part.
func (d dims) partBytes(floats int) int { return d.parts() * floats * int(d.groups) * lanes * 4 }

// flat is the number of blocks of a kernel that goes over so many items.
func (e *engine) flat(items int) int {
	return max(1, min((items+blockThreads-1)/blockThreads, streaming*e.about.sms))
}

func suffix(e element) string {
	if e == bfloat16Element {
		return "_bf16"
	}
	return "_f32"
}

// plan is a kernel of the contract while it is bound: the launches that it is
// made of, and the scratch memory that these share.
type plan struct {
	d       *Device
	steps   []func()
	bytes   int
	fields  []*ptr // of the parameters, that point into scratch memory
	offsets []int
	base    ptr // of the scratch memory that they point to
}

func (d *Device) plan() *plan { return &plan{d: d} }

// scratch sets the fields to memory that is the kernel's while it runs.
func (p *plan) scratch(bytes int, fields ...*ptr) {
	for _, f := range fields {
		p.fields, p.offsets = append(p.fields, f), append(p.offsets, p.bytes)
	}
	p.bytes += align(bytes, alignment)
}

func (p *plan) call(step func()) { p.steps = append(p.steps, step) }

// launch adds a kernel of kernels.cu, whose parameter is read when it is
// launched.
func launch[Args any](p *plan, kernel string, e element, grid int, args *Args) {
	drv, name, bytes := p.d.driver, kernel+suffix(e), int(unsafe.Sizeof(*args))
	p.call(func() { drv.launch(name, grid, unsafe.Pointer(args), bytes) })
}

func (p *plan) kernel() (kernels.Kernel, error) {
	if err := p.d.reserve(p.bytes); err != nil {
		return nil, err
	}
	return p.run, nil
}

func (p *plan) run() {
	d := p.d
	switch {
	case d.closed || d.engine.closed:
		d.fail(errClosed)
		return
	case p.bytes > d.scratch.bytes:
		d.fail(errors.New("cuda: scratch memory was lost when there was too little memory for more"))
		return
	case p.base != d.scratch.data:
		p.base = d.scratch.data
		for i, f := range p.fields {
			*f = p.base + ptr(p.offsets[i])
		}
	}
	for _, step := range p.steps {
		step()
	}
}

// recording is a sequence of launches that the driver runs at once.
type recording struct {
	before  []func() error // what happens ahead of each run
	scratch *block         // where it was
	run     func()
	free    func()
}

// Record returns a kernel that does what sequence, which launches kernels of d
// and of its scopes and nothing else, does: it calls it once, records what it
// launches in the second run, and from then on has the GPU run that as a whole. A
// driver that cannot record is no error: the launches stay single ones.
func (d *Device) Record(sequence func()) kernels.Kernel {
	var r *recording
	runs, single := 0, false
	d.cleanup = append(d.cleanup, func() {
		if r != nil {
			r.free()
		}
	})
	return func() {
		if d.recording != nil { // it is part of another sequence
			sequence()
			return
		}
		runs++
		if d.closed || d.engine.closed {
			d.fail(errClosed)
			return
		}
		if r != nil && r.scratch != d.scratch {
			r.free()
			r = nil
		}
		if r == nil && runs > 1 && !single {
			var err error
			if r, err = d.recorded(sequence); err != nil {
				single = true
			}
		}
		if r == nil {
			sequence()
			return
		}
		for _, before := range r.before {
			if err := before(); err != nil {
				d.fail(err)
				return
			}
		}
		r.run()
	}
}

func (d *Device) recorded(sequence func()) (*recording, error) {
	if d.recording != nil {
		return nil, errors.New("cuda: launches are being recorded already")
	}
	if err := d.driver.sync(); err != nil { // of the launches before, not of the recording
		d.fail(err)
	}
	if err := d.driver.record(); err != nil {
		return nil, err
	}
	r := &recording{scratch: d.scratch}
	d.recording = r
	sequence()
	d.recording = nil
	var err error
	if r.run, r.free, err = d.driver.replay(); err != nil {
		return nil, fmt.Errorf("cuda: recorded launches: %w", err)
	}
	return r, nil
}
