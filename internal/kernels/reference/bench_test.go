package reference

import (
	"testing"

	"stylenet/internal/kernels"
)

// The layers where most of the work of the style network lies.
func BenchmarkConv(b *testing.B) {
	for _, c := range []struct {
		name          string
		in, out, k, s int
		size          int
	}{
		{"128x128x3s1", 128, 128, 3, 1, 64},
		{"32x3x9s1", 32, 3, 9, 1, 256},
		{"32x64x3s2", 32, 64, 3, 2, 256},
	} {
		d := New(0)
		pad := c.k / 2
		out := (c.size+2*pad-c.k)/c.s + 1
		conv := kernels.Conv{Stride: c.s, Pad: kernels.Same(pad)}
		x, _ := d.NewActivation(kernels.Shape{N: 1, C: c.in, H: c.size, W: c.size})
		y, _ := d.NewActivation(kernels.Shape{N: 1, C: c.out, H: out, W: out})
		w, _ := d.NewParameter(kernels.Shape{N: c.out, C: c.in, H: c.k, W: c.k})
		mac := int64(out * out * c.in * c.out * c.k * c.k)
		run := func(name string, k kernels.Kernel, err error) {
			if err != nil {
				b.Fatal(err)
			}
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					k()
				}
				b.ReportMetric(float64(mac)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
		k, err := d.Conv(y, x, w, nil, conv)
		run("forward", k, err)
		k, err = d.ConvBackwardData(x, y, w, nil, conv)
		run("data", k, err)
		k, err = d.ConvBackwardWeights(w, nil, y, x, conv)
		run("weights", k, err)
	}
}
