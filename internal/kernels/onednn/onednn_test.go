//go:build onednn && cgo

package onednn

import (
	"math"
	"testing"
	"unsafe"

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

// Kernels that run forward alone leave zeros in the lanes behind the last
// channel, whatever lay there, in blocks of maps that others read whole.
func TestPaddingLanes(t *testing.T) {
	for _, isa := range []string{"avx512", "base"} {
		d, err := Open(Options{ISA: isa})
		if err != nil {
			t.Logf("%s: another processor is needed: %v", isa, err)
			continue
		}
		const channels = 20
		fresh := func(c, h, w int) *array {
			a, err := d.newArray(kernels.Shape{N: 2, C: c, H: h, W: w}, false)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		x, y, pair := fresh(channels, 4, 6), fresh(channels, 4, 6), fresh(4*channels, 2, 3)
		one, flow, slopes := fresh(1, 4, 6), fresh(2, 4, 6), filled(t, d, kernels.Vector(channels))
		for _, a := range []*array{x, pair, one, flow} {
			if err := d.Upload(a, noise(a.shape.Elements())); err != nil {
				t.Fatal(err)
			}
		}
		window := kernels.Window{Kind: kernels.AvgPool, Height: 3, Width: 3, Stride: 1, Pad: kernels.Same(1), CountPad: true}
		squares := kernels.Arrangement{Block: 2}
		for phase := range 4 {
			for c := range channels {
				squares.From = append(squares.From, 4*c+phase)
			}
		}
		taps := func(n int) []kernels.Tap { return make([]kernels.Tap, n) }
		bind := map[string]func() (kernels.Kernel, error){
			"sigmoid": func() (kernels.Kernel, error) {
				return d.Pointwise(y, x, nil, kernels.Pointwise{Function: kernels.Sigmoid})
			},
			"clip": func() (kernels.Kernel, error) {
				return d.Pointwise(y, x, nil, kernels.Pointwise{Function: kernels.Clip, A: 1, B: 2})
			},
			"prelu": func() (kernels.Kernel, error) {
				return d.Pointwise(y, x, slopes, kernels.Pointwise{Function: kernels.PReLU})
			},
			"add": func() (kernels.Kernel, error) {
				return d.Pointwise(y, x, one, kernels.Pointwise{Function: kernels.Add})
			},
			"divide": func() (kernels.Kernel, error) {
				return d.Pointwise(y, x, x, kernels.Pointwise{Function: kernels.Divide})
			},
			"arrange":  func() (kernels.Kernel, error) { return d.Arrange(y, []kernels.Array{pair}, squares) },
			"resample": func() (kernels.Kernel, error) { return d.Resample(y, x, taps(4), taps(6)) },
			"warp":     func() (kernels.Kernel, error) { return d.Warp(y, x, flow, false) },
			"pool":     func() (kernels.Kernel, error) { return d.WindowPool(y, x, window) },
		}
		for name, bind := range bind {
			k, err := bind()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			values, blk := unsafe.Slice((*float32)(y.data), int(y.count)), int(y.dims.blk)
			for i := range values {
				values[i] = float32(math.NaN())
			}
			k()
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				spans := (channels + blk - 1) / blk
				if c := i/(4*6*blk)%spans*blk + i%blk; c >= channels && v != 0 || v != v {
					t.Fatalf("%s, %s: channel %d of %d holds %g", isa, name, c, channels, v)
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func filled(t *testing.T, d *Device, s kernels.Shape) kernels.Array {
	t.Helper()
	a, err := d.NewParameter(s)
	if err == nil {
		err = d.Upload(a, noise(s.Elements()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}
