// Package profile measures the kernels of a device where they run: in a network,
// with its arrays, in their order.
//
// It owns what a kernel costs: the arithmetic that it does by its definition and
// the bytes that it cannot help moving. It refuses to know networks and devices.
package profile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stylenet/internal/kernels"
)

// Stage is one or more kernels of the same kind and shapes.
type Stage struct {
	Name    string  `json:"name"`
	Kernels int     `json:"kernels"` // bound and launched
	FLOPs   float64 `json:"flops"`   // of all of them, launched once; see Device
	Bytes   float64 `json:"bytes"`   // likewise: each array of a kernel once
	Seconds float64 `json:"seconds"` // the sum of each kernel's fastest launch
}

// Device is a device whose kernels are waited for, one by one, and timed. The
// arithmetic is that of convolutions and Gram matrices computed directly, a
// multiply-add being two operations; that of all other kernels is not counted,
// as moving their arrays takes longer.
type Device struct {
	kernels.Device
	log *log
}

// log is what a device shares with its scopes.
type log struct {
	entries    []*entry
	activation map[kernels.Array]bool
	err        error // of a launch
}

// entry is a bound kernel.
type entry struct {
	name         string
	flops, bytes float64
	best         time.Duration // 0: never launched
}

// Wrap returns a device that does what dev does, and measures it.
func Wrap(dev kernels.Device) *Device {
	return &Device{dev, &log{activation: map[kernels.Array]bool{}}}
}

// Stages lists what was launched, in the order in which it was bound first.
func (d *Device) Stages() []Stage {
	var stages []Stage
	index := map[string]int{}
	for _, e := range d.log.entries {
		if e.best == 0 {
			continue
		}
		i, ok := index[e.name]
		if !ok {
			i = len(stages)
			index[e.name] = i
			stages = append(stages, Stage{Name: e.name})
		}
		s := &stages[i]
		s.Kernels++
		s.FLOPs += e.flops
		s.Bytes += e.bytes
		s.Seconds += e.best.Seconds()
	}
	return stages
}

// Forget drops what was launched so far. Kernels that are launched again count.
func (d *Device) Forget() {
	for _, e := range d.log.entries {
		e.best = 0
	}
}

// NewActivation makes an array for feature maps.
func (d *Device) NewActivation(s kernels.Shape) (kernels.Array, error) {
	a, err := d.Device.NewActivation(s)
	if err == nil {
		d.log.activation[a] = true
	}
	return a, err
}

// NewActivations makes arrays for feature maps that share memory.
func (d *Device) NewActivations(s []kernels.Shape, lives []kernels.Life) ([]kernels.Array, error) {
	arrays, err := d.Device.NewActivations(s, lives)
	for _, a := range arrays {
		d.log.activation[a] = true
	}
	return arrays, err
}

// Scope opens a scope that is measured, too.
func (d *Device) Scope() kernels.Device { return &Device{d.Device.Scope(), d.log} }

// Sync waits for all launches and returns their first error.
func (d *Device) Sync() error {
	err := errors.Join(d.log.err, d.Device.Sync())
	d.log.err = nil
	return err
}

// Upload copies values to the device.
func (d *Device) Upload(dst kernels.Array, src []float32) error {
	return d.copy("upload", dst, func() error { return d.Device.Upload(dst, src) })
}

// Download waits for all launches and copies values back.
func (d *Device) Download(dst []float32, src kernels.Array) error {
	err := d.copy("download", src, func() error { return d.Device.Download(dst, src) })
	err = errors.Join(d.log.err, err)
	d.log.err = nil
	return err
}

// copy times the transfer of feature maps. Parameters are copied once, before
// anything is measured.
func (d *Device) copy(what string, a kernels.Array, run func() error) error {
	if !d.log.activation[a] {
		return run()
	}
	name := what + " " + text(a)
	i := slices.IndexFunc(d.log.entries, func(e *entry) bool { return e.name == name })
	if i < 0 {
		i = len(d.log.entries)
		d.log.entries = append(d.log.entries, &entry{name: name, bytes: d.bytes(a) + 4*float64(a.Shape().Elements())})
	}
	start := time.Now()
	err := run()
	d.log.entries[i].took(start)
	return err
}

func (e *entry) took(start time.Time) {
	if t := max(1, time.Since(start)); e.best == 0 || t < e.best {
		e.best = t
	}
}

// bytes is what the values of arrays take. Arrays may be nil.
func (d *Device) bytes(arrays ...kernels.Array) float64 {
	sum := int64(0)
	for _, a := range arrays {
		switch {
		case a == nil:
		case d.log.activation[a]:
			sum += d.MapBytes(a.Shape())
		default:
			sum += 4 * int64(a.Shape().Elements())
		}
	}
	return float64(sum)
}

// bound measures a kernel that reads and writes those arrays.
func (d *Device) bound(k kernels.Kernel, name string, flops float64, arrays ...kernels.Array) (kernels.Kernel, error) {
	e := &entry{name: name, flops: flops, bytes: d.bytes(arrays...)}
	d.log.entries = append(d.log.entries, e)
	return func() {
		start := time.Now()
		k()
		err := d.Device.Sync()
		e.took(start)
		if d.log.err == nil {
			d.log.err = err
		}
	}, nil
}

// text is an array's shape: C×H×W, after the number of images where there are
// several.
func text(a kernels.Array) string {
	s := a.Shape()
	t := fmt.Sprintf("%d×%d×%d", s.C, s.H, s.W)
	if s.N > 1 {
		t = fmt.Sprintf("%d·%s", s.N, t)
	}
	return t
}

// convolution names a convolution by its kernel, its channels and its result.
func convolution(what string, w, result kernels.Array, c kernels.Conv) string {
	s := w.Shape()
	stride := ""
	if c.Stride > 1 {
		stride = fmt.Sprintf(", stride %d", c.Stride)
	}
	return fmt.Sprintf("%s %d×%d%s, %d to %s", what, s.H, s.W, stride, s.N*s.C/max(1, result.Shape().C), text(result))
}

// multiplyAdds is the arithmetic of a convolution with weights w whose result,
// in the forward direction, is y.
func multiplyAdds(w, y kernels.Array) float64 {
	s := w.Shape()
	return 2 * float64(y.Shape().Elements()) * float64(s.C*s.H*s.W)
}

// outer is the arithmetic of a Gram matrix.
func outer(src kernels.Array) float64 {
	return 2 * float64(src.Shape().Elements()) * float64(src.Shape().C)
}
