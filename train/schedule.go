package train

import (
	"math"

	"stylenet/configs"
)

// learningRate is the rate of a step, counted from 1, of a run of steps.
func learningRate(t configs.Train, step, steps int) float64 {
	rate := t.LR
	switch t.Schedule {
	case "cosine":
		rate *= (1 + math.Cos(math.Pi*float64(step-1)/float64(steps))) / 2
	case "step":
		rate *= math.Pow(t.DecayFactor, float64((step-1)/t.DecayEvery))
	case "inverse":
		rate /= 1 + t.Decay*float64(step-1)
	}
	if step <= t.Warmup {
		rate *= float64(step) / float64(t.Warmup)
	}
	return rate
}
