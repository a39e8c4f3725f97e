package kernels

// The precisions of Info: how activations of more than 4 channels are held.
const (
	Float32 = "float32"
	BF16    = "bf16" // the upper half of a float32
)
