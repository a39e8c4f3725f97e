package networks

import (
	"fmt"
	"slices"
)

// AdaIN is the design of a network that takes its style from a picture (Huang
// and Belongie 2017, "Arbitrary style transfer in real-time with adaptive
// instance normalization"): VGG-19 up to a layer, an instance norm whose scale
// and shift are the style, and a decoder that mirrors VGG-19.
//
// The encoder's convolutions have zeros around them, as those had that the
// weights were trained with, the decoder's a reflected border. Between them
// features are those of VGG-19; the decoder's result c is the picture
// 255·c + 127.5.
type AdaIN struct {
	// Encoder is the convention of VGG-19's weights, Caffe or Torchvision.
	Encoder Convention `json:"encoder"`
	// Layer is where the encoder ends: the first layer of the second, third or
	// fourth block, relu2_1, relu3_1 or relu4_1.
	Layer string `json:"layer"`
	// AveragePool is VGG19's.
	AveragePool bool `json:"average_pool,omitempty"`
}

// AdaINLayers lists the layers at which the encoder of an AdaIN may end.
func AdaINLayers() []string { return []string{"relu2_1", "relu3_1", "relu4_1"} }

// AdaINNorm is the name of an AdaIN's instance norm. Its weight is the standard
// deviation of each channel of the style's features, its bias their mean.
const AdaINNorm = "adain"

// AdaINEps is ε of that norm, the paper's.
const AdaINEps = 1e-5

// Where decoders begin to count: results are RGB 0-255, and fresh ones are grey.
const decoderScale, decoderShift = 255, 127.5

// String says what the network is.
func (a AdaIN) String() string { return "any style, by statistics at " + a.Layer }

// EncoderNetwork is VGG-19, from RGB 0-255 to the features that carry the style.
func (a AdaIN) EncoderNetwork() (*Network, error) {
	if !slices.Contains(AdaINLayers(), a.Layer) {
		return nil, fmt.Errorf("an encoder ends at %q, not at relu2_1, relu3_1 or relu4_1", a.Layer)
	}
	return VGG19(a.Layer, a.Encoder, a.AveragePool)
}

// Channels is how many channels the features between encoder and decoder have,
// or 0 where there is no such encoder.
func (a AdaIN) Channels() int {
	if i := slices.Index(AdaINLayers(), a.Layer); i >= 0 {
		return 128 << i
	}
	return 0
}

// DecoderNetwork is the decoder, from features to RGB 0-255.
func (a AdaIN) DecoderNetwork() (*Network, error) {
	if a.Channels() == 0 {
		_, err := a.EncoderNetwork()
		return nil, err
	}
	b := newBuilder(a.Channels())
	a.addDecoder(b)
	return b.net, nil
}

func (a AdaIN) addDecoder(b *builder) {
	in := a.Channels()
	block := 1 + slices.Index(AdaINLayers(), a.Layer) // from 0, as in blocks
	conv := func(block, i, out int) {
		name := fmt.Sprintf("decoder.conv%d_%d", block+1, i)
		b.add(name+".pad", Pad{Mode: PadReflect, Padding: Same(1)})
		b.add(name, Conv{In: in, Out: out, Kernel: 3, Stride: 1})
		if in = out; out != 3 {
			b.add(name+".relu", ReLU{})
		}
	}
	conv(block, 1, 64<<(block-1))
	for block--; block >= 0; block-- {
		b.add(fmt.Sprintf("decoder.up%d", block+1), Upsample{Factor: 2})
		for i := blocks[block]; i > 1; i-- {
			conv(block, i, in)
		}
		if block > 0 {
			conv(block, 1, in/2)
		} else {
			conv(block, 1, 3)
		}
	}
	b.add("decoder.picture", Affine{
		Scale: []float32{decoderScale, decoderScale, decoderScale}, Shift: []float32{decoderShift, decoderShift, decoderShift},
	})
}

// Build returns the whole network, whose style is the weight and bias of the
// layer AdaINNorm.
func (a AdaIN) Build() (*Network, error) { return a.Styled(1) }

// Styled is Build with a strength from 0 to 1, AdaIN's α: below 1 the decoder is
// given the styled features plus the content's times 1−α. The norm's weight and
// bias are to carry the factor α.
func (a AdaIN) Styled(strength float32) (*Network, error) {
	net, err := a.EncoderNetwork()
	if err != nil {
		return nil, err
	}
	b := &builder{net, len(net.Layers) - 1}
	features := b.last
	styled := b.add(AdaINNorm, Norm{Channels: a.Channels(), Eps: AdaINEps})
	if strength != 1 {
		keep := Affine{Scale: make([]float32, a.Channels()), Shift: make([]float32, a.Channels())}
		for c := range keep.Scale {
			keep.Scale[c] = 1 - strength
		}
		b.last = features
		b.add(AdaINNorm+".content", keep)
		b.add(AdaINNorm+".mix", Add{}, styled)
	}
	a.addDecoder(b)
	return b.net, nil
}
