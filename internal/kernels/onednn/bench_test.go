//go:build onednn && cgo

package onednn

import (
	"fmt"
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/profile"
)

// array4 makes an array of noise of that shape.
type array4 func(n, c, h, w int) kernels.Array

// bench binds a kernel to arrays of its own, feature maps and parameters, on a
// device of each precision, and reports the rates of the arithmetic and of the
// memory that package profile counts for it.
func bench(b *testing.B, name string, bind func(dev kernels.Device, maps, params array4) (kernels.Kernel, error)) {
	for _, precision := range []string{kernels.Float32, kernels.BF16} {
		b.Run(name+"/"+precision, func(b *testing.B) {
			d, err := Open(Options{Precision: precision})
			if err != nil {
				b.Skip(err)
			}
			defer d.Close()
			dev := profile.Wrap(d)
			array := func(make func(kernels.Shape) (kernels.Array, error)) array4 {
				return func(n, c, h, w int) kernels.Array {
					s := kernels.Shape{N: n, C: c, H: h, W: w}
					a, err := make(s)
					if err == nil {
						err = dev.Upload(a, noise(s.Elements()))
					}
					if err != nil {
						b.Fatal(err)
					}
					return a
				}
			}
			k, err := bind(dev, array(dev.NewActivation), array(dev.NewParameter))
			if err != nil {
				b.Fatal(err)
			}
			k() // packs weights
			dev.Forget()
			for b.Loop() {
				k()
			}
			b.StopTimer()
			if err := dev.Sync(); err != nil {
				b.Fatal(err)
			}
			for _, s := range dev.Stages() {
				if s.FLOPs > 0 {
					b.ReportMetric(s.FLOPs/s.Seconds/1e9, "GFLOP/s")
				}
				b.ReportMetric(s.Bytes/s.Seconds/1e9, "GB/s")
			}
		})
	}
}

// noise is n values from -1 to 1 without a pattern.
func noise(n int) []float32 {
	values := make([]float32, n)
	state := uint32(1)
	for i := range values {
		state = state*1664525 + 1013904223
		values[i] = float32(state>>8)/(1<<23) - 1
	}
	return values
}

// Convolutions as training has them: of the Johnson network, and of VGG-19,
// both at 256².
func BenchmarkConv(b *testing.B) {
	for _, c := range []struct {
		name                     string
		in, out, kernel, stride  int
		side                     int // of the result
		fusedUp, fusedPad, plain int // as inference has it: 0 for VGG-19
	}{
		{"Johnson first", 3, 32, 9, 1, 256, 1, 4, 1},
		{"Johnson down", 32, 64, 3, 2, 128, 1, 1, 0},
		{"Johnson residual", 128, 128, 3, 1, 64, 1, 1, 0},
		{"Johnson up", 128, 64, 3, 1, 128, 2, 1, 0},
		{"Johnson last", 32, 3, 9, 1, 256, 1, 4, 0},
		{"VGG conv1_2", 64, 64, 3, 1, 256, 0, 0, 0},
		{"VGG conv2_2", 128, 128, 3, 1, 128, 0, 0, 0},
		{"VGG conv3_2", 256, 256, 3, 1, 64, 0, 0, 0},
		{"VGG conv4_2", 512, 512, 3, 1, 32, 0, 0, 0},
	} {
		from := (c.side-1)*c.stride + c.kernel // of the padded source
		conv := kernels.Conv{Stride: c.stride}
		if c.fusedUp == 0 {
			from, conv.Pad = c.side, kernels.Same(1)
		}
		bench(b, c.name+"/forward", func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			frozen := conv
			frozen.Frozen = true
			return dev.Conv(maps(1, c.out, c.side, c.side), maps(1, c.in, from, from), params(c.out, c.in, c.kernel, c.kernel), params(1, c.out, 1, 1), frozen)
		})
		bench(b, c.name+"/backward data", func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			return dev.ConvBackwardData(maps(1, c.in, from, from), maps(1, c.out, c.side, c.side), params(c.out, c.in, c.kernel, c.kernel), nil, conv)
		})
		if c.fusedUp == 0 {
			continue // VGG-19 is not trained
		}
		bench(b, c.name+"/backward weights", func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			return dev.ConvBackwardWeights(params(c.out, c.in, c.kernel, c.kernel), params(1, c.out, 1, 1), maps(1, c.out, c.side, c.side), maps(1, c.in, from, from), conv)
		})
		bench(b, c.name+"/fused", func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			r := kernels.Read{Upsample: c.fusedUp, Mode: kernels.PadReflect, Pad: kernels.Same(c.fusedPad)}
			if c.plain == 0 {
				r.Mean, r.InvStd, r.Gamma, r.Beta = params(1, c.in, 1, 1), params(1, c.in, 1, 1), params(1, c.in, 1, 1), params(1, c.in, 1, 1)
				r.ReLU = true
			}
			var mean, invstd kernels.Array
			if c.out > 3 {
				mean, invstd = params(1, c.out, 1, 1), params(1, c.out, 1, 1)
			}
			side := (c.side + c.fusedUp - 1) * c.stride / c.fusedUp
			return dev.FusedConv(maps(1, c.out, c.side, c.side), mean, invstd, maps(1, c.in, side, side), r,
				params(c.out, c.in, c.kernel, c.kernel), params(1, c.out, 1, 1), kernels.Conv{Stride: c.stride, Frozen: true}, kernels.Norm{Eps: 1e-5})
		})
	}
}

