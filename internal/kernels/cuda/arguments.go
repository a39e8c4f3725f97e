//go:build cudnn || cudahost

package cuda

// The parameters of the kernels in kernels.cu, which describes them, field by
// field. Go lays out these types as C does.

type dims struct{ n, h, w, c, groups, chunks int32 }

type layoutArgs struct {
	data, flat ptr
	d          dims
}

type weightsArgs struct {
	packed, flat       ptr
	k, c, taps, groups int32
}

type source struct {
	data, mean, invstd, gamma, beta                 ptr
	h, w, up, mode, top, left, relu, sharedByImages int32
}

type readArgs struct {
	s       [2]source
	dst     ptr
	d       dims
	sources int32
}

type padBackwardArgs struct {
	dsrc, ddst            ptr
	d                     dims
	h, w, mode, top, left int32
}

type resampleArgs struct {
	dst, grad, src ptr
	d              dims
	h, w, k        int32
}

type pointwiseArgs struct {
	dst, a, b                ptr
	d                        dims
	function, channels, h, w int32
	low, high                float32
}

type channel struct {
	data                    ptr
	groups, c, plain, whole int32
}

type arrangeArgs struct {
	dst, from        ptr
	d                dims
	h, w, block, top int32
}

type betweenArgs struct {
	dst, src, rows, cols ptr // rows and cols: of kernels.Tap
	d                    dims
	h, w                 int32
}

type warpArgs struct {
	dst, src, flow ptr
	d              dims
	pairs          int32
}

type windowArgs struct {
	dst, src                                                  ptr
	d                                                         dims
	h, w, height, width, stride, top, left, average, countPad int32
}

type groupsArgs struct {
	mean, invstd ptr
	count        int64
	size         int32
}

type finishArgs struct {
	data, bias, moments ptr
	d                   dims
	relu                int32
}

type statisticsArgs struct {
	moments, mean, invstd ptr
	d                     dims
	batch                 int32
	eps                   float32
}

type normArgs struct {
	dsrc, ddst, src, mean, invstd, gamma, beta, sums, groups ptr
	d                                                        dims
	relu, batch                                              int32
}

type normTotalsArgs struct {
	sums, groups, dgamma, dbeta ptr
	d                           dims
	batch                       int32
}

type reluArgs struct {
	dst, src, result ptr
	groups           int64
}

type tanhArgs struct {
	dst, src, result ptr
	pixels           int64
	c, groups        int32
	scale, offset    float32
}

const terms = 8 // that one kernel adds up

type sumArgs struct {
	dst    ptr
	src    [terms]ptr
	weight [terms]float32
	by     ptr
	groups int64
	terms  int32
	fixed  int32
}

type dotsArgs struct {
	a     ptr
	b     [terms]ptr
	parts ptr
	count int64
	terms int32
}

type dotsTotalArgs struct {
	parts, out ptr
	count      int32
}

type totalArgs struct {
	parts, out ptr
	count      int32
	scale      float32
}

type mseArgs struct {
	a, b, parts, da, dloss ptr
	count, period          int64
	scale                  float32
}

type variationArgs struct {
	src, parts, dsrc, dloss ptr
	d                       dims
}

type gramArgs struct {
	packed, flat ptr
	n, c, groups int32
}

const pieceElements = 8 * blockThreads

type tensor struct {
	p, m, v, g ptr
	count      int64
}

type piece struct{ tensor, from int32 }

type adamSettings struct{ rate, root, beta1, rest1, beta2, rest2, eps, clip float32 }

type adamArgs struct{ tensors, pieces, settings, norm, parts ptr }
