//go:build unix

package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"stylenet/data"
)

// A run learns the same from a cache as from photos, and may change from one to
// the other.
func TestTrainFromACache(t *testing.T) {
	newTraining(t)
	mustRun(t, "train", "config.yaml", "--out", "straight")
	mustRun(t, "data", "prepare", "config.yaml", "-o", "photos.sndata")
	mustRun(t, "train", "config.yaml", "--out", "run", "--set", "data.cache=photos.sndata", "--set", "train.steps=11")
	mustRun(t, "train", "--resume", "run", "--set", "data.cache=", "--set", "train.steps=20")
	sameRuns(t, "run", "straight")

	if err := os.WriteFile("photos/3.png", []byte("another"), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd, stderr := program("train", "--resume", "run", "--set", "train.steps=30", "--set", "data.cache=photos.sndata")
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "it is stale: 3.png has changed since it was made\nhint: make it with stylenet data prepare") {
		t.Errorf("%v: printed\n%s", err, stderr)
	}
}

func TestDataPrepareStopsAtASignal(t *testing.T) {
	newTraining(t)
	args := []string{"data", "prepare", "config.yaml", "-o", "c"}
	cmd, stderr := program(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 { // it has begun
		if _, err := os.Stat("c.part"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	// It may have been quicker.
	if err := cmd.Wait(); err != nil && !strings.Contains(stderr.String(), "error: prepare c: interrupt signal received\nhint: go on with the same command\n") {
		t.Errorf("%v: printed\n%s", err, stderr)
	}
	mustRun(t, args...)
}

func TestBenchDataAgainstTraining(t *testing.T) {
	newTraining(t)
	cmd, stderr := program("bench", "data", "config.yaml", "--cache", "c", "--runs", "1", "--against-training", "--steps", "6", "--json")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var r map[string]any
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r["source"] != "cache" || r["batch"] != 2. || r["size"] != 32. {
		t.Errorf("printed %s", out)
	}
	for _, key := range []string{"images_per_second", "images_per_second_core", "mb_per_second", "step_seconds", "synthetic_step_seconds", "training_ratio", "training_processor_ratio"} {
		if v, ok := r[key].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v", key, r[key])
		}
	}
}

// Blocks of both kinds come in turns, and those on one batch leave the loader
// alone.
func TestTurns(t *testing.T) {
	newTraining(t)
	l, err := data.NewLoader(data.Options{Dir: "photos", Size: 32, Batch: 2}, data.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	turns := &turns{steps: 2}
	source := turns.on(l)
	var kinds []byte
	for range turnsWarmUp + 8 + 1 {
		b, err := source.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		kind := byte('p')
		if b == turns.batch {
			kind = 's'
		}
		kinds = append(kinds, kind)
		source.Release(b)
	}
	if string(kinds) != "pp"+"ss"+"pp"+"pp"+"ss"+"s" {
		t.Errorf("the steps were on %s", kinds)
	}
	if len(turns.photos.wall) != 2 || len(turns.same.wall) != 2 || len(turns.photos.used) != 2 || len(turns.same.used) != 2 {
		t.Errorf("timed %+v and %+v", turns.photos, turns.same)
	}
}
