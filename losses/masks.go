package losses

import (
	"fmt"
	"math"

	"stylenet/internal/networks"
)

// Masks makes the masks of a picture's region at the recipe's style layers, in
// their order: for each layer one value a pixel of its maps, row by row.
//
// region has h×w values, 0 (outside) to 1 (inside). It is averaged over what
// each pixel of a layer was pooled from. The values are the roots of these
// shares, scaled so that a Gram matrix of masked maps, which is divided by all
// of their pixels, is the mean over the region's own: matrices of regions of
// different size, and of whole pictures, compare. Gatys et al. 2017 multiply
// by the shares themselves; between 0 and 1 lie the borders of a region alone.
//
// It is an error where nothing of the region is left at a layer.
func Masks(vgg *networks.Network, layers []Layer, region []float32, h, w int) ([][]float32, error) {
	keep, err := vgg.FindAll(Names(layers))
	if err != nil {
		return nil, err
	}
	sizes, err := vgg.Sizes(h, w)
	if err != nil {
		return nil, err
	}
	masks := make([][]float32, len(layers))
	for i, k := range keep {
		share, sh, sw := region, h, w
		for sh > sizes[k].H && sw > sizes[k].W {
			share, sh, sw = halve(share, sh, sw)
		}
		if sh != sizes[k].H || sw != sizes[k].W {
			return nil, fmt.Errorf("losses: layer %s of %d×%d pixels is not %d×%d, halved", layers[i].Name, sizes[k].W, sizes[k].H, w, h)
		}
		sum := 0.0
		for _, v := range share {
			sum += float64(v)
		}
		if !(sum > 0) {
			return nil, fmt.Errorf("losses: a region has no pixel at layer %s of %d×%d", layers[i].Name, sw, sh)
		}
		mask := make([]float32, len(share))
		for j, v := range share {
			mask[j] = float32(math.Sqrt(float64(v) * float64(len(share)) / sum))
		}
		masks[i] = mask
	}
	return masks, nil
}

// halve takes the mean of each square of 2×2, as VGG-19 pools: an odd last row
// or column is dropped.
func halve(v []float32, h, w int) ([]float32, int, int) {
	half := make([]float32, (h/2)*(w/2))
	for i := range half {
		at := i/(w/2)*2*w + i%(w/2)*2
		half[i] = (v[at] + v[at+1] + v[at+w] + v[at+w+1]) / 4
	}
	return half, h / 2, w / 2
}
