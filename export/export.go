// Package export reads trained style networks, writes them for serving (as
// safetensors, the native model file, as ONNX, as a model of NVIDIA Triton and as
// PyTorch's state_dict), and runs them for other Go programs.
//
// It owns what an exported file promises to those who run it without
// stylenet, which formats can hold which model, and which of a run's files is its
// model. It refuses the formats' bytes and how a network is run.
package export

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stylenet/internal/atomicfile"
	"stylenet/internal/checkpoint"
	"stylenet/internal/formats"
	"stylenet/internal/formats/safetensors"
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
func Load(path string) (*Model, error) { return LoadAs(path, "") }

// LoadAs is Load for a file whose network takes and gives something else than is
// recognised: convention is IN:OUT, or one word for both, each of which is rgb-255,
// bgr-255, rgb-1, rgb-signed (-1 to 1), torchvision (ImageNet's mean and deviation,
// of 0 to 1), caffe or caffe-bgr (0 to 255 less ImageNet's mean), and OUT may end
// with +tanh where a tanh is missing in the file. "" and "auto" recognise it.
func LoadAs(path, convention string) (*Model, error) {
	o, err := model.ReadAs(path, convention)
	if err != nil {
		return nil, err
	}
	return o.Model, nil
}

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

// The types of the numbers in a file.
const (
	F32  = "f32"
	F16  = "f16"
	BF16 = "bf16"
	Int8 = "int8" // for ONNX alone
)

// Safetensors writes the native model file: float32 tensors under the names of
// PyTorch's example, and in the metadata the architecture as JSON
// (stylenet.network), the training's recipe (stylenet.recipe), its VGG-19
// features (stylenet.vgg), stylenet's version (stylenet.version), and what the
// style is (stylenet.style_name) and under which terms (stylenet.style_licence).
//
// The file appears whole or not at all. Errors name the path.
func Safetensors(path string, m *Model) error { return model.Save(path, m) }

// SafetensorsAs is Safetensors with numbers of F32, F16 or BF16, rounded to the
// nearest. A weight that dtype cannot hold is an error.
func SafetensorsAs(path string, m *Model, dtype string) error {
	kind, ok := map[string]safetensors.DType{F32: safetensors.F32, F16: safetensors.F16, BF16: safetensors.BF16}[dtype]
	if !ok {
		return fmt.Errorf("safetensors cannot hold numbers of %q: use %s, %s or %s", dtype, F32, F16, BF16)
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error { return model.WriteAs(w, m, kind) })
}
