// Package train trains style networks: the loop, the optimiser's schedule,
// checkpoints, logs and previews.
//
// It owns a run directory:
//
//	config.yaml     the resolved configuration
//	metrics.jsonl   a line of JSON for each step (Metrics)
//	eval.jsonl      a line for each evaluation on held-out photos (Evaluation)
//	checkpoints/    the newest snapshots (package checkpoint)
//	previews/       the preview photo as the network stylizes it
//	clips.frames    frames of video.clips, where these are (package clips)
//
// It refuses to decode photos (package data), to know what the losses are made
// of (package losses) and to talk to a person: callers observe.
package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Metrics is a line of metrics.jsonl. Loss is the sum of the terms, with their
// weights.
type Metrics struct {
	Step            int     `json:"step"` // from 1
	Loss            float64 `json:"loss"`
	Content         float64 `json:"content"`
	Style           float64 `json:"style"`
	TotalVariation  float64 `json:"tv"`
	Temporal        float64 `json:"temporal,omitempty"` // of kind video
	LearningRate    float64 `json:"lr"`
	StyleName       string  `json:"style_name,omitempty"` // that the step trained, where styles take turns
	ImagesPerSecond float64 `json:"images_per_second"`

	squaredNorm float64 // of the gradients
}

// Train runs the remaining steps. When ctx ends it finishes the step at hand,
// writes a checkpoint and returns ctx's cause. Whatever fails, the newest
// checkpoint stays usable.
func (r *Run) Train(ctx context.Context) error {
	t := r.config.Train
	r.since = time.Now()
	for r.step < r.steps {
		batch, err := r.next(ctx)
		if ctx.Err() != nil && err != nil {
			return r.save(context.Cause(ctx))
		} else if err != nil {
			return r.save(err)
		}
		if err := r.launch(batch.Pixels); err != nil {
			return fmt.Errorf("step %d: %w", r.step+1, err)
		}
		r.cursor = batch.Cursor
		r.source.Release(batch)

		last := r.step == r.steps
		preview := t.PreviewEvery > 0 && (r.step%t.PreviewEvery == 0 || last)
		checkpoint := t.CheckpointEvery > 0 && r.step%t.CheckpointEvery == 0 || last
		if !preview && !checkpoint {
			if err := r.settle(r.readings.ahead); err != nil {
				return err
			}
			continue
		}
		if err := r.settle(0); err != nil { // what follows is of a step that is known to be good
			return err
		}
		if preview {
			if err := r.preview(); err != nil {
				return r.save(err)
			}
		}
		if checkpoint {
			// After a crash in between, the evaluation is made again.
			var spoilt *DivergedError
			if err := r.evaluate(); errors.As(err, &spoilt) {
				return err // the newest checkpoint is better than this state
			} else if err != nil {
				return r.save(err)
			}
			if err := r.checkpoint(); err != nil {
				return err
			}
		}
		r.since = time.Now()
	}
	return nil
}

// DivergedError says that the loss or the weights are no longer numbers.
type DivergedError struct {
	Step       int
	Problem    string // such as "the loss is NaN"
	Dir        string // of the run
	Checkpoint int    // the step of its newest checkpoint
}

func (r *Run) diverged(step int, problem string) error {
	return &DivergedError{Step: step, Problem: problem, Dir: r.dir, Checkpoint: r.saved}
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("step %d: %s: training has diverged; the checkpoint of step %d in %s is kept", e.Step, e.Problem, e.Checkpoint, e.Dir)
}

// Hint says what to change.
func (e *DivergedError) Hint() string {
	hint := "resume it with a lower train.lr (a tenth), with train.clip_norm=1, or with smaller loss weights, through --set"
	if e.Checkpoint > 0 && e.Step == e.Checkpoint+1 {
		hint += fmt.Sprintf("; if it diverges at the same step again, its checkpoint is spoilt: remove %s to go on from the one before",
			filepath.Join(e.Dir, checkpointsDir, fmt.Sprintf("step-%08d", e.Checkpoint)))
	}
	return hint
}
