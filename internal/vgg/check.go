package vgg

import (
	"fmt"
	"math"

	"stylenet/internal/networks"
)

// Report describes a file of weights that Open accepts.
type Report struct {
	File   string `json:"file"`
	Format string `json:"format"`
	SHA256 string `json:"sha256"`
	// Convention is what the file expects, ConventionFrom what told it.
	Convention     networks.Convention `json:"convention"`
	ConventionFrom string              `json:"convention_from"`
	// Deepest is the last layer that the file reaches, relu5_4 if complete.
	Deepest string         `json:"deepest"`
	Tensors []TensorReport `json:"tensors"`
	// Ignored counts the tensors that are no convolutions of VGG-19.
	Ignored int    `json:"ignored"`
	Verdict string `json:"verdict"`
}

// TensorReport describes one tensor.
type TensorReport struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
	// MeanAbs is the mean absolute value.
	MeanAbs float64 `json:"mean_abs"`
}

// Check reads a file of weights as Open does and says what is in it. Its
// errors are those of Open.
func Check(path string) (*Report, error) {
	f, err := read(path, Auto)
	if err != nil {
		return nil, err
	}
	r := &Report{
		File: path, Format: f.format, SHA256: f.sha256,
		Convention: f.order, ConventionFrom: f.source,
		Deepest: f.last, Ignored: len(f.ignored),
		Verdict: "good: every layer of VGG-19 up to " + f.last,
	}
	if f.last != deepest {
		r.Verdict = fmt.Sprintf("usable up to %s: the deeper layers are not in the file", f.last)
	}
	for _, t := range f.Set.Tensors() {
		var sum float64
		for _, v := range t.Data {
			sum += math.Abs(float64(v))
		}
		r.Tensors = append(r.Tensors, TensorReport{t.Name, t.Shape, sum / float64(len(t.Data))})
	}
	return r, nil
}
