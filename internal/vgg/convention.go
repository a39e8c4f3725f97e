package vgg

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// keyConvention is the metadata key that Import writes.
const keyConvention = "stylenet.convention"

// officialHash begins the SHA-256 of torchvision's file, vgg19-dcbb9e9d.pth.
const officialHash = "dcbb9e9d"

// claim is what one source says about a file's convention.
type claim struct {
	source string
	is     networks.Convention
}

// agree settles the convention of the file. Every source that says something
// must say the same.
func (f *file) agree(config string, metadata map[string]string) error {
	var claims []claim
	add := func(source string, c networks.Convention) {
		if c != "" {
			claims = append(claims, claim{source, c})
		}
	}
	switch c := networks.Convention(config); c {
	case Auto, "":
	case networks.Caffe, networks.CaffeBGR, networks.Torchvision:
		add("vgg.convention", c)
	default:
		return fmt.Errorf("vgg.convention must be %s, %s, %s or %s, got %q", Auto, networks.Caffe, networks.CaffeBGR, networks.Torchvision, config)
	}
	said, err := described(metadata)
	if err != nil {
		return err
	}
	add("the file's metadata", said)
	add("the values of features.0", recognise(f.Set))
	if strings.HasPrefix(f.sha256, officialHash) {
		add("the checksum", networks.Torchvision)
	}
	if len(claims) == 0 {
		return &advised{
			errors.New("the file does not say what input its weights expect: set vgg.convention"),
			fmt.Sprintf("stylenet weights import FILE --convention C takes it in once for all; C is "+
				"%s (RGB 0-255 minus the mean), %s (the same in BGR order, as the authors' weights come) or %s (RGB 0-1, normalised)",
				networks.Caffe, networks.CaffeBGR, networks.Torchvision),
		}
	}
	for _, c := range claims[1:] {
		if c.is != claims[0].is {
			return fmt.Errorf("the convention is %q by %s, but %q by %s: use the weights with the input they were trained on",
				claims[0].is, claims[0].source, c.is, c.source)
		}
	}
	f.order, f.source = claims[0].is, claims[len(claims)-1].source
	return nil
}

// described reads the convention from a file's metadata: our own key, or the
// input's range and order of channels in words ("input_range", "0-255" or
// "0-1", and "channel_order", "RGB" or "BGR"). It is "" where they are absent.
func described(metadata map[string]string) (networks.Convention, error) {
	if s, ok := metadata[keyConvention]; ok {
		switch c := networks.Convention(s); c {
		case networks.Caffe, networks.CaffeBGR, networks.Torchvision:
			return c, nil
		}
		return "", fmt.Errorf("metadata %s: unknown convention %q", keyConvention, s)
	}
	span, order := metadata["input_range"], strings.ToUpper(metadata["channel_order"])
	switch {
	case span == "":
		return "", nil
	case span == "0-255" && order == "RGB":
		return networks.Caffe, nil
	case span == "0-255" && order == "BGR":
		return networks.CaffeBGR, nil
	case span == "0-1" && (order == "RGB" || order == ""):
		return networks.Torchvision, nil
	}
	return "", fmt.Errorf("metadata: an input_range of %q with channel_order %q is none of the known conventions", span, metadata["channel_order"])
}

// The first row of the first filter of the authors' weights (Simonyan and
// Zisserman 2015), at its red and its blue input, and the first biases. All
// copies carry these numbers.
var (
	authorsRed    = [3]float64{0.3943, 0.3774, -0.0460}
	authorsBlue   = [3]float64{0.3413, 0.3401, -0.0448}
	authorsBiases = [4]float64{0.7300, 0.0649, 0.0343, 0.8262}
)

// recognise tells the authors' weights, and the order of their channels, by
// their first numbers, within what bfloat16 loses; other weights give "". A
// statistic would not do: the scale of conv1_1 is the same in both families,
// and weights that somebody trained on have none of their own.
func recognise(set *weights.Set) networks.Convention {
	w, b := set.Get("features.0.weight").Data, set.Get("features.0.bias").Data
	const blue = 2 * 9 // of the first filter (3, 3, 3)
	switch {
	case !near(b, authorsBiases[:]):
	case near(w, authorsRed[:]) && near(w[blue:], authorsBlue[:]):
		return networks.Caffe
	case near(w, authorsBlue[:]) && near(w[blue:], authorsRed[:]):
		return networks.CaffeBGR
	}
	return ""
}

func near(got []float32, want []float64) bool {
	for i, v := range want {
		if math.Abs(float64(got[i])-v) > 0.005*math.Abs(v)+2e-4 {
			return false
		}
	}
	return true
}
