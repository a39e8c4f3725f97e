//go:build onednn && cgo

package onednn

import (
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/kerneltest"
)

// Every instruction set of our own kernels that this processor has, with
// direct convolutions, and Winograd's with its own tolerance.
func TestConformance(t *testing.T) {
	bf16 := 1.0 / 256 // half a unit in the last place, relative
	for _, c := range []struct {
		name    string
		options Options
		tol     kerneltest.Tolerance
	}{
		{"exact", Options{Exact: true}, kerneltest.Tolerance{Conv: 1e-6, Rest: 2e-6}},
		{"winograd", Options{}, kerneltest.Tolerance{Conv: 1e-5, Rest: 2e-6}},
		{"avx2", Options{ISA: "avx2", Exact: true}, kerneltest.Tolerance{Conv: 1e-6, Rest: 2e-6}},
		// Weights are rounded on their way into a convolution, Gram matrices'
		// gradients on theirs, and maps when they are written.
		{"bf16 direct", Options{Precision: kernels.BF16, Exact: true}, kerneltest.Tolerance{Conv: bf16, Rest: 2e-6, Rounding: 2 * bf16}},
		// Winograd's transforms enlarge what rounding their sources costs.
		{"bf16", Options{Precision: kernels.BF16}, kerneltest.Tolerance{Conv: 16 * bf16, Rest: 2e-6, Rounding: 2 * bf16}},
		{"base on one thread", Options{ISA: "base", Exact: true, Threads: 1}, kerneltest.Tolerance{Conv: 1e-6, Rest: 2e-6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(t *testing.T) kernels.Device {
				d, err := Open(c.options)
				if err != nil {
					t.Skipf("another processor is needed: %v", err)
				}
				return d
			}
			kerneltest.Run(t, open, c.tol)
		})
	}
}
