// Package kernels is the contract between networks and the devices that run
// them: opaque arrays, and one method for each kernel.
//
// It owns the meaning of every kernel and the checks of its arguments. It
// refuses to know any layout, library or network. Backends are subpackages;
// package reference is the truth that the others are measured against, and
// package kerneltest is the suite that holds them to it.
package kernels

// Shape counts images, channels, rows and columns. Convolution weights are
// (output channels, input channels, kernel rows, kernel columns), a vector
// over channels is (1, C, 1, 1), a Gram matrix is (N, 1, C, C) and a scalar is
// (1, 1, 1, 1).
type Shape struct{ N, C, H, W int }

// Vector is the shape of one value for each of c channels.
func Vector(c int) Shape { return Shape{1, c, 1, 1} }

// Scalar is the shape of a single value.
func Scalar() Shape { return Shape{1, 1, 1, 1} }

// Elements returns the number of values, padding of the device's layout not
// counted.
func (s Shape) Elements() int { return s.N * s.C * s.H * s.W }

// Array is a block of values on a device, in a layout and a precision that only
// the device knows; float32 values go to it and come back. An Array belongs to the device that made it.
type Array interface {
	Shape() Shape
}

// Kernel is a kernel bound to its arrays. Calling it launches one run and
// returns at once; runs happen in the order of their launches. A run that
// fails makes the next Sync or Download of the device fail. Calling a kernel
// allocates no array.
type Kernel func()

