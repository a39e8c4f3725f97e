// Package export reads trained style networks, writes them for serving (as
// safetensors, the native model file, and as ONNX), and runs them for other Go
// programs.
//
// It owns what an exported file promises to those who run it without
// stylenet, and which of a run's files is its model. It refuses the formats'
// bytes and how a network is run.
package export

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stylenet/internal/atomicfile"
	"stylenet/internal/checkpoint"
	"stylenet/internal/formats"
	"stylenet/internal/formats/onnx"
	"stylenet/internal/model"
)

// Model is a trained style network, which Load makes: the architecture
// (Network), the tensors (Weights), and of the training its recipe as JSON
// (Recipe), its VGG-19 features (VGG) and stylenet's version (Version), each
// "" where it is not known.
// A network of many styles (Styles) becomes one of a style, or of a mix, by Mix.
type Model = model.Model

// Share is how much of a mix a style is.
type Share = model.Share

// Load reads a model file by its content: a native .safetensors file, a network
// as ONNX, or what other systems write (docs/models.md). What the network of
// another system takes and gives for a picture is recognised from the file; the
// Model takes and gives RGB 0-255. Errors name the file and what is wrong with it.
func Load(path string) (*Model, error) { return model.Open(path) }

// IsModel says that path is a file, or a folder that Load reads: a checkpoint of
// TensorFlow, or its variables. Other folders are LoadRun's.
func IsModel(path string) bool {
	info, err := os.Stat(path)
	return err != nil || !info.IsDir() || formats.IsFolder(path)
}

// LoadRun reads the model of a training run: dir is a run (then its newest
// checkpoint that passes its checksums is taken), a run's folder of
// checkpoints, or one checkpoint. Each damaged checkpoint that was passed over
// gives a warning, and so does an untrained network. Errors name the file and what is wrong with it.
func LoadRun(dir string) (m *Model, warnings []string, err error) {
	var snapshot *checkpoint.Snapshot
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.json")); err == nil {
		snapshot, err = checkpoint.Read(dir)
		if err != nil {
			return nil, nil, err
		}
	} else {
		all := filepath.Join(dir, "checkpoints")
		if _, err := os.Stat(all); err != nil {
			all = dir
		}
		var passed []checkpoint.Warning
		snapshot, passed, err = checkpoint.Latest(all)
		for _, w := range passed {
			said := w.String()
			if err == nil {
				said = fmt.Sprintf("%s; the checkpoint of step %d is used", said, snapshot.Step)
			}
			warnings = append(warnings, said)
		}
		if err != nil {
			return nil, warnings, err
		}
	}
	if snapshot.Step == 0 {
		warnings = append(warnings, fmt.Sprintf("%s: its newest checkpoint is of step 0, before any training", dir))
	}
	if m, err = model.FromTensors(snapshot.Model, snapshot.Metadata); err != nil {
		return nil, warnings, fmt.Errorf("%s: checkpoint of step %d: %w", dir, snapshot.Step, err)
	}
	return m, warnings, nil
}

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
// A network of many styles has a second input, "mix": float32, [styles], weights
// that add up to 1, in the order of Model.Styles. To have one style, or one mix
// alone, write what Model.Mix returns.
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
	multiple, least, err := net.Multiple()
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
	return onnx.Encode(w, net, m.Weights, onnx.Options{
		Doc: fmt.Sprintf("Style transfer network %s (Johnson et al. 2016). Input and output are RGB planes from 0 to 255 of any size; clamp the output to 0 to 255.",
			m.Network),
		Version:    m.Version,
		Multiple:   multiple,
		Least:      least,
		Properties: properties,
	})
}
