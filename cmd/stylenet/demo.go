package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/export"
	"stylenet/internal/atomicfile"
	"stylenet/internal/images"
	"stylenet/internal/scenes"
	"stylenet/internal/stylize"
	"stylenet/internal/vgg"
	"stylenet/train"
)

type demoOptions struct {
	out      string
	steps    int
	size     int
	dataOnly bool
}

func newDemoCmd() *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Train a small style on drawn photos and show the result",
		Long: `Draw photo-like scenes and a painting, train a small network for the painting's
style, stylize scenes that it never saw and leave, in the output directory:

  sheet.png   content, style and result side by side
  curve.png   the losses over the steps
  photos/, style.png, run/, model.safetensors

VGG-19 is the one that the trainer would find (stylenet weights), or else a
random one, which carries style less well. A demo that was stopped goes on.`,
		Example: `  stylenet demo
  stylenet demo -o quick --steps 100`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.out, "output", "o", "demo", "the output directory")
	flags.IntVar(&o.steps, "steps", 0, "training steps (default: the recipe's)")
	flags.IntVar(&o.size, "size", 384, "pixels on each side of the sheet's pictures")
	flags.BoolVar(&o.dataOnly, "data-only", false, "draw photos/ and style.png, and stop")
	return cmd
}

// demoPhotos is the number of scenes to learn from; those of the sheet have
// later seeds.
const demoPhotos = 90

func (o *demoOptions) run(cmd *cobra.Command) error {
	switch {
	case o.size < 32 || o.size > 2048:
		return usagef(cmd, "--size must be 32 to 2048, got %d", o.size)
	case o.steps < 0:
		return usagef(cmd, "--steps %d: give 1 or more, or 0 for the recipe's", o.steps)
	}
	folder := demoFolder{o.out}
	if err := folder.draw(cmd.Context(), demoPhotos, 256, 256); err != nil {
		return err
	}
	if o.dataOnly {
		return nil
	}
	runDir := filepath.Join(o.out, "run")
	if err := o.train(cmd, folder, runDir); err != nil {
		return err
	}
	m, err := loadModel(cmd, runDir)
	if err != nil {
		return err
	}
	if err := export.Safetensors(filepath.Join(o.out, "model.safetensors"), m); err != nil {
		return err
	}
	if err := drawCurve(filepath.Join(runDir, "metrics.jsonl"), filepath.Join(o.out, "curve.png")); err != nil {
		return err
	}
	return o.sheet(cmd, folder)
}

func (o *demoOptions) train(cmd *cobra.Command, folder demoFolder, runDir string) error {
	sets, err := deviceSets(cmd, "train.")
	if err != nil {
		return err
	}
	flags := deviceFlags()
	flags["train.steps"] = "steps"
	if o.steps > 0 {
		sets = append(sets, fmt.Sprintf("train.steps=%d", o.steps))
	}
	if _, err := os.Stat(filepath.Join(runDir, "config.yaml")); err == nil {
		return runTraining(cmd, false, func(to train.Options) (*train.Run, error) {
			r, err := train.Resume(cmd.Context(), runDir, sets, to)
			return r, flagFaults(cmd, err, nil, flagsOf(flags))
		})
	}
	sets = append(sets, "data.dir="+folder.photos(), "style.image="+folder.style())
	var missing *vgg.NotFoundError
	if _, err := vgg.Find(""); errors.As(err, &missing) {
		sets = append(sets, "vgg.random=true")
	} else if err != nil {
		return err
	}
	cfg, err := configs.LoadPreset("demo", sets)
	if err != nil {
		return flagFaults(cmd, err, nil, flagsOf(flags))
	}
	return runTraining(cmd, false, func(to train.Options) (*train.Run, error) {
		return train.New(cmd.Context(), cfg, runDir, to)
	})
}

// sheet stylizes scenes that the network never saw.
func (o *demoOptions) sheet(cmd *cobra.Command, folder demoFolder) (err error) {
	m, err := loadModel(cmd, filepath.Join(o.out, "model.safetensors"))
	if err != nil {
		return err
	}
	dev, err := openDevice(cmd, arithmetic{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	s, err := stylize.Open(dev, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	style, err := images.Open(folder.style())
	if err != nil {
		return err
	}
	var rows [][]images.Labelled
	for i := range uint64(4) {
		content, err := images.FromImage(scenes.Photo(demoPhotos+i*5, o.size, o.size))
		if err != nil {
			return err
		}
		result, err := s.Picture(cmd.Context(), content, stylize.Options{Strength: 1})
		if err != nil {
			return err
		}
		rows = append(rows, []images.Labelled{
			{Picture: content, Caption: "content"}, {Picture: style, Caption: "style"}, {Picture: result, Caption: "result"},
		})
	}
	sheet, err := images.Sheet(rows, o.size)
	if err != nil {
		return err
	}
	path := filepath.Join(o.out, "sheet.png")
	if err := images.Save(path, sheet, images.SaveOptions{}); err != nil {
		return err
	}
	say(cmd, "look at %s and %s", path, filepath.Join(o.out, "curve.png"))
	return nil
}

// demoFolder is a folder of drawn photos beside a drawn painting.
type demoFolder struct{ dir string }

func (f demoFolder) photos() string { return filepath.Join(f.dir, "photos") }
func (f demoFolder) style() string  { return filepath.Join(f.dir, "style.png") }

// draw makes what is not there yet.
func (f demoFolder) draw(ctx context.Context, photos, w, h int) error {
	if err := os.MkdirAll(f.photos(), 0o777); err != nil {
		return err
	}
	for i := range photos {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(f.photos(), fmt.Sprintf("%03d.jpg", i))
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := writeImage(path, scenes.Photo(uint64(i), w, h), func(w io.Writer, p image.Image) error {
			return jpeg.Encode(w, p, &jpeg.Options{Quality: 92})
		}); err != nil {
			return err
		}
	}
	if _, err := os.Stat(f.style()); err == nil {
		return nil
	}
	return writeImage(f.style(), scenes.Painting(1, 512, 512), png.Encode)
}

func writeImage(path string, p image.Image, encode func(io.Writer, image.Image) error) error {
	return atomicfile.Write(path, 0o666, func(w io.Writer) error { return encode(w, p) })
}
