package kernels

import "math"

// MergeGroups is what GroupStatistics does, for backends whose parameters lie in
// the processor's memory. The squares of the deviations from a group's mean are
// those from the channels' own means, and those of these (Chan, Golub and
// LeVeque 1983).
func MergeGroups[T float32 | float64](mean, invstd []T, channels, groups int) {
	size := channels / groups
	for at := 0; at < len(mean); at += size {
		m, s := mean[at:at+size], invstd[at:at+size]
		centre, variance := 0.0, 0.0 // with ε
		for _, v := range m {
			centre += float64(v) / float64(size)
		}
		for i, v := range m {
			apart, inv := float64(v)-centre, float64(s[i])
			variance += (1/(inv*inv) + apart*apart) / float64(size)
		}
		for i := range m {
			m[i], s[i] = T(centre), T(1/math.Sqrt(variance))
		}
	}
}
