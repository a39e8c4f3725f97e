package kernels

// The precisions of Info: how activations of more than PlainChannels channels are held.
const (
	Float32 = "float32"
	BF16    = "bf16" // the upper half of a float32
)

// PlainChannels is the number of channels up to which activations are float32 in
// every precision: pictures need more than 8 bits of significand.
const PlainChannels = 4
