package main

import (
	"math"
	"testing"

	"stylenet/internal/coco"
)

// Styles and strengths are drawn evenly, and pictures whose numbers follow each
// other have no more in common than others.
func TestAugmentChoices(t *testing.T) {
	const styles, n = 4, 4000
	for _, seed := range []uint64{0, 1, 2} {
		r := &augmentRun{o: &augmentOptions{seed: seed, least: .25, most: .75}, styles: make([]augmentStyle, styles)}
		var count [styles]int
		var mean, square float64
		repeats, last := 0, -1
		var strengths [2]float64
		covariance := 0.
		for id := range int64(n) {
			seen := map[int]bool{}
			for v := range styles {
				choice, style := r.choose(coco.Image{ID: id}, v)
				if again, same := r.choose(coco.Image{ID: id}, v); again != choice || same != style {
					t.Fatalf("image %d: %v, and then %v", id, choice, again)
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
