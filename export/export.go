// Package export reads trained style networks and writes them for serving: as
// safetensors, the native model file, and as ONNX.
//
// It owns what an exported file promises to those who run it without
// stylenet. It refuses the formats' bytes and running networks.
package export

import (
	"fmt"
	"io"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/onnx"
	"stylenet/internal/model"
)

// Model is a trained style network, which Load makes: the architecture
// (Network), the tensors (Weights), and of the training its recipe as JSON
// (Recipe), its VGG-19 features (VGG) and stylenet's version (Version), each
// "" where it is not known.
type Model = model.Model

// Load reads a model file by its content: a native .safetensors file, or the
// state_dict of the PyTorch example's TransformerNet (.pth, or .safetensors).
// Errors name the file and what is wrong with it.
func Load(path string) (*Model, error) { return model.Open(path) }

// Safetensors writes the native model file: float32 tensors under the names of
// PyTorch's example, and in the metadata the architecture as JSON
// (stylenet.network), the training's recipe (stylenet.recipe), its VGG-19
// features (stylenet.vgg) and stylenet's version (stylenet.version).
//
// The file appears whole or not at all. Errors name the path.
func Safetensors(path string, m *Model) error { return model.Save(path, m) }

// ONNX writes an ONNX model of opset 17 that needs nothing but a runtime.
//
// The input "input" and the output "output" are float32, [batch, 3, height,
// width], RGB from 0 to 255, with batch, height and width free. The output has
// the size of the input, for every size from 1×1 up: inside, the last row and
// column are repeated until the network can take the picture, and the answer
// is cropped, as stylenet itself does. Values of the output can lie outside 0
// to 255: clamp them before making bytes. The metadata are those of
// Safetensors, and ONNX's own about images.
//
// The file appears whole or not at all. Errors name the path.
func ONNX(path string, m *Model) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error { return writeONNX(w, m) })
}

func writeONNX(w io.Writer, m *Model) error {
	if err := m.Check(); err != nil {
		return err
	}
	net, err := m.Network.Build()
	if err != nil {
		return err
	}
	multiple, least, err := m.Network.Multiple()
	if err != nil {
		return err
	}
	properties, err := m.Metadata()
	if err != nil {
		return err
	}
	// https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
	properties["Image.BitmapPixelFormat"] = "Rgb8"
	properties["Image.ColorSpaceGamma"] = "SRGB"
	properties["Image.NominalPixelRange"] = "NominalRange_0_255"
	return onnx.Encode(w, net, m.Weights, onnx.Meta{
		Doc: fmt.Sprintf("Style transfer network %s (Johnson et al. 2016). Input and output are RGB planes from 0 to 255 of any size; clamp the output to 0 to 255.",
			m.Network.Architecture),
		Version:    m.Version,
		Multiple:   multiple,
		Least:      least,
		Properties: properties,
	})
}
