package inference

import (
	"math"
	"math/rand/v2"
	"testing"

	"stylenet/internal/devices"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Moments and what Restyle makes of them agree with their definitions, image by
// image and channel by channel.
func TestMoments(t *testing.T) {
	dev, err := devices.Open("auto", devices.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	shape := kernels.Shape{N: 2, C: 5, H: 7, W: 6}
	area := shape.H * shape.W
	rnd := rand.New(rand.NewPCG(1, 2))
	var maps, styles [][]float32
	for range 2 {
		for range shape.N * shape.C {
			m, s := make([]float32, area), make([]float32, area)
			offset, scale := 3*rnd.NormFloat64(), 2*rnd.Float64()
			for i := range m {
				m[i], s[i] = float32(rnd.NormFloat64()), float32(offset+scale*rnd.NormFloat64())
			}
			maps, styles = append(maps, m), append(styles, s)
		}
	}
	maps, styles = maps[:shape.N*shape.C], styles[:shape.N*shape.C]
	for i := range styles[3] {
		styles[3][i] = 1.5 // a channel that does not vary
	}
	upload := func(values [][]float32) kernels.Array {
		a, err := dev.NewActivation(shape)
		if err != nil {
			t.Fatal(err)
		}
		var all []float32
		for _, v := range values {
			all = append(all, v...)
		}
		if err := dev.Upload(a, all); err != nil {
			t.Fatal(err)
		}
		return a
	}
	download := func(a kernels.Array) []float32 {
		values := make([]float32, a.Shape().Elements())
		if err := dev.Download(values, a); err != nil {
			t.Fatal(err)
		}
		return values
	}
	m, err := NewMoments(dev, shape)
	if err != nil {
		t.Fatal(err)
	}
	src, style, dst := upload(maps), upload(styles), upload(maps)
	moments, err := dev.NewActivation(m.Shape())
	if err != nil {
		t.Fatal(err)
	}
	measure, err := m.Measure(dev, moments, style)
	if err != nil {
		t.Fatal(err)
	}
	restyle, err := m.Restyle(dev, dst, src, moments)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is bound once runs again
		measure()
		restyle()
	}
	got, restyled := download(moments), download(dst)
	for i, values := range styles {
		n, c := i/shape.C, i%shape.C
		mean, deviation := meanAndDeviation(values)
		gotMean, gotDeviation := float64(got[n*2*shape.C+c]), float64(got[n*2*shape.C+shape.C+c])
		deviation *= deviation / math.Sqrt(deviation*deviation+networks.AdaINEps)
		if math.Abs(gotMean-mean) > 1e-5 || math.Abs(gotDeviation-deviation) > 1e-4 {
			t.Errorf("map %d: mean %g and deviation %g, want %g and %g", i, gotMean, gotDeviation, mean, deviation)
		}
		own, spread := meanAndDeviation(maps[i])
		for k, v := range restyled[i*area:][:area] {
			want := deviation*(float64(maps[i][k])-own)/math.Sqrt(spread*spread+networks.AdaINEps) + mean
			if math.Abs(float64(v)-want) > 1e-4 {
				t.Fatalf("map %d: the value %d is %g, want %g", i, k, v, want)
			}
		}
	}
	if same := download(src); same[3] != maps[0][3] {
		t.Error("the source has changed")
	}
}

func meanAndDeviation(values []float32) (mean, deviation float64) {
	for _, v := range values {
		mean += float64(v) / float64(len(values))
	}
	for _, v := range values {
		deviation += (float64(v) - mean) * (float64(v) - mean) / float64(len(values))
	}
	return mean, math.Sqrt(deviation)
}
