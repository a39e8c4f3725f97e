//go:build onednn && cgo

package onednn

// #include "calls.h"
// #include "limits.h"
import "C"

import (
	"fmt"

	"stylenet/internal/kernels"
)

var _ kernels.Limits = (*Device)(nil)

// PeakFLOPS measures multiply-adds of the instruction set of our own kernels.
func (d *Device) PeakFLOPS() (float64, error) {
	var rate C.double
	err := d.do(func() error {
		rate = C.sn_peak_flops(d.table.name, C.int(d.options.Threads))
		return nil
	})
	return float64(rate), err
}

// Bandwidth measures copies.
func (d *Device) Bandwidth(bytes int) (float64, error) {
	var rate C.double
	err := d.do(func() error {
		rate = C.sn_bandwidth(C.size_t(max(bytes, 1)), C.int(d.options.Threads))
		if rate == 0 {
			return fmt.Errorf("onednn: no memory for a copy of %d bytes", bytes)
		}
		return nil
	})
	return float64(rate), err
}
