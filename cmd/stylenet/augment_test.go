package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/spf13/cobra"

	"stylenet/internal/coco"
)

// Styles and strengths are drawn evenly, and pictures whose numbers follow each
// other have no more in common than others.
func TestAugmentChoices(t *testing.T) {
	const styles, n = 4, 4000
	for _, seed := range []uint64{0, 1, 2} {
		r := &augmentRun{o: &augmentOptions{seed: seed, variants: styles, least: .25, most: .75}, styles: make([]augmentStyle, styles)}
		var count [styles]int
		var mean, square float64
		repeats, last := 0, -1
		var strengths [2]float64
		covariance := 0.
		for id := range int64(n) {
			seen := map[int]bool{}
			v := -1
			for style, choice := range r.choose(coco.Image{ID: id}) {
				v++
				for same, again := range r.choose(coco.Image{ID: id}) {
					if again.Variant == v && (again != choice || same != style) {
						t.Fatalf("image %d: %v, and then %v", id, choice, again)
					}
				}
				if seen[style] {
					t.Fatalf("image %d: a style is drawn twice in %d variants", id, styles)
				}
				seen[style] = true
				if choice.Strength < .25 || choice.Strength > .75 || choice.Variant != v || choice.SourceID != id {
					t.Fatalf("image %d: %+v", id, choice)
				}
				if v == 0 {
					count[style]++
					if style == last {
						repeats++
					}
					last = style
					strengths = [2]float64{strengths[1], choice.Strength - .5}
					covariance += strengths[0] * strengths[1] / n
				}
				mean += choice.Strength / (n * styles)
				square += math.Pow(choice.Strength-.5, 2) / (n * styles)
			}
		}
		for style, c := range count {
			if math.Abs(float64(c)-n/styles) > 5*math.Sqrt(n/styles) {
				t.Errorf("seed %d: style %d is drawn %d times of %d", seed, style, c, n)
			}
		}
		if math.Abs(float64(repeats)-n/styles) > 5*math.Sqrt(n/styles) {
			t.Errorf("seed %d: the next picture has the same style %d times of %d", seed, repeats, n)
		}
		if variance := .5 * .5 / 12; math.Abs(mean-.5) > .01 || math.Abs(square-variance) > .05*variance || math.Abs(covariance) > .1*variance {
			t.Errorf("seed %d: strengths have the mean %g, the variance %g, and with the next one's %g", seed, mean, square, covariance)
		}
	}
}

// Every result is the task of its style, in the data set's order, and what the
// tasks of all styles take grows with the results, and not with their number times
// that of styles.
func TestAugmentTasks(t *testing.T) {
	const styles, n, variants = 500, 100, 2
	data := &coco.Dataset{}
	for id := range int64(n) {
		data.Images = append(data.Images, coco.Image{ID: id, FileName: fmt.Sprintf("%d.jpg", id), W: 8, H: 8})
	}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	r := &augmentRun{
		o:   &augmentOptions{seed: 1, variants: variants, least: .25, most: .75, images: t.TempDir(), output: t.TempDir()},
		cmd: cmd, data: data, styles: make([]augmentStyle, styles),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := r.draw(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for r.index = range r.styles {
		last := -1
		for task, err := range r.tasks() {
			if err != nil {
				t.Fatal(err)
			}
			seen++
			at := int(task.image.ID)*variants + task.choice.Variant
			if at <= last || task.choice.SourceID != task.image.ID {
				t.Errorf("style %d: task %d after %d: %+v", r.index, at, last, task.choice)
			}
			last = at
			for style, choice := range r.choose(task.image) {
				if choice.Variant == task.choice.Variant && (choice != task.choice || style != r.index) {
					t.Errorf("style %d: %+v, drawn are %d and %+v", r.index, task.choice, style, choice)
				}
			}
		}
	}
	runtime.ReadMemStats(&after)
	if seen != n*variants {
		t.Errorf("%d tasks for %d results", seen, n*variants)
	}
	// A draw is a permutation of the styles. One for each picture of each style
	// would be 200 MB.
	if took := after.TotalAlloc - before.TotalAlloc; took > 20<<20 {
		t.Errorf("the tasks took %d bytes", took)
	}
}

// Looking through the names of a large data set ends when it is told to.
func TestAugmentApartStops(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.json")
	const text = `{"images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}], "annotations": [], "categories": []}`
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	d, err := coco.Read(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	o := &augmentOptions{coco: file, images: dir, output: filepath.Join(dir, "out"), variants: maxVariants}
	if err := o.apart(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := o.apart(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}
