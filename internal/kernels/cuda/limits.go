//go:build cudnn || cudahost

package cuda

import (
	"fmt"
	"time"
	"unsafe"

	"stylenet/internal/kernels"
)

var _ kernels.Limits = (*Device)(nil)

// enough is how long a measurement has to take.
const enough = 20 * time.Millisecond

// PeakFLOPS measures matrix products, the largest that fit into that time.
func (d *Device) PeakFLOPS() (float64, error) {
	elem := d.options.element()
	for n := 256; ; n *= 2 {
		a, err := d.allocate(3 * n * n * 4)
		if err != nil {
			return 0, err
		}
		at := func(i int) ptr { return a.data + ptr(i*n*n*4) }
		d.driver.zero(a.data, a.bytes)
		spec := gemmSpec{m: n, n: n, k: n, alpha: 1, elem: elem, out: elem, batch: 1, exact: d.options.Exact}
		took, err := d.timed(func() { d.driver.gemm(spec, at(0), at(1), at(2)) })
		d.drop(a)
		if err != nil {
			return 0, err
		}
		if took > enough || n >= 8192 {
			return 2 * float64(n) * float64(n) * float64(n) / took.Seconds(), nil
		}
	}
}

// Bandwidth measures the kernel that copies maps.
func (d *Device) Bandwidth(bytes int) (float64, error) {
	vector := lanes * float32Element.bytes()
	half := align(max(bytes/2, 1), vector)
	a, err := d.allocate(2 * half)
	if err != nil {
		return 0, err
	}
	defer d.drop(a)
	d.driver.zero(a.data, a.bytes)
	args := reluArgs{dst: a.data, src: a.data + ptr(half), groups: int64(half / vector)}
	took, err := d.timed(func() {
		d.driver.launch("relu_f32", d.flat(half/vector), unsafe.Pointer(&args), int(unsafe.Sizeof(args)))
	})
	return 2 * float64(half) / took.Seconds(), err
}

// timed returns how long one of several runs takes, the first not counted.
func (d *Device) timed(run func()) (time.Duration, error) {
	run()
	if err := d.Sync(); err != nil {
		return 0, fmt.Errorf("cuda: measurement: %w", err)
	}
	start, runs := time.Now(), 0
	for ; runs < 100 && time.Since(start) < enough; runs += 5 {
		for range 5 {
			run()
		}
		if err := d.Sync(); err != nil {
			return 0, fmt.Errorf("cuda: measurement: %w", err)
		}
	}
	return time.Since(start) / time.Duration(runs), nil
}
