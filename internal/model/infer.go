package model

import (
	"errors"
	"fmt"
	"strings"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// infer tells the architecture from the names and shapes of the PyTorch
// example's TransformerNet. It reads no more of them than it needs, since
// Network.Check compares the rest with what it found.
func infer(set *weights.Set) (networks.Johnson, error) {
	j := networks.Johnson{Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	if set.Get("bn1.weight") != nil {
		j.Norm = "batch"
	}
	// kernels are the shapes of the convolutions PREFIX1, PREFIX2 and so on.
	kernels := func(prefix, suffix string) (shapes [][]int) {
		for {
			t := set.Get(fmt.Sprintf("%s%d%s.weight", prefix, len(shapes)+1, suffix))
			if t == nil || len(t.Shape) != 4 {
				return shapes
			}
			shapes = append(shapes, t.Shape)
		}
	}
	convs, blocks, deconvs := kernels("conv", ".conv2d"), kernels("res", ".conv1.conv2d"), kernels("deconv", ".conv2d")
	if len(convs) == 0 || len(deconvs) == 0 {
		return j, notAModel(set)
	}
	var layers []string
	channels := 0
	for i, s := range convs {
		layer := fmt.Sprintf("c%ds%d-%d", s[2], min(i+1, 2), s[0])
		if i > 0 && s[2] == 3 {
			layer = fmt.Sprintf("d%d", s[0])
		}
		layers = append(layers, layer)
		channels = s[0]
	}
	for _, s := range blocks {
		layers = append(layers, fmt.Sprintf("R%d", s[0]))
	}
	last := len(deconvs) - 1
	for _, s := range deconvs[:last] {
		// A transposed convolution has its input's channels first. Where both
		// are equal nothing tells them apart, and the example's is assumed.
		out := s[0]
		if s[1] != channels {
			j.Upsample, out = "transposed", s[1]
		}
		layers = append(layers, fmt.Sprintf("u%d", out))
		channels = out
	}
	layers = append(layers, fmt.Sprintf("c%ds1-%d", deconvs[last][2], deconvs[last][0]))
	j.Architecture = strings.Join(layers, ",")
	if _, err := j.Build(); err != nil {
		return j, fmt.Errorf("its tensors are named like a style network's, but do not make one: %w", err)
	}
	return j, nil
}

// Kinds of files, by what wrote them.
const (
	KindStylenet  = "stylenet"
	KindExample   = "pytorch-examples"
	KindVariant   = "gordicaleksa"
	KindLengstrom = "lengstrom"
	KindONNX      = "onnx"
)

// exampleNames gives the tensors the names of PyTorch's example: it takes off
// the "module." of nn.DataParallel, and renames those of gordicaleksa's variant
// (up1.conv2d.conv2d, up3.conv2d), which kind tells. The set may be the one
// given.
func exampleNames(set *weights.Set) (named *weights.Set, kind string) {
	const parallel = "module."
	prefixed, variant := set.Len() > 0, false
	for _, t := range set.Tensors() {
		prefixed = prefixed && strings.HasPrefix(t.Name, parallel)
		variant = variant || strings.HasPrefix(strings.TrimPrefix(t.Name, parallel), "up1.conv2d.")
	}
	kind = KindExample
	if variant {
		kind = KindVariant
	}
	if !prefixed && !variant {
		return set, kind
	}
	named = &weights.Set{}
	for _, t := range set.Tensors() {
		name := t.Name
		if prefixed {
			name = strings.TrimPrefix(name, parallel)
		}
		if rest, ok := strings.CutPrefix(name, "up"); ok && variant {
			name = "deconv" + strings.Replace(rest, ".conv2d.conv2d.", ".conv2d.", 1)
		}
		if err := named.Add(name, t.Shape, t.Data); err != nil {
			return set, kind // two names become one: it is no such file
		}
	}
	return named, kind
}

func notAModel(set *weights.Set) error {
	if set.Get("features.0.weight") != nil {
		return errors.New("it holds VGG features, which train a style network but are none: give it as vgg.weights instead")
	}
	first := "none"
	if set.Len() > 0 {
		first = fmt.Sprintf("the first of %d is %q", set.Len(), set.Tensors()[0].Name)
	}
	return fmt.Errorf("it holds no style network: its metadata has no %s, and its tensors are not those of PyTorch's example or gordicaleksa's variant (%s)", keyNetwork, first)
}
