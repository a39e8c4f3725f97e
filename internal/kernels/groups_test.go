package kernels

import (
	"math"
	"testing"
)

// The statistics of 2 groups of 2 channels, for 2 images, are those of the
// values themselves.
func TestMergeGroups(t *testing.T) {
	const eps, channels, groups, pixels = 1e-3, 4, 2, 3
	values := []float64{
		1, 2, 3, 10, 20, 60, 0, 0, 0, -1, 5, 5,
		-7, 7, 0, 1e4, 1e4 + 1, 1e4 + 2, 4, 4, 4, 4, 4, 4,
	}
	statistics := func(v []float64) (mean, invstd float64) {
		variance := 0.0
		for _, x := range v {
			mean += x / float64(len(v))
		}
		for _, x := range v {
			variance += (x - mean) * (x - mean) / float64(len(v))
		}
		return mean, 1 / math.Sqrt(variance+eps)
	}
	var mean, invstd []float64
	for at := 0; at < len(values); at += pixels {
		m, s := statistics(values[at : at+pixels])
		mean, invstd = append(mean, m), append(invstd, s)
	}
	MergeGroups(mean, invstd, channels, groups)
	for i := range mean {
		first := i / 2 * 2 * pixels
		m, s := statistics(values[first : first+2*pixels])
		if math.Abs(mean[i]-m) > 1e-9*(1+math.Abs(m)) || math.Abs(invstd[i]-s) > 1e-9*s {
			t.Errorf("channel %d has %g and %g, its group %g and %g", i, mean[i], invstd[i], m, s)
		}
	}
}
