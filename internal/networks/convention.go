package networks

// Convention is what the numbers of a picture are for a network: their range,
// what was subtracted from them, and the order of the channels. Pictures in
// stylenet are RGB 0-255.
type Convention string

// The conventions of networks in circulation.
const (
	RGB255 Convention = "rgb-255" // RGB 0-255
	BGR255 Convention = "bgr-255" // BGR 0-255
	RGB1   Convention = "rgb-1"   // RGB 0-1
	// RGBSigned: RGB −1 to 1.
	RGBSigned Convention = "rgb-signed"
	// Caffe: RGB 0-255 minus 123.68, 116.779, 103.939 (VGG's authors' weights
	// with conv1_1 turned to RGB order).
	Caffe Convention = "caffe"
	// CaffeBGR: the same, in BGR order.
	CaffeBGR Convention = "caffe-bgr"
	// Torchvision: RGB 0-1 minus .485, .456, .406, divided by .229, .224, .225.
	Torchvision Convention = "torchvision"
)

// Conventions lists them all.
func Conventions() []Convention {
	return []Convention{RGB255, BGR255, RGB1, RGBSigned, Torchvision, Caffe, CaffeBGR}
}

// Features is about how large VGG-19's features are with weights of the convention,
// beside those with the authors' weights: torchvision's take smaller numbers, by 255
// times the mean of its standard deviations.
func (c Convention) Features() float64 {
	if c == Torchvision {
		return 3 / (255 * (.229 + .224 + .225))
	}
	return 1
}

// BGR says that the channels are in the order blue, green, red.
func (c Convention) BGR() bool { return c == BGR255 || c == CaffeBGR }

// Affine turns channels red, green and blue of 0 to 255 into those of the
// convention, not yet in its order. It is false for an unknown convention.
func (c Convention) Affine() (Affine, bool) {
	a := Affine{Scale: []float32{1, 1, 1}, Shift: []float32{0, 0, 0}}
	switch c {
	case RGB255, BGR255:
	case RGB1:
		a.Scale = []float32{1. / 255, 1. / 255, 1. / 255}
	case RGBSigned:
		a.Scale, a.Shift = []float32{2. / 255, 2. / 255, 2. / 255}, []float32{-1, -1, -1}
	case Caffe, CaffeBGR:
		a.Shift = []float32{-123.68, -116.779, -103.939}
	case Torchvision:
		for i, m := range [3]float32{.485, .456, .406} {
			std := [3]float32{.229, .224, .225}[i]
			a.Scale[i], a.Shift[i] = 1/(255*std), -m/std
		}
	default:
		return Affine{}, false
	}
	return a, true
}
