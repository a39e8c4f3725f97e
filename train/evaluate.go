package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"stylenet/data"
	"stylenet/internal/images"
	"stylenet/internal/inference"
)

// Evaluation is a line of eval.jsonl: the mean losses on held-out photos, with
// their weights, of results clamped to 0-255. Loss is content plus style.
// Content is the distance from the photo's own features, of kind adain, too,
// whose training measures the distance from the features it aims at.
type Evaluation struct {
	Step    int     `json:"step"`
	Photos  int     `json:"photos"`
	Loss    float64 `json:"loss"`
	Content float64 `json:"content"`
	Style   float64 `json:"style"`
	// Plain is the style loss of the photos as they are, of kind adain: Style is
	// to be seen beside it, for it depends on the styles as much as on the network.
	Plain float64 `json:"plain,omitempty"`
}

// Evaluations use the first 16 photos of the folder that can be read, their
// centres at 256².
const (
	evaluationPhotos = 16
	evaluationSize   = 256
)

// evaluate appends a line to eval.jsonl where data.holdout is set: the mean over
// all samples.
func (r *Run) evaluate() error {
	if len(r.holdout) == 0 {
		return nil
	}
	if _, err := r.weights(); err != nil {
		return err
	}
	samples, err := r.kind.samples()
	if err != nil {
		return err
	}
	e := Evaluation{Step: r.step, Photos: len(r.holdout)}
	for _, s := range samples {
		if err := r.evaluateSample(&e, s, float64(len(r.holdout)*len(samples))); err != nil {
			return err
		}
	}
	e.Loss = e.Content + e.Style
	if !finite(e.Loss) {
		return r.diverged(r.step, fmt.Sprintf("the loss on held-out photos is %g", e.Loss))
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(r.dir, evalFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	// As with the other log, a checkpoint may not know more than the disk.
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil && r.options.Eval != nil {
		r.options.Eval(e)
	}
	return err
}

// evaluateSample adds to e the losses of a sample on all photos, divided by the
// number of pictures that e is the mean of.
func (r *Run) evaluateSample(e *Evaluation, s sample, pictures float64) (err error) {
	net, err := s.model.Network.Build()
	if err != nil {
		return err
	}
	dev := r.dev.Scope()
	defer func() { err = errors.Join(err, dev.Close()) }()
	arrays, err := inference.Upload(dev, net, s.model.Weights)
	if err != nil {
		return err
	}
	plan, err := inference.Compile(dev, net, arrays, 1, evaluationSize, evaluationSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	result := make([]float32, 3*evaluationSize*evaluationSize)
	meter, err := s.meter(dev, evaluationSize, evaluationSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meter.Close()) }()
	for _, p := range r.holdout {
		if err := plan.Device().Upload(plan.Input(), p); err != nil {
			return err
		}
		plan.Run()
		if err := plan.Device().Download(result, plan.Output(0)); err != nil {
			return err
		}
		for i, v := range result {
			result[i] = min(max(v, 0), 255)
		}
		content, style, err := meter.Measure(p, result)
		if err != nil {
			return err
		}
		for i, l := range r.recipe.Content {
			e.Content += l.Weight * content[i] / pictures
		}
		for i, l := range r.recipe.Style {
			e.Style += l.Weight * style[i] / pictures
		}
		if !r.recipe.Moments {
			continue
		}
		if _, style, err = meter.Measure(p, p); err != nil {
			return err
		}
		for i, l := range r.recipe.Style {
			e.Plain += l.Weight * style[i] / pictures
		}
	}
	return nil
}

// openHoldout reads the centres of the first photos of data.holdout.
func (r *Run) openHoldout() error {
	dir := r.config.Data.Holdout
	if dir == "" {
		return nil
	}
	var err error
	if r.holdout, err = centres(dir, evaluationPhotos, evaluationSize); err != nil {
		return fmt.Errorf("data.holdout: %w", err)
	}
	return nil
}

// centres are the centres, of side² pixels, of the first photos of a folder that
// can be read: up to most, and one at least.
func centres(dir string, most, side int) (photos [][]float32, err error) {
	files, err := data.List(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if len(photos) == most {
			break
		}
		p, err := images.Open(filepath.Join(dir, filepath.FromSlash(f)))
		if err != nil || min(p.W, p.H) < data.DefaultMinSide {
			continue
		}
		if p, err = images.Centre(p, side); err != nil {
			return nil, err
		}
		photos = append(photos, p.Pix)
	}
	if len(photos) == 0 {
		return nil, fmt.Errorf("no photo in %s can be read", dir)
	}
	return photos, nil
}

// keepUntil returns the lines of eval.jsonl up to a step.
func keepUntil(lines []byte, step int) []byte {
	var kept []byte
	for line := range bytes.Lines(lines) {
		var e Evaluation
		if json.Unmarshal(line, &e) == nil && e.Step <= step {
			kept = append(kept, line...)
		}
	}
	return kept
}
