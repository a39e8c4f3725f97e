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
//
// It refuses to decode photos (package data), to know what the losses are made
// of (package losses) and to talk to a person: callers observe.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Metrics is a line of metrics.jsonl. Loss is the sum of the three terms, with
// their weights.
type Metrics struct {
	Step            int     `json:"step"` // from 1
	Loss            float64 `json:"loss"`
	Content         float64 `json:"content"`
	Style           float64 `json:"style"`
	TotalVariation  float64 `json:"tv"`
	LearningRate    float64 `json:"lr"`
	ImagesPerSecond float64 `json:"images_per_second"`
}

// Train runs the remaining steps. When ctx ends it finishes the step at hand,
// writes a checkpoint and returns ctx's error. Whatever fails, the newest
// checkpoint stays usable.
func (r *Run) Train(ctx context.Context) error {
	for r.step < r.steps {
		if ctx.Err() != nil {
			return errors.Join(r.checkpoint(), context.Cause(ctx))
		}
		start := time.Now()
		batch, err := r.loader.Next(ctx)
		if ctx.Err() != nil {
			continue
		} else if err != nil {
			return errors.Join(err, r.checkpoint())
		}
		if err := r.forwardBackward(batch.Pixels); err != nil {
			return fmt.Errorf("step %d: %w", r.step+1, err)
		}
		m, err := r.losses()
		if err != nil {
			return fmt.Errorf("step %d: %w", r.step+1, err)
		}
		if math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) {
			return &DivergedError{Step: r.step + 1, Loss: m.Loss, Dir: r.dir}
		}
		if m.LearningRate, err = r.update(); err != nil {
			return fmt.Errorf("step %d: %w", r.step+1, err)
		}
		r.cursor = batch.Cursor
		r.loader.Release(batch)
		r.step++

		elapsed := time.Since(start).Seconds()
		r.elapsed += elapsed
		m.Step, m.ImagesPerSecond = r.step, float64(r.config.Train.Batch)/elapsed
		if err := r.log(m); err != nil {
			return errors.Join(err, r.checkpoint())
		}
		if every(r.step, r.config.Train.PreviewEvery) || r.step == r.steps {
			if err := r.preview(ctx); err != nil {
				return errors.Join(err, r.checkpoint())
			}
		}
		if every(r.step, r.config.Train.CheckpointEvery) || r.step == r.steps {
			if err := errors.Join(r.checkpoint(), r.evaluate()); err != nil {
				return err
			}
		}
	}
	return nil
}

func every(step, n int) bool { return n > 0 && step%n == 0 }

// DivergedError says that the loss is no longer a number.
type DivergedError struct {
	Step int
	Loss float64
	Dir  string
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("step %d: the loss is %g: training has diverged; the last good checkpoint in %s is kept", e.Step, e.Loss, e.Dir)
}

// Hint says what to change.
func (e *DivergedError) Hint() string {
	return "resume it with a lower train.lr (a tenth), with train.clip_norm=1, or with smaller loss weights, through --set"
}
