package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/stylize"
)

// styleOptions are the styles of models that take them from pictures. The flags
// mean what they mean to optimize.
type styleOptions struct {
	styles  []string
	blend   []string
	regions []string
	size    int
}

func (o *styleOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.styles, "style", nil, "for a model of any style: a `picture` with the style; may be repeated")
	flags.StringSliceVar(&o.blend, "style-blend", nil, "the styles' `weights` against each other, such as 0.7,0.3")
	flags.IntVar(&o.size, "style-size", 512, "long side of styles in `pixels`, and with it the size of strokes (0: as they are)")
	completeFiles(cmd, "style", "jpg", "jpeg", "png", "webp")
}

func (o *styleOptions) addRegions(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.regions, "region", nil, "`file` that is white where the photo takes on the style of the same number (\"\": everywhere)")
}

// minStyle is the least side of a style, in pixels: that in training.
const minStyle = 32

func (o *styleOptions) check(cmd *cobra.Command) error {
	for _, f := range []struct {
		flag string
		n    int
	}{{"style-blend", len(o.blend)}, {"region", len(o.regions)}} {
		if f.n > 0 && f.n != len(o.styles) {
			return usagef(cmd, "--%s is given for %d of %d styles: give it for each --style, in their order", f.flag, f.n, len(o.styles))
		}
	}
	for _, text := range o.blend {
		if w, err := strconv.ParseFloat(text, 64); err != nil || !(w >= 0) || math.IsInf(w, 0) {
			return usagef(cmd, "--style-blend %q is not a number of at least 0", text)
		}
	}
	switch {
	case len(o.styles) == 0 && cmd.Flags().Changed("style-size"):
		return usagef(cmd, "--style-size is that of styles: name one with --style")
	case o.size < 0 || o.size > 0 && o.size < minStyle:
		return usagef(cmd, "--style-size %d: give %d or more, or 0 for the styles' own", o.size, minStyle)
	}
	return nil
}

// anyStyleBrush is a model of any style with the styles of the flags.
type anyStyleBrush struct {
	model    *model.Model
	strength float32 // AdaIN's
	parts    []styledPart
}

// styledPart is a mix of styles, and where it is painted.
type styledPart struct {
	region  string // the name of the mask's file, or "" for everywhere
	mask    []byte // the file
	styles  []*images.Picture
	weights []float64
}

// load reads the styles for a model of any style.
func (o *styleOptions) load(path string, m *model.Model, strength float32) (loaded, error) {
	if len(o.styles) == 0 {
		return loaded{}, &hinted{fmt.Errorf("%s takes its style from a picture, and there is none", path), "name one with --style, or several to be mixed"}
	}
	b, digest, err := o.read(m, strength)
	return loaded{
		digest: func() (string, error) {
			err := model.Write(digest, m)
			return hex.EncodeToString(digest.Sum(nil)), err
		},
		open: b.open,
	}, err
}

// read reads the styles, and makes a digest of all of them.
func (o *styleOptions) read(m *model.Model, strength float32) (*anyStyleBrush, hash.Hash, error) {
	b := &anyStyleBrush{model: m, strength: strength}
	digest := sha256.New()
	for i, file := range o.styles {
		region, weight := "", 1.
		if len(o.regions) > 0 {
			region = o.regions[i]
		}
		if len(o.blend) > 0 {
			weight, _ = strconv.ParseFloat(o.blend[i], 64) // check has parsed it
		}
		p, err := o.open(file, digest)
		if err != nil {
			return nil, nil, err
		}
		part, err := b.part(region)
		if err != nil {
			return nil, nil, err
		}
		part.styles, part.weights = append(part.styles, p), append(part.weights, weight)
		fmt.Fprintln(digest, weight, len(part.mask))
		digest.Write(part.mask)
	}
	return b, digest, nil
}

// fix gives a model of any style the styles of the flags, at full strength.
func (o *styleOptions) fix(cmd *cobra.Command, m *model.Model) (_ *model.Model, err error) {
	b, _, err := o.read(m, 1)
	if err != nil {
		return nil, err
	}
	dev, err := openDevice(cmd, arithmetic{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	return b.styled(dev, b.parts[0])
}

func ownStyle(path string) error {
	return fmt.Errorf("%s has a style of its own: --style is for a model of kind adain", path)
}

// part is the part of a region, whose styles are mixed.
func (b *anyStyleBrush) part(region string) (*styledPart, error) {
	for i := range b.parts {
		if b.parts[i].region == region {
			return &b.parts[i], nil
		}
	}
	part := styledPart{region: region}
	if region != "" {
		var err error
		if part.mask, err = os.ReadFile(region); err != nil {
			return nil, fmt.Errorf("region: %w", err)
		}
		if _, err := (images.Decoder{}).Source(part.mask); err != nil {
			return nil, fmt.Errorf("region %s: %w", region, err)
		}
	}
	b.parts = append(b.parts, part)
	return &b.parts[len(b.parts)-1], nil
}

// open reads a style at its size.
func (o *styleOptions) open(path string, digest io.Writer) (*images.Picture, error) {
	p, err := images.Open(path)
	if err != nil {
		return nil, fmt.Errorf("style: %w", err)
	}
	w, h := p.W, p.H
	if o.size > 0 {
		w, h = images.LongSide(w, h, o.size)
	}
	if min(w, h) < minStyle {
		return nil, fmt.Errorf("style %s is of %d×%d pixels: its sides must be at least %d", path, w, h, minStyle)
	}
	if p, err = images.Resize(p, w, h); err != nil {
		return nil, fmt.Errorf("style %s: %w", path, err)
	}
	fmt.Fprintln(digest, w, h)
	if err := binary.Write(digest, binary.LittleEndian, p.Pix); err != nil {
		return nil, err
	}
	return p, nil
}

// open measures the styles and puts a model for each part on the device.
func (b *anyStyleBrush) open(dev kernels.Device) (_ painter, err error) {
	r := &stylize.Regions{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	for _, part := range b.parts {
		m, err := b.styled(dev, part)
		if err != nil {
			return nil, err
		}
		s, err := stylize.Open(dev, m)
		if err != nil {
			return nil, err
		}
		if part.region == "" {
			r.Base = s
		} else {
			r.Parts = append(r.Parts, stylize.Region{Stylizer: s, Mask: part.open})
		}
	}
	if len(r.Parts) == 0 {
		return wholly{r.Base}, nil
	}
	return wholly{r}, nil
}

// styled is the model with the mix of a part's styles.
func (b *anyStyleBrush) styled(dev kernels.Device, part styledPart) (*model.Model, error) {
	var styles []model.Style
	for _, p := range part.styles {
		style, err := stylize.StyleOf(dev, b.model, p)
		if err != nil {
			return nil, err
		}
		styles = append(styles, style)
	}
	mix, err := model.MixStyles(styles, part.weights)
	if err != nil {
		return nil, fmt.Errorf("--style-blend: %w", err)
	}
	return b.model.Styled(mix, b.strength)
}

// open makes the mask of a picture of w×h pixels.
func (p styledPart) open(w, h int) (*images.Mask, error) {
	src, err := images.Decoder{}.Source(p.mask)
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", p.region, err)
	}
	m, err := images.NewMask(src, w, h, 0)
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", p.region, err)
	}
	return m, nil
}

// wholly paints at full strength: that of the flags is in the model.
type wholly struct{ painter }

func (p wholly) Paint(ctx context.Context, src images.Reader, dst images.Writer, o stylize.Options) error {
	o.Strength = 1
	return p.painter.Paint(ctx, src, dst, o)
}
