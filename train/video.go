package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	clips      *clips.Set    // that the loader reads; nil without video.clips
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

// videoState is what a checkpoint keeps of the clips, which are no longer needed
// where their frames are: a resume has these, whatever has become of the folder.
type videoState struct {
	Clips  string `json:"clips"`  // video.clips
	Side   int    `json:"side"`   // of the frames
	Frames string `json:"frames"` // clips.Set.ID
}

// clipSide is the short side of the clips' frames: a quarter more than a view
// leaves a choice of places.
func clipSide(cfg *configs.Config) int { return cfg.Data.Size*5/4 + 2*motionOf(cfg.Video).Border() }

func (k *video) state() any {
	if k.clips == nil {
		return nil
	}
	return videoState{k.r.config.Video.Clips, clipSide(k.r.config), k.clips.ID()}
}

// openClips makes every second pair one of consecutive frames, by chance. The
// frames are kept in the run's directory. Where the run goes on with the settings
// of its checkpoint, whose state is given, it has to have the same ones.
func (k *video) openClips(ctx context.Context, state json.RawMessage, o *data.Options) (err error) {
	cfg := k.r.config
	size, border, side := cfg.Data.Size, motionOf(cfg.Video).Border(), clipSide(cfg)
	var s videoState
	if len(state) > 0 {
		if err := json.Unmarshal(state, &s); err != nil {
			return fmt.Errorf("the checkpoint's clips: %w", err)
		}
	}
	if s.Clips != cfg.Video.Clips || s.Side != side {
		s.Frames = ""
	}
	set, err := clips.Open(ctx, cfg.Video.Clips, filepath.Join(k.r.dir, clipsFile), side, s.Frames)
	if err != nil {
		return err
	}
	k.clips = set
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
	return nil
}

func (k *video) close() error {
	err := k.johnson.close()
	if k.clips != nil {
		err = errors.Join(err, k.clips.Close())
	}
	return err
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