// Kernels that move memory, at sizes of the Johnson network, and Gram matrices
// at those of VGG-19.
func BenchmarkMaps(b *testing.B) {
	for _, s := range []struct{ c, side int }{{32, 256}, {128, 64}} {
		name := func(what string) string { return fmt.Sprintf("%s %d×%d×%d", what, s.c, s.side, s.side) }
		relu := kernels.Norm{Eps: 1e-5, ReLU: true}
		bench(b, name("norm"), func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			return dev.Norm(maps(1, s.c, s.side, s.side), params(1, s.c, 1, 1), params(1, s.c, 1, 1), maps(1, s.c, s.side, s.side), params(1, s.c, 1, 1), params(1, s.c, 1, 1), relu)
		})
		bench(b, name("norm backward"), func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			return dev.NormBackward(maps(1, s.c, s.side, s.side), params(1, s.c, 1, 1), params(1, s.c, 1, 1), maps(1, s.c, s.side, s.side), maps(1, s.c, s.side, s.side),
				params(1, s.c, 1, 1), params(1, s.c, 1, 1), params(1, s.c, 1, 1), params(1, s.c, 1, 1), relu)
		})
		bench(b, name("fused sum"), func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			normed := kernels.Read{Mean: params(1, s.c, 1, 1), InvStd: params(1, s.c, 1, 1), Gamma: params(1, s.c, 1, 1), Beta: params(1, s.c, 1, 1)}
			return dev.FusedSum(maps(1, s.c, s.side, s.side), []kernels.Array{maps(1, s.c, s.side, s.side), maps(1, s.c, s.side, s.side)}, []kernels.Read{normed, {}})
		})
	}
	for _, s := range []struct{ c, side int }{{64, 256}, {512, 32}} {
		name := func(what string) string { return fmt.Sprintf("%s %d×%d×%d", what, s.c, s.side, s.side) }
		bench(b, name("gram"), func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			return dev.Gram(params(1, 1, s.c, s.c), maps(1, s.c, s.side, s.side))
		})
		bench(b, name("gram backward"), func(dev kernels.Device, maps, params array4) (kernels.Kernel, error) {
			return dev.GramBackward(maps(1, s.c, s.side, s.side), params(1, 1, s.c, s.c), maps(1, s.c, s.side, s.side))
		})
		bench(b, name("pool"), func(dev kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return dev.Pool(maps(1, s.c, s.side/2, s.side/2), maps(1, s.c, s.side, s.side), kernels.MaxPool)
		})
		bench(b, name("pool backward"), func(dev kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return dev.PoolBackward(maps(1, s.c, s.side, s.side), maps(1, s.c, s.side/2, s.side/2), maps(1, s.c, s.side, s.side), kernels.MaxPool)
		})
	}
}

