package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stylenet/data"
	"stylenet/internal/atomicfile"
	"stylenet/internal/checkpoint"
	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/stylize"
	"stylenet/internal/weights"
)

// The names in a run's directory, of which checkpoint.Owns knows the lock and
// temporary files.
const (
	configFile     = "config.yaml"
	metricsFile    = "metrics.jsonl"
	evalFile       = "eval.jsonl"
	checkpointsDir = "checkpoints"
	previewsDir    = "previews"
	clipsFile      = "clips.frames"
)

// Owns reports whether a name in a run's directory is the run's own, in whatever
// case: some systems tell no cases apart.
func Owns(name string) bool {
	own := func(n string) bool { return strings.EqualFold(n, name) }
	return checkpoint.Owns(name) || slices.ContainsFunc([]string{configFile, metricsFile, evalFile, checkpointsDir, previewsDir, clipsFile}, own)
}

// makeDirectory makes a run's directory and locks it. undo removes what it made,
// where that is empty.
func makeDirectory(dir string) (undo func(), unlock func() error, err error) {
	for range 9 { // another start that failed may remove the directory in between
		if undo, err = atomicfile.MkdirAll(dir); err != nil {
			err = fmt.Errorf("run directory: %w", err)
		} else if unlock, err = checkpoint.Lock(dir); err == nil {
			return undo, unlock, nil
		} else {
			undo()
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, nil, err
}

// holdsRun reports whether a directory holds a run, or what is left of one. A
// start that was killed leaves a checkpoint of step 0 at most.
func holdsRun(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		return true, nil
	}
	for _, name := range []string{metricsFile, evalFile} {
		if log, err := os.Stat(filepath.Join(dir, name)); err == nil && log.Size() > 0 {
			return true, nil
		}
	}
	return checkpoint.HoldsSteps(filepath.Join(dir, checkpointsDir))
}

// clearDirectory removes what a start has written that then failed, but for the
// frames of clips.
func clearDirectory(dir string) error {
	err := checkpoint.Remove(filepath.Join(dir, checkpointsDir))
	for _, name := range []string{configFile, metricsFile} {
		if gone := os.Remove(filepath.Join(dir, name)); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// openDirectory opens the log, cut to where the checkpoint stands, and writes
// the configuration. A new run gets a checkpoint of step 0, so that one exists
// at every moment. The configuration, which makes the directory a run, is
// written last: a start that is killed does not stand in the way of the next.
func (r *Run) openDirectory(from *checkpoint.Snapshot) (err error) {
	r.wrote = true
	if r.metrics, err = os.OpenFile(filepath.Join(r.dir, metricsFile), os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return err
	}
	var length int64
	if from != nil {
		length, r.saved = from.MetricsBytes, from.Step
	}
	if info, err := r.metrics.Stat(); err != nil {
		return err
	} else if info.Size() < length {
		r.warn(fmt.Errorf("%s is shorter than at the checkpoint of step %d: some of its lines are lost", r.metrics.Name(), r.step))
		length = info.Size()
	}
	if err := r.metrics.Truncate(length); err != nil {
		return err
	}
	if _, err := r.metrics.Seek(length, io.SeekStart); err != nil {
		return err
	}
	if err := r.trimEvaluations(); err != nil {
		return err
	}
	if from == nil {
		if err := r.checkpoint(); err != nil {
			return err
		}
	}
	yaml, err := r.config.YAML()
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(r.dir, configFile), 0o666, func(w io.Writer) error {
		_, err := w.Write(yaml)
		return err
	})
}

func (r *Run) warn(err error) {
	if r.options.Warn != nil {
		r.options.Warn(err)
	}
}

// log appends a line to metrics.jsonl.
func (r *Run) log(m Metrics) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := r.metrics.Write(append(line, '\n')); err != nil {
		return err
	}
	if r.options.Observe != nil {
		r.options.Observe(m)
	}
	return nil
}

// checkpoint writes a snapshot of the run as it stands, unless the run has
// diverged: that may not push out the good ones.
func (r *Run) checkpoint() error {
	// A crash may not leave a checkpoint that knows more of the log than the
	// disk does.
	if err := r.metrics.Sync(); err != nil {
		return err
	}
	length, err := r.metrics.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	yaml, err := r.config.YAML()
	if err != nil {
		return err
	}
	state, err := r.state()
	if err != nil {
		return err
	}
	s := &checkpoint.Snapshot{
		Step: r.step, Seed: r.config.Train.Seed, ElapsedSeconds: r.elapsed, MetricsBytes: length,
		Version: r.options.Version, Config: string(yaml), State: state, Optimizer: &weights.Set{},
	}
	if s.Model, err = r.weights(); err != nil {
		return err
	}
	if s.Metadata, err = r.model.Metadata(); err != nil {
		return err
	}
	for i, name := range r.names {
		if err := r.addMoments(s.Optimizer, i, name); err != nil {
			return err
		}
	}
	for _, set := range []*weights.Set{s.Model, s.Optimizer} {
		for _, t := range set.Tensors() {
			for _, v := range t.Data {
				if !finite(float64(v)) {
					return r.diverged(r.step, fmt.Sprintf("tensor %q holds %v", t.Name, v))
				}
			}
		}
	}
	if err := checkpoint.Write(filepath.Join(r.dir, checkpointsDir), s, r.config.Train.KeepCheckpoints); err != nil {
		return err
	}
	r.saved = r.step
	return nil
}

// state is what a checkpoint keeps besides tensors: where the inputs of steps
// stand.
func (r *Run) state() ([]byte, error) {
	s := cursorState{Data: r.cursor}
	if of := r.kind.state(); of != nil {
		var err error
		if s.Kind, err = json.Marshal(of); err != nil {
			return nil, err
		}
	}
	return json.Marshal(s)
}

func (r *Run) addMoments(set *weights.Set, i int, name string) error {
	shape := r.model.Weights.Get(name).Shape
	for _, moment := range []struct {
		prefix string
		array  kernels.Array
	}{{"m.", r.m[i]}, {"v.", r.v[i]}} {
		values := make([]float32, weights.Elements(shape))
		if err := r.dev.Download(values, moment.array); err != nil {
			return err
		}
		if err := set.Add(moment.prefix+name, shape, values); err != nil {
			return err
		}
	}
	return nil
}

// openPreview opens the photo of the previews: the configured one, or the
// folder's first that can be read.
func (r *Run) openPreview() error {
	t := r.config.Train
	if t.PreviewEvery == 0 {
		return nil
	}
	if t.PreviewImage != "" {
		p, err := images.Open(t.PreviewImage)
		if err != nil {
			return fmt.Errorf("train.preview_image: %w", err)
		}
		r.previewPicture, err = images.FitWithin(p, previewSide)
		return err
	}
	for _, f := range r.loader.Files() {
		if p, err := images.Open(filepath.Join(r.config.Data.Dir, filepath.FromSlash(f))); err == nil && min(p.W, p.H) >= data.DefaultMinSide {
			r.previewPicture, err = images.FitWithin(p, previewSide)
			return err
		}
	}
	return errors.New("no photo can be read for the previews")
}

// previewSide bounds the long side of previews, in pixels.
const previewSide = 512

// preview stylizes the preview photo with the samples of the step at hand, which
// a stop lets finish. Several samples become one sheet, beside the photo.
func (r *Run) preview() error {
	if _, err := r.weights(); err != nil {
		return err
	}
	samples, err := r.kind.samples()
	if err != nil {
		return fmt.Errorf("preview: %w", err)
	}
	cells := []images.Labelled{{Picture: r.previewPicture, Caption: "photo"}}
	for _, s := range samples {
		p, err := r.previewSample(s)
		if err != nil {
			return fmt.Errorf("preview: %w", err)
		}
		cells = append(cells, images.Labelled{Picture: p, Caption: s.name})
	}
	picture := cells[len(cells)-1].Picture
	if len(samples) > 1 {
		rows := slices.Collect(slices.Chunk(cells, previewColumns))
		if picture, err = images.Sheet(rows, previewSide/2); err != nil {
			return fmt.Errorf("preview: %w", err)
		}
	}
	path := filepath.Join(r.dir, previewsDir, fmt.Sprintf("step-%08d.png", r.step))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if err := images.Save(path, picture, images.SaveOptions{}); err != nil {
		return err
	}
	if r.options.Preview != nil {
		r.options.Preview(path)
	}
	return nil
}

// previewColumns is how many pictures stand beside each other on a sheet.
const previewColumns = 4

func (r *Run) previewSample(of sample) (p *images.Picture, err error) {
	s, err := stylize.Open(r.dev, of.model)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Picture(context.Background(), r.previewPicture, stylize.Options{Strength: 1})
}

// trimEvaluations drops the evaluations of steps after the checkpoint.
func (r *Run) trimEvaluations() error {
	path := filepath.Join(r.dir, evalFile)
	lines, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	kept := keepUntil(lines, r.step)
	if len(kept) == len(lines) {
		return nil
	}
	return atomicfile.Write(path, 0o666, func(w io.Writer) error {
		_, err := w.Write(kept)
		return err
	})
}
