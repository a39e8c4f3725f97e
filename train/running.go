package train

import (
	"math"

	"stylenet/internal/autodiff"
	"stylenet/internal/weights"
)

// momentum is how much of a step's statistics goes into the running ones,
// PyTorch's default.
const momentum = 0.1

// runningStats keeps the running mean and (unbiased) variance of batch norms,
// which inference normalises with.
type runningStats struct{ set *weights.Set }

// update takes in what a batch norm saw in a step.
func (s runningStats) update(l autodiff.Statistics, m, invstd []float32) {
	mean, variance := s.set.Get(l.Name+".running_mean").Data, s.set.Get(l.Name+".running_var").Data
	unbiased := float64(l.Count) / math.Max(1, float64(l.Count-1))
	for c := range mean {
		v := 1/(float64(invstd[c])*float64(invstd[c])) - float64(l.Eps)
		mean[c] += momentum * (m[c] - mean[c])
		variance[c] += float32(momentum * (v*unbiased - float64(variance[c])))
	}
}
