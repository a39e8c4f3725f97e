package optimize

import "stylenet/internal/kernels"

// Bytes is about what a process takes at a scale on a processor, with style
// layers down to relu5_1, by what was measured with package onednn at 256² to
// 1024² (docs/optimize.md). Nothing of one scale is kept at the next, so that the
// last one decides. history is L-BFGS', 0 for Adam.
func Bytes(s Scale, history int, precision string) int64 {
	base, pixel := int64(600)<<20, int64(2350)
	if precision == kernels.BF16 {
		base, pixel = 380<<20, 1250
	}
	const pair = 2 * 3 * 4 // a step and a change of the gradient
	return base + (pixel+pair*int64(history))*int64(s.W)*int64(s.H)
}