// Device makes arrays and binds kernels to them. Binding checks the arguments
// and returns an error; a bound kernel cannot be misused any more. Binding,
// Upload, Download, Sync and launches may come from different goroutines, but
// not at the same time.
//
// Destinations come first. A destination may not be one of the sources except
// where a method says so. Every element of a destination is written, and
// sources are left unchanged.
//
// Feature maps and their gradients are activations. Weights, vectors,
// statistics, Gram matrices and losses are parameters. Sum, Combine, Dots and MSE
// take either, but not both at once.
type Device interface {
	// Info says what the device is.
	Info() Info

	// NewActivation makes an array for feature maps, in the layout the device
	// likes best for them. NewParameter makes one for weights, vectors,
	// matrices and scalars. Contents are undefined until written.
	NewActivation(s Shape) (Array, error)
	NewParameter(s Shape) (Array, error)

	// NewActivations makes arrays for feature maps that share memory where they
	// are not needed at the same time. The i-th one is needed from the launch
	// lives[i].First, which writes it, to lives[i].Last; a launch is one kernel
	// bound to any of them.
	NewActivations(s []Shape, lives []Life) ([]Array, error)

	// MapBytes is the memory that an activation of that shape takes, what the
	// device's layout adds to it included.
	MapBytes(s Shape) int64

	// Release hands an array's memory back for the arrays made after it.
	// Kernels that were bound to the array before keep working on that memory:
	// released memory may be shared by arrays whose values are never needed at
	// the same time, in the order in which the kernels are launched.
	Release(a Array)

	// Upload copies values in row-major N, C, H, W order to the device, after
	// all launches before it. Download waits for all launches, copies back and
	// returns the first error of any launch since the last Download or Sync.
	Upload(dst Array, src []float32) error
	Download(dst []float32, src Array) error
	Sync() error

	// PeakBytes is the most memory that the device has held at once.
	PeakBytes() int64

	// Scope opens a device on the same hardware and queue, with the same
	// settings, whose Close frees the arrays and kernels made through it and
	// nothing else. Kernels of a scope may use arrays of the device that it was
	// opened from.
	Scope() Device

	// Close waits for all launches and frees everything that was made through
	// this device.
	Close() error

	// Pad puts a border around each map: zeros, the mirrored inside without
	// the edge pixel (reflect), or the repeated edge. Negative amounts crop
	// and are allowed with PadZero alone.
	Pad(dst, src Array, mode PadMode, p Padding) (Kernel, error)
	// PadBackward sums the gradient of the padded map into that of its source.
	PadBackward(dsrc, ddst Array, mode PadMode, p Padding) (Kernel, error)

	// Conv is the cross-correlation dst = w ⋆ src + bias, with c.ReLU followed
	// by max(0, ·). bias may be nil.
	Conv(dst, src, w, bias Array, c Conv) (Kernel, error)
	// ConvBackwardData is the gradient of Conv (without ReLU) for its source:
	// the transposed convolution. A bias over dsrc's channels is added unless
	// it is nil, which makes it the forward pass of a transposed convolution
	// layer; the shape of dsrc decides the output padding.
	ConvBackwardData(dsrc, ddst, w, bias Array, c Conv) (Kernel, error)
	// ConvBackwardWeights is the gradient for the weights, and for the bias
	// unless db is nil. A transposed convolution layer swaps ddst and src and
	// takes its bias gradient from BiasBackward.
	ConvBackwardWeights(dw, db, ddst, src Array, c Conv) (Kernel, error)
	// FusedConv is a convolution that normalises, enlarges and pads its source
	// as it reads it, and takes the statistics of its result as it writes it:
	// dst = w ⋆ r(src) + bias, with c.ReLU followed by max(0, ·). mean and
	// invstd receive the statistics that Norm with n would take of dst; both
	// may be nil, and must be with c.ReLU. bias may be nil.
	FusedConv(dst, mean, invstd, src Array, r Read, w, bias Array, c Conv, n Norm) (Kernel, error)
	// FusedSum is the sum of one or two sources, each read in its own way:
	// dst = r₀(src₀) + r₁(src₁).
	FusedSum(dst Array, srcs []Array, rs []Read) (Kernel, error)
	// BiasBackward sums ddst over everything but the channels.
	BiasBackward(db, ddst Array) (Kernel, error)

	// Norm normalises with the mean and the biased variance of each map
	// (instance norm, Ulyanov 2016), or of each channel over the batch with
	// n.Batch: dst = gamma·(src−mean)·invstd + beta, with n.ReLU followed by
	// max(0, ·). mean and invstd receive the statistics, of shape (N, C, 1, 1),
	// or (1, C, 1, 1) with n.Batch. invstd is 1/√(variance + n.Eps).
	Norm(dst, mean, invstd, src, gamma, beta Array, n Norm) (Kernel, error)
	// NormBackward is Norm's gradient for all of its inputs, through the ReLU
	// where n.ReLU is set.
	NormBackward(dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd Array, n Norm) (Kernel, error)

	// ChannelAffine is dst = scale[c]·src + shift[c]; shift may be nil. Its
	// gradient is itself, without the shift.
	ChannelAffine(dst, src, scale, shift Array) (Kernel, error)

	// ReLU is max(0, src); dst may be src. ReLUBackward passes ddst on where
	// the result dst was above zero; dsrc may be ddst.
	ReLU(dst, src Array) (Kernel, error)
	ReLUBackward(dsrc, ddst, dst Array) (Kernel, error)

	// Tanh is scale·tanh(src) + offset. TanhBackward takes the result dst.
	Tanh(dst, src Array, scale, offset float32) (Kernel, error)
	TanhBackward(dsrc, ddst, dst Array, scale, offset float32) (Kernel, error)

	// Sum is the weighted sum of arrays of one shape: two or more activations,
	// or one or more parameters. dst may be srcs[0].
	Sum(dst Array, srcs []Array, weights []float32) (Kernel, error)

	// Upsample repeats every pixel factor×factor times (nearest neighbour).
	Upsample(dst, src Array, factor int) (Kernel, error)
	UpsampleBackward(dsrc, ddst Array, factor int) (Kernel, error)

	// Pool takes the maximum or the average of each 2×2 square, stride 2; an
	// odd last row or column is dropped. PoolBackward gives the gradient of a
	// maximum to the first largest element in row-major order.
	Pool(dst, src Array, kind PoolKind) (Kernel, error)
	PoolBackward(dsrc, ddst, src Array, kind PoolKind) (Kernel, error)

	// The kernels from here to GroupStatistics run forward alone: they are for
	// networks that others have trained.

	// Pointwise is dst = f(a) or f(a, b), value by value; f says what b is. dst
	// has the shape of a.
	Pointwise(dst, a, b Array, f Pointwise) (Kernel, error)

	// Arrange puts channels of one or more maps of one size into a new order,
	// and pixels' channels into squares of pixels.
	Arrange(dst Array, srcs []Array, o Arrangement) (Kernel, error)

	// Resample makes each row of dst of two rows of src, and each column of two
	// columns: rows and cols hold one Tap for each.
	Resample(dst, src Array, rows, cols []Tap) (Kernel, error)

	// Warp moves the pixels of src by a flow, of shape (N, 2, H, W) and in pixels:
	// dst at (x, y) is src at (x + flow₀, y + flow₁), between the four pixels around
	// it; beyond the edge lies the edge's pixel. With pairs, images 2i and 2i+1 of a
	// batch are a pair, and each is made of the other one.
	Warp(dst, src, flow Array, pairs bool) (Kernel, error)

	// WindowPool takes the maximum or the average of each window of a map.
	WindowPool(dst, src Array, w Window) (Kernel, error)

	// GroupStatistics turns the statistics of maps, as Norm leaves them, into
	// those of that many groups of adjacent channels (Wu and He 2018), in place:
	// each channel receives its group's mean and 1/√(variance + ε), with the ε
	// that is in invstd.
	GroupStatistics(mean, invstd Array, groups int) (Kernel, error)

	// Gram is F·Fᵀ/(C·H·W) of each image, with F the maps as a C × H·W matrix
	// (Gatys 2016, normalised as Johnson 2016). dst is a parameter of shape
	// (N, 1, C, C). GramBackward accepts a dgram that is not symmetric.
	Gram(dst, src Array) (Kernel, error)
	GramBackward(dsrc, dgram, src Array) (Kernel, error)

	// MSE is the mean over all elements of a of (a−b)², into a scalar. b has
	// the shape of a, or N = 1 and is then compared with every image.
	// MSEBackward is the gradient for a, times the scalar dloss.
	MSE(loss, a, b Array) (Kernel, error)
	MSEBackward(da, dloss, a, b Array) (Kernel, error)

	// TotalVariation is the sum over the whole batch of the squared
	// differences of vertical and horizontal neighbours.
	TotalVariation(loss, src Array) (Kernel, error)
	TotalVariationBackward(dsrc, dloss, src Array) (Kernel, error)

	// Dots is the dot product of a with each of bs, arrays of one shape: all
	// activations or all parameters. dst is a parameter, a vector over bs.
	Dots(dst, a Array, bs []Array) (Kernel, error)
	// Combine is Sum with weights on the device, a vector over srcs that is read
	// in each run. dst may be srcs[0].
	Combine(dst Array, srcs []Array, weights Array) (Kernel, error)

	// SquaredNorm is the sum of the squares of all values of parameters.
	SquaredNorm(dst Array, srcs []Array) (Kernel, error)
	// Adam updates parameters in place, with its moments m and v (Kingma and
	// Ba 2015). Pictures, activations of up to PlainChannels channels, may stand
	// for parameters; their gradients and moments are activations, too. h is read at each launch. squaredNorm holds the squared norm
	// of all gradients, for clipping; it may be nil when h.ClipNorm stays 0.
	Adam(params, grads, m, v []Array, squaredNorm Array, h *Adam) (Kernel, error)
}

