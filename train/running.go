package train

import (
	"math"

	"stylenet/internal/autodiff"
	"stylenet/internal/kernels"
	"stylenet/internal/weights"
)

// momentum is how much of a step's statistics goes into the running ones,
// PyTorch's default.
const momentum = 0.1

// runningStats keeps the running mean and (unbiased) variance of batch norms,
// which inference normalises with.
type runningStats struct {
	dev    kernels.Device
	layers []autodiff.Statistics
	set    *weights.Set
}

// update takes in the statistics of the step that was just run.
func (s *runningStats) update() error {
	for _, l := range s.layers {
		mean, variance := s.set.Get(l.Name+".running_mean").Data, s.set.Get(l.Name+".running_var").Data
		m, invstd := make([]float32, len(mean)), make([]float32, len(mean))
		if err := s.dev.Download(m, l.Mean()); err != nil {
			return err
		}
		if err := s.dev.Download(invstd, l.InvStd()); err != nil {
			return err
		}
		unbiased := float64(l.Count) / math.Max(1, float64(l.Count-1))
		for c := range mean {
			v := 1/(float64(invstd[c])*float64(invstd[c])) - float64(l.Eps)
			mean[c] += momentum * (m[c] - mean[c])
			variance[c] += float32(momentum * (v*unbiased - float64(variance[c])))
		}
	}
	return nil
}
