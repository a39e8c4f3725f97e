package export

import (
	"errors"
	"fmt"
	"io"
	"reflect"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/floats"
	"stylenet/internal/formats/pth"
	"stylenet/internal/model"
	"stylenet/internal/networks"
)

// PyTorch writes a state_dict of F32, F16 or BF16, "" being F32, that torch.load
// reads with weights_only=True. Its names are those of the PyTorch examples'
// TransformerNet, which loads it with strict=True where FitsTransformerNet says so.
//
// Such a file holds tensors and nothing else: no architecture, recipe or licence.
// A model whose network cannot be told from the names and shapes of its tensors is
// refused: other widths, kernels and numbers of blocks can, and so can batch norms
// and transposed convolutions, but no padding other than reflect, no tanh at the
// end, and no network that is none of Johnson's.
//
// The file appears whole or not at all. Errors name the path.
func PyTorch(path string, m *Model, dtype string) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		kind, ok := map[string]floats.Kind{"": floats.F32, F32: floats.F32, F16: floats.F16, BF16: floats.BF16}[dtype]
		if !ok {
			return fmt.Errorf("a state_dict of %q is not written: use %s, %s or %s", dtype, F32, F16, BF16)
		}
		if err := m.Check(); err != nil {
			return err
		}
		if err := tensorsTell(m); err != nil {
			return fmt.Errorf("a state_dict holds tensors alone, and %w: write onnx or safetensors", err)
		}
		return pth.Encode(w, m.Weights, kind)
	})
}

// tensorsTell reports a network that its tensors do not tell.
func tensorsTell(m *Model) error {
	told, err := model.FromTensors(m.Weights, nil)
	if err == nil && sameNetwork(told.Network, m.Network) {
		return nil
	}
	j, ok := m.Network.(networks.Johnson)
	switch {
	case !ok:
		return fmt.Errorf("a network of %s, which is none of Johnson's, is not told by them", m.Network)
	case j.Padding != "reflect":
		return fmt.Errorf("they do not say that the padding is %q", j.Padding)
	case j.Output != "linear":
		return fmt.Errorf("they do not say that the output is %s", j.Output)
	case err != nil:
		return fmt.Errorf("those of %s do not tell it", m.Network)
	}
	return fmt.Errorf("those of %s could as well be of %s", m.Network, told.Network)
}

// FitsTransformerNet returns nil where the PyTorch examples' TransformerNet, as it
// is, loads what PyTorch writes, and otherwise why it does not.
func FitsTransformerNet(m *Model) error {
	example := networks.Johnson{Architecture: networks.JohnsonArchitecture, Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	if sameNetwork(m.Network, example) {
		return nil
	}
	j, ok := m.Network.(networks.Johnson)
	switch {
	case ok && j.Norm != example.Norm:
		return fmt.Errorf("it has %s norms, not %s norms", j.Norm, example.Norm)
	case ok && j.Upsample != example.Upsample:
		return fmt.Errorf("it upsamples by %q, not by %q", j.Upsample, example.Upsample)
	case ok && j.Architecture != example.Architecture:
		return fmt.Errorf("it is %s, not %s", j.Architecture, example.Architecture)
	}
	return errors.New("it is another network")
}

// sameNetwork tells whether two designs make the same layers.
func sameNetwork(a, b networks.Design) bool {
	x, errX := a.Build()
	y, errY := b.Build()
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
