package networks

import (
	"errors"
	"fmt"
	"strings"

	"stylenet/internal/weights"
)

// blocks is the number of convolutions in each of VGG-19's five blocks.
var blocks = [...]int{2, 2, 4, 4, 4}

// VGG19Layers lists the names of VGG-19's convolution outputs after ReLU,
// relu1_1 to relu5_4, in the order of depth.
func VGG19Layers() []string {
	var names []string
	for b, n := range blocks {
		for i := range n {
			names = append(names, fmt.Sprintf("relu%d_%d", b+1, i+1))
		}
	}
	return names
}

// VGG19 builds the convolutional part of VGG-19 (Simonyan and Zisserman 2015)
// from an RGB 0-255 input up to and including the layer upTo, such as
// "relu4_3". Convolutions carry torchvision's names (features.0 …), the
// results that losses ask for are the layers relu1_1 to relu5_4. averagePool
// replaces max pooling by average pooling, as Gatys 2016 does.
func VGG19(upTo string, c Convention, averagePool bool) (*Network, error) {
	b := newBuilder(3)
	normalize, _ := c.Affine()
	switch c {
	case Caffe, Torchvision:
		b.add("normalize", normalize)
	default:
		return nil, fmt.Errorf("unknown VGG-19 convention %q: known are %s, %s and %s", c, Caffe, CaffeBGR, Torchvision)
	}
	in, feature := 3, 0
	for block, n := range blocks {
		if block > 0 {
			b.add(fmt.Sprintf("pool%d", block), Pool{Average: averagePool})
			feature++
		}
		out := min(64<<block, 512)
		for i := range n {
			b.add(fmt.Sprintf("features.%d", feature), Conv{In: in, Out: out, Kernel: 3, Stride: 1, Pad: Same(1)})
			name := fmt.Sprintf("relu%d_%d", block+1, i+1)
			b.add(name, ReLU{})
			if name == upTo {
				return b.net, nil
			}
			in, feature = out, feature+2
		}
	}
	return nil, fmt.Errorf("VGG-19 has no layer %q: it has %s", upTo, strings.Join(VGG19Layers(), ", "))
}

// RGBOrder turns VGG-19 weights of convention CaffeBGR into Caffe's by
// exchanging the first convolution's red and blue weights, in place.
func RGBOrder(set *weights.Set) error {
	t := set.Get("features.0.weight")
	if t == nil || len(t.Shape) != 4 || t.Shape[1] != 3 {
		return errors.New(`tensor "features.0.weight" is missing or has no 3 input channels`)
	}
	plane := t.Shape[2] * t.Shape[3]
	for o := range t.Shape[0] {
		for i := range plane {
			blue, red := o*3*plane+i, (o*3+2)*plane+i
			t.Data[blue], t.Data[red] = t.Data[red], t.Data[blue]
		}
	}
	return nil
}