// Recorder is a device that runs a sequence of launches faster as a whole.
type Recorder interface {
	// Record returns a kernel that does what sequence does. It calls sequence
	// in its first runs alone: sequence launches the same kernels of the
	// device and of its scopes each time, and does nothing else with them.
	Record(sequence func()) Kernel
}

// Fetcher is a device that brings values back while it goes on computing.
type Fetcher interface {
	// Fetch binds a copy of parameters to the host. start queues one behind the
	// launches before it and does not wait; up to Fetches of them may be under way.
	// take waits for the oldest that was not taken, though not for launches after
	// it, and fills dst with the values, one array after the other. It returns the
	// first error of any launch so far, as Download does. A sequence that is
	// recorded starts none.
	Fetch(srcs []Array) (start Kernel, take func(dst []float32) error, err error)
}

// Fetches is how many copies of one Fetch may be under way.
const Fetches = 2

// Info describes a device to a person.
type Info struct {
	Backend     string // "onednn", "reference", …
	Description string // processor, instruction set, library version
	Threads     int
	Exact       bool // no approximate kernels
	// Precision is how activations are held: "float32", or "bf16" (maps of more
	// than 4 channels; sums, statistics and parameters stay float32).
	Precision string
}

// Padding is a border in pixels.
type Padding struct{ Top, Bottom, Left, Right int }