// Between the host's layout and the device's.
func BenchmarkTransfer(b *testing.B) {
	for _, s := range []kernels.Shape{{N: 1, C: 3, H: 1080, W: 1920}, {N: 1, C: 64, H: 256, W: 256}} {
		values := make([]float32, s.Elements())
		transfer := func(name string, run func(dev kernels.Device, a kernels.Array) error) {
			bench(b, fmt.Sprintf("%s %d×%d×%d", name, s.C, s.H, s.W), func(dev kernels.Device, maps, _ array4) (kernels.Kernel, error) {
				a := maps(s.N, s.C, s.H, s.W)
				return func() {
					if err := run(dev, a); err != nil {
						b.Fatal(err)
					}
				}, nil
			})
		}
		transfer("import", func(dev kernels.Device, a kernels.Array) error { return dev.Upload(a, values) })
		transfer("export", func(dev kernels.Device, a kernels.Array) error { return dev.Download(values, a) })
	}
}

// Kernels of networks that others have trained, on maps of the sizes that they
// have at 1080p. Their rates are of memory.
func BenchmarkForward(b *testing.B) {
	taps := func(n int, linear bool) []kernels.Tap {
		all := make([]kernels.Tap, 2*n)
		for i := range all {
			all[i] = kernels.Tap{A: int32(i / 2), B: int32(min(i/2+1, n-1))}
			if linear {
				all[i].W = .25
			}
		}
		return all
	}
	squares := func(channels, block int) kernels.Arrangement {
		o := kernels.Arrangement{Block: block}
		for phase := range block * block {
			for c := range channels {
				o.From = append(o.From, c*block*block+phase)
			}
		}
		return o
	}
	list := func(a ...kernels.Array) []kernels.Array { return a }
	for name, bind := range map[string]func(d kernels.Device, maps, params array4) (kernels.Kernel, error){
		"leaky relu": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Pointwise(maps(1, 64, 540, 960), maps(1, 64, 540, 960), nil, kernels.Pointwise{Function: kernels.LeakyReLU, A: .2})
		},
		"sigmoid": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Pointwise(maps(1, 64, 540, 960), maps(1, 64, 540, 960), nil, kernels.Pointwise{Function: kernels.Sigmoid})
		},
		"times one channel": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Pointwise(maps(1, 64, 540, 960), maps(1, 64, 540, 960), maps(1, 1, 540, 960), kernels.Pointwise{Function: kernels.Multiply})
		},
		"concat 32+32": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Arrange(maps(1, 64, 540, 960), list(maps(1, 32, 540, 960), maps(1, 32, 540, 960)), squares(64, 1))
		},
		"concat 3+61": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Arrange(maps(1, 64, 540, 960), list(maps(1, 3, 540, 960), maps(1, 61, 540, 960)), squares(64, 1))
		},
		"pixel shuffle 128 to 32": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Arrange(maps(1, 32, 540, 960), list(maps(1, 128, 270, 480)), squares(32, 2))
		},
		"pixel shuffle 12 to 3": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Arrange(maps(1, 3, 1080, 1920), list(maps(1, 12, 540, 960)), squares(3, 2))
		},
		"linear 64": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Resample(maps(1, 64, 540, 960), maps(1, 64, 270, 480), taps(270, true), taps(480, true))
		},
		"nearest 64": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Resample(maps(1, 64, 540, 960), maps(1, 64, 270, 480), taps(270, false), taps(480, false))
		},
		"linear 3": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.Resample(maps(1, 3, 1080, 1920), maps(1, 3, 540, 960), taps(540, true), taps(960, true))
		},
		"max 3×3": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.WindowPool(maps(1, 64, 270, 480), maps(1, 64, 540, 960), kernels.Window{Height: 3, Width: 3, Stride: 2, Pad: kernels.Same(1)})
		},
		"average of all": func(d kernels.Device, maps, _ array4) (kernels.Kernel, error) {
			return d.WindowPool(maps(1, 64, 1, 1), maps(1, 64, 540, 960), kernels.Window{Kind: kernels.AvgPool, Height: 540, Width: 960, Stride: 1})
		},
	} {
		bench(b, name, bind)
	}
}
