package kernels

// The precisions of Info: how activations of more than PlainChannels channels are held.
const (
	Float32 = "float32"
	BF16    = "bf16" // the upper half of a float32
)

// PlainChannels is the number of channels up to which activations are float32 in
// every precision: pictures need more than 8 bits of significand.
const PlainChannels = 4

// MapBytes is the least that a feature map of that shape takes on the device.
func (i Info) MapBytes(s Shape) int64 {
	n := int64(s.N) * int64(s.C) * int64(s.H) * int64(s.W)
	if i.Precision == BF16 && s.C > PlainChannels {
		return 2 * n
	}
	return 4 * n
}