// Same is a border of n pixels on all sides.
func Same(n int) Padding { return Padding{n, n, n, n} }

// PadMode is what Pad puts into the border.
type PadMode int

// The modes of Pad.
const (
	PadZero PadMode = iota
	PadReflect
	PadEdge
)

func (m PadMode) String() string { return [...]string{"zero", "reflect", "edge"}[m] }

// Conv describes a convolution; its kernel size is in the shape of the weights.
type Conv struct {
	Stride int
	Pad    Padding // zeros around the source
	ReLU   bool    // forward only
	// Frozen promises that weights and bias do not change after the first
	// launch of any kernel that was promised so, so that a device may keep them
	// in the layout that it likes best, for all such kernels.
	Frozen bool
}

// Norm describes a normalisation.
type Norm struct {
	Eps   float32
	Batch bool
	ReLU  bool
}

// Read is how a fused kernel reads a source: normalised, then through ReLU,
// then enlarged, then with a border. The zero Read takes it as it is.
type Read struct {
	// Mean, InvStd, Gamma and Beta normalise as Norm does: all or none are set.
	// The statistics are of shape (N, C, 1, 1) or (1, C, 1, 1).
	Mean, InvStd, Gamma, Beta Array
	ReLU                      bool
	// Upsample repeats every pixel Upsample×Upsample times; 0 is 1.
	Upsample int
	// Mode and Pad are the border, as Pad's. Negative amounts crop, and stand
	// beside any mode.
	Mode PadMode
	Pad  Padding
}

// Function is what Pointwise computes.
type Function int

// The functions of one map, and those of two, from Add on. NaN stays NaN.
const (
	LeakyReLU Function = iota // x, or A·x below 0
	PReLU                     // x, or b[c]·x below 0: b is a parameter over the channels
	Sigmoid                   // 1/(1+e⁻ˣ)
	Clip                      // at least A, and then at most B
	Add
	Subtract
	Multiply
	Divide
)

func (f Function) String() string {
	return [...]string{"leaky relu", "prelu", "sigmoid", "clip", "add", "subtract", "multiply", "divide"}[f]
}

// Pointwise describes a function of the values at one place. The second map of
// two may have one channel, one row or one column where the first has more: it
// is repeated there. Functions of one map take none.
type Pointwise struct {
	Function Function
	A, B     float32
}

// Arrangement is where Arrange's values come from. Each pixel of the sources
// becomes a square of Block×Block pixels. Channel c of the pixel in row i and
// column j of the square is channel From[(i·Block + j)·C + c] of the sources',
// counted through all of them, C being the channels of the result.
type Arrangement struct {
	From  []int
	Block int
	// Top is how many rows of squares' pixels lie above the result's first one;
	// below its last one may be some, too.
	Top int
}

// Tap makes a row or column of two of a source: (1−W)·A + W·B.
type Tap struct {
	A, B int32
	W    float32
}

// Window is what WindowPool takes values of: Height×Width pixels, Stride pixels
// apart, of a map with a border that is less than a window. No maximum sees the
// border.
type Window struct {
	Kind                  PoolKind
	Height, Width, Stride int
	Pad                   Padding
	CountPad              bool // averages are over the whole window, the border being zeros
}

// PoolKind selects maximum or average pooling.
type PoolKind int

// The kinds of pooling.
const (
	MaxPool PoolKind = iota
	AvgPool
)

func (k PoolKind) String() string { return [...]string{"max", "avg"}[k] }

// Adam holds the optimiser's settings for one step.
type Adam struct {
	LR, Beta1, Beta2, Eps float64
	Step                  int     // 1 for the first step; for the bias corrections
	ClipNorm              float64 // gradients are scaled down to this norm; 0 is off
}
