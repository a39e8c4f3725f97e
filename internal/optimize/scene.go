package optimize

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"stylenet/internal/images"
)

// scene is everything at one scale.
type scene struct {
	content *images.Picture
	parts   []part
	// free is 1 where the picture may change and 0 where it stays the content;
	// nil where all of it may change. cover, at the same time, is how much of
	// the result is to be seen.
	free, cover []float32
}

// part is a part of the content and the styles that it takes.
type part struct {
	mask   []float32 // (H, W) of the content, 0 to 1; nil is all of it
	name   string    // of the mask
	weight float64
	styles []partStyle
}

type partStyle struct {
	picture *images.Picture
	mask    []float32 // (H, W) of the picture
	name    string    // of the mask
	share   float64   // of all of the part's; they add up to 1
}

// scene resizes content, styles and masks for a result of w×h pixels.
func (o *Options) scene(w, h int) (s scene, err error) {
	if s.content, err = images.Resize(o.Content, w, h); err != nil {
		return s, err
	}
	var regions []*images.Picture
	for _, style := range o.Styles {
		at := slices.Index(regions, style.Region)
		if at < 0 {
			at = len(regions)
			regions = append(regions, style.Region)
			p := part{weight: 1, name: style.RegionName}
			if style.Region != nil {
				if p.mask, err = maskAt(style.Region, w, h); err != nil {
					return s, err
				}
				p.weight = mean(p.mask)
			}
			s.parts = append(s.parts, p)
		}
		long := int(math.Round(float64(max(w, h)) * o.StyleScale))
		sw, sh := images.LongSide(style.Picture.W, style.Picture.H, long)
		of := partStyle{share: style.Weight, name: style.MaskName}
		if of.picture, err = images.Resize(style.Picture, sw, sh); err != nil {
			return s, err
		}
		if style.Mask != nil {
			if of.mask, err = maskAt(style.Mask, sw, sh); err != nil {
				return s, err
			}
		}
		s.parts[at].styles = append(s.parts[at].styles, of)
	}
	for _, p := range s.parts {
		sum := 0.0
		for _, style := range p.styles {
			sum += style.share
		}
		for i := range p.styles {
			p.styles[i].share /= sum
		}
	}
	s.restrict()
	return s, nil
}

// restrict finds what no part covers, which stays the content.
func (s *scene) restrict() {
	s.cover = make([]float32, s.content.W*s.content.H)
	for _, p := range s.parts {
		if p.mask == nil {
			s.cover = nil
			return
		}
		for i, v := range p.mask {
			s.cover[i] = min(1, s.cover[i]+v)
		}
	}
	if !slices.ContainsFunc(s.cover, func(v float32) bool { return v < 1 }) {
		s.cover = nil
		return
	}
	s.free = make([]float32, len(s.cover))
	for i, v := range s.cover {
		if v > 0 {
			s.free[i] = 1
		}
	}
}

// maskAt is the luminance of a picture, 0 to 1, at w×h.
func maskAt(p *images.Picture, w, h int) ([]float32, error) {
	p, err := images.Resize(p, w, h)
	if err != nil {
		return nil, err
	}
	mask := images.Luminance(p)
	for i, v := range mask {
		mask[i] = min(max(v/255, 0), 1)
		if p.Alpha != nil {
			mask[i] *= p.Alpha[i]
		}
	}
	return mask, nil
}

func mean(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x)
	}
	return sum / float64(len(v))
}

// start is the picture that the optimisation of a scene begins with.
func (o *Options) start(s scene) (*images.Picture, error) {
	w, h := s.content.W, s.content.H
	var p *images.Picture
	switch {
	case o.Start != nil:
		var err error
		if p, err = images.Resize(o.Start, w, h); err != nil {
			return nil, err
		}
	case o.Noise:
		p = noise(o.Seed, w, h)
	default:
		return s.content, nil
	}
	s.hold(p)
	return p, nil
}

// hold makes a picture the content where it may not change.
func (s *scene) hold(p *images.Picture) {
	for i, v := range s.free {
		for c := range 3 {
			if v == 0 {
				p.Plane(c)[i] = s.content.Plane(c)[i]
			}
		}
	}
}

// noise is normally distributed around the mean of VGG-19's training photos.
func noise(seed uint64, w, h int) *images.Picture {
	const deviation = 20
	mean := [3]float64{123.68, 116.779, 103.939}
	r := rand.New(rand.NewPCG(seed, 0))
	p := images.New(w, h)
	for c := range 3 {
		plane := p.Plane(c)
		for i := range plane {
			plane[i] = float32(mean[c] + deviation*r.NormFloat64())
		}
	}
	return p
}

// finish makes the result of what was optimised: clamped, in front of the
// content where parts cover it in part, with the content's alpha.
func (s *scene) finish(pix []float32, colours bool) (*images.Picture, error) {
	p := &images.Picture{W: s.content.W, H: s.content.H, Pix: slices.Clone(pix)}
	if i := slices.IndexFunc(p.Pix, func(v float32) bool { return v != v }); i >= 0 {
		return nil, fmt.Errorf("the picture is not a number at value %d", i)
	}
	for i, v := range p.Pix {
		p.Pix[i] = min(max(v, 0), 255)
	}
	if colours {
		p = images.KeepColors(p, s.content)
	}
	for i, v := range s.cover {
		for c := range 3 {
			to, from := p.Plane(c), s.content.Plane(c)
			to[i] = from[i] + v*(to[i]-from[i])
			if v == 0 {
				to[i] = from[i]
			}
		}
	}
	p.Alpha = s.content.Alpha
	return p, nil
}
