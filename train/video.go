package train

import (
	"context"
	"math/rand/v2"
	"path/filepath"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/internal/clips"
	"stylenet/internal/kernels"
	"stylenet/internal/views"
	"stylenet/losses"
)

// video trains a network for one style that does not flicker. A step sees two
// views of each photo, and beside the losses of both of them, as johnson has them,
// punishes results that differ where the views show the same (as ReCoNet does,
// Gao et al. 2018, with the motion of films). The model is a network as any other.
type video struct {
	johnson
	flow, seen kernels.Array // (2N, 2, size, size) and (2N, 1, size, size): views.Pair, in the order of x
	// The batch, as the device takes it.
	pictures, flows, marks []float32
}

func motionOf(c configs.Video) views.Motion {
	return views.Motion{Pixels: c.Motion, Noise: c.Noise, Brightness: c.Brightness}
}

// derivePairs makes batches hold pairs of views of size×size pixels.
func derivePairs(o *data.Options, size int, c configs.Video) {
	m := motionOf(c)
	o.Size, o.Values = size+2*m.Border(), views.Values(size)
	o.Derive = func() (func(dst, crop []float32, random *rand.Rand) error, error) {
		k, err := views.NewMaker(size, m)
		if err != nil {
			return nil, err
		}
		return k.Make, nil
	}
}

// openClips makes every second pair one of consecutive frames, by chance. The
// frames are kept in the run's directory, so that a resume has the same.
func openClips(ctx context.Context, cfg *configs.Config, dir string, o *data.Options) (*clips.Set, error) {
	size, border := cfg.Data.Size, motionOf(cfg.Video).Border()
	// A quarter more than a view leaves a choice of places.
	set, err := clips.Open(ctx, cfg.Video.Clips, filepath.Join(dir, "clips.frames"), size*5/4+2*border)
	if err != nil {
		return nil, err
	}
	photos := o.Derive
	o.Derive = func() (func(dst, crop []float32, random *rand.Rand) error, error) {
		synthetic, err := photos()
		if err != nil {
			return nil, err
		}
		cutter, err := set.NewCutter(size, border)
		if err != nil {
			return nil, err
		}
		return func(dst, crop []float32, random *rand.Rand) error {
			if random.IntN(2) == 0 {
				return synthetic(dst, crop, random)
			}
			p := views.PairOf(dst, size)
			return cutter.Cut(p.Views, p.Flow, p.Seen, random)
		}, nil
	}
	return set, nil
}

func (k *video) build() (g graph, err error) {
	size, n := k.r.config.Data.Size, 2*k.r.config.Train.Batch
	if k.flow, err = k.r.dev.NewActivation(kernels.Shape{N: n, C: 2, H: size, W: size}); err != nil {
		return g, err
	}
	if k.seen, err = k.r.dev.NewActivation(kernels.Shape{N: n, C: 1, H: size, W: size}); err != nil {
		return g, err
	}
	k.r.recipe.Temporal = k.r.config.Video.Weight
	return k.buildStep(n, losses.Targets{Flow: k.flow, Seen: k.seen})
}

// upload takes pairs, (N, Values) of package views, apart.
func (k *video) upload(pairs []float32) error {
	size := k.r.config.Data.Size
	k.pictures, k.flows, k.marks = k.pictures[:0], k.flows[:0], k.marks[:0]
	for values := views.Values(size); len(pairs) > 0; pairs = pairs[values:] {
		p := views.PairOf(pairs[:values], size)
		k.pictures, k.flows, k.marks = append(k.pictures, p.Views...), append(k.flows, p.Flow...), append(k.marks, p.Seen...)
	}
	dev := k.r.machine.Device()
	for _, in := range []struct {
		to     kernels.Array
		values []float32
	}{{k.x, k.pictures}, {k.flow, k.flows}, {k.seen, k.marks}} {
		if err := dev.Upload(in.to, in.values); err != nil {
			return err
		}
	}
	return nil
}
