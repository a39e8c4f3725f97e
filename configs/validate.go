package configs

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Validate checks every value and how values fit together, and returns a Faults
// with everything that is wrong, or nil. It does not look at the file system.
// Load has already called it; the faults of a Config that was changed since
// name keys, not lines.
func (c *Config) Validate() error {
	v := checker{at: func(string) (place, bool) { return place{}, true }}
	c.check(&v)
	return v.faults.err()
}

// minSize is the smallest crop and style image in pixels: relu5_1 of VGG-19
// is then 2 pixels wide, so that its Gram matrix still sees a neighbour.
const minSize = 32

// Above these bounds no machine of today computes: a number beyond them is a
// slip of the hand, which would else end in a lack of memory.
const (
	maxSide    = 1 << 16 // of crops and of a repainted picture, in pixels
	maxBatch   = 4096
	maxWorkers = 1024
	maxHistory = 1000 // steps of L-BFGS
	maxScale   = 16   // of the styles of a repainting, beside the result
)

// MaxThreads is the largest number of threads that a config may ask for: below
// what systems let a process have, which OpenMP does not survive to exceed.
const MaxThreads = 1024

// checker collects the faults of values.
type checker struct {
	// at says where a key was set, and whether its faults are to be reported.
	at     func(key string) (place, bool)
	faults Faults
}

func (v *checker) fail(key, format string, args ...any) {
	if p, ok := v.at(key); ok {
		v.faults = append(v.faults, Fault{File: p.file, Line: p.line, Key: key, Problem: fmt.Sprintf(format, args...)})
	}
}

func (v *checker) atLeast(key string, x, least int) bool {
	if x < least {
		v.fail(key, "must be at least %d, got %d", least, x)
	}
	return x >= least
}

// between is atLeast with an upper bound.
func (v *checker) between(key string, x, least, most int) bool {
	if x > most {
		v.fail(key, "must be at most %d, got %d", most, x)
		return false
	}
	return v.atLeast(key, x, least)
}

// number checks that x is finite and that ok holds; want completes "must be".
func (v *checker) number(key string, x float64, ok bool, want string) bool {
	ok = ok && !math.IsInf(x, 0) && !math.IsNaN(x)
	if !ok {
		v.fail(key, "must be %s, got %v", want, x)
	}
	return ok
}

func (v *checker) positive(key string, x float64) bool {
	return v.number(key, x, x > 0, "above 0")
}

func (v *checker) notNegative(key string, x float64) bool {
	return v.number(key, x, x >= 0, "at least 0")
}

func (v *checker) oneOf(key, x string, options ...string) {
	if slices.Contains(options, x) {
		return
	}
	if len(options) == 1 {
		v.fail(key, "must be %s, the only value supported, got %s", options[0], quoted(x))
		return
	}
	last := len(options) - 1
	v.fail(key, "must be %s or %s, got %s", strings.Join(options[:last], ", "), options[last], quoted(x))
}

// text refuses what no path and no name needs and a terminal or a YAML file
// would mangle.
func (v *checker) text(key, x string) {
	if !utf8.ValidString(x) || strings.ContainsFunc(x, unicode.IsControl) {
		v.fail(key, "must be UTF-8 text without control characters, got %s", quoted(x))
	}
}

func (v *checker) texts(root reflect.Value) {
	walk(root, "", func(key string, x reflect.Value) {
		if x.Kind() == reflect.String {
			v.text(key, x.String())
		}
	})
}

func (c *Config) check(v *checker) {
	v.texts(reflect.ValueOf(c).Elem())
	if c.Name == "" {
		v.fail("name", "must not be empty")
	}
	v.kind(c)
	v.data(c)
	v.style(c)
	v.vgg(c.VGG)
	v.network(c.Network)
	if c.Kind == multistyle && c.Network.Norm == "batch" {
		v.fail("network.norm", "must be instance for kind %s, whose styles are scales and shifts of instance norms", multistyle)
	}
	v.loss(c.Loss)
	if c.Kind == adain {
		v.adain(c)
	}
	v.video(c)
	v.train(c.Train)
}

func (v *checker) data(c *Config) {
	d := c.Data
	if d.Dir == "" {
		v.fail("data.dir", "is missing: name the folder of photos to learn from")
	}
	// The content loss compares output and photo pixel by pixel, so the network
	// must give back the size that it was given.
	if v.between("data.size", d.Size, minSize, maxSide) {
		if c.Kind == adain {
			if d.Size%8 != 0 {
				v.fail("data.size", "must be a multiple of 8, as which the decoder gives sizes back, got %d", d.Size)
			}
		} else if shape, err := parseArchitecture(c.Network.Architecture); err == nil && d.Size%shape.stride != 0 {
			v.fail("data.size", "must be a multiple of %d, the stride of network.architecture, got %d", shape.stride, d.Size)
		}
	}
	v.between("data.workers", d.Workers, 0, maxWorkers)
	if d.Cache != "" && d.Cache == d.Dir {
		v.fail("data.cache", "and data.dir are the same path: the cache is a file of its own")
	}
	if v.number("data.scale_min", d.ScaleMin, d.ScaleMin >= 1, "at least 1") {
		v.number("data.scale_max", d.ScaleMax, d.ScaleMax >= d.ScaleMin, fmt.Sprintf("at least data.scale_min, %v", d.ScaleMin))
	}
}

func (v *checker) style(c *Config) {
	s := c.Style
	switch {
	case c.Kind == adain:
		if s.Dir == "" {
			v.fail("style.dir", "is missing: name the folder of pictures to learn styles from")
		}
	case c.Kind == multistyle:
		v.styles(s)
	case s.Image == "" && len(s.Images) == 0:
		if _, ok := v.at("style.images"); ok { // else it is there, but mistyped
			v.fail("style.image", "is missing: name the painting to learn from")
		}
	case s.Image != "" && len(s.Images) > 0:
		v.fail("style.images", "and style.image are both set: keep one of them")
	}
	for i, im := range s.Images {
		key := fmt.Sprintf("style.images[%d]", i)
		if im.Path == "" {
			v.fail(key+".path", "is missing: name an image file")
		}
		v.text(key+".path", im.Path)
		if im.Name != "" && c.Kind != multistyle {
			v.fail(key+".name", "has no meaning for kind %s, which learns the average of all images: remove it, or set kind to %s", c.Kind, multistyle)
		}
		v.positive(key+".weight", im.Weight)
	}
	if v.atLeast("style.size", s.Size, minSize) && v.positive("style.scale", s.Scale) && s.LongSide() < minSize {
		v.fail("style.scale", "times style.size must be at least %d pixels, got %v × %d", minSize, s.Scale, s.Size)
	}
}

func (v *checker) vgg(g VGG) {
	if g.Random && g.Weights != "" {
		v.fail("vgg.random", "and vgg.weights are both set: keep one of them")
	}
	v.oneOf("vgg.convention", g.Convention, "auto", "caffe", "caffe-bgr", "torchvision")
	v.oneOf("vgg.pooling", g.Pooling, "max", "avg")
}

func (v *checker) network(n Network) {
	if shape, err := parseArchitecture(n.Architecture); err != nil {
		v.fail("network.architecture", "%v", err)
	} else if shape.stride != shape.upsampling {
		v.fail("network.architecture", "must give back the size that it was given, got down by %d and up by %d", shape.stride, shape.upsampling)
	}
	v.oneOf("network.padding", n.Padding, "reflect", "reflect-start", "zero")
	v.oneOf("network.norm", n.Norm, "instance", "batch")
	v.oneOf("network.upsample", n.Upsample, "nearest", "transposed")
	v.oneOf("network.output", n.Output, "linear", "tanh")
	v.positive("network.output_scale", n.OutputScale)
	v.number("network.output_offset", n.OutputOffset, true, "a finite number")
}

// architecture is what a config needs to know of an architecture string. The
// bounds are those of package networks, which builds what passes here.
type architecture struct {
	stride, upsampling int // how far the network scales down, and up again
}

var (
	convLayer  = regexp.MustCompile(`^c([1-9]\d?)s([1-9])-([1-9]\d{0,3})$`)
	widthLayer = regexp.MustCompile(`^[dRu][1-9]\d{0,3}$`)
)

// parseArchitecture checks the form of an architecture string. The errors
// complete a sentence that begins with the key.
func parseArchitecture(s string) (architecture, error) {
	a := architecture{1, 1}
	if strings.TrimSpace(s) == "" {
		return a, fmt.Errorf("is missing: give a list of layers such as %s", Default().Network.Architecture)
	}
	layers := strings.Split(s, ",")
	if len(layers) > 256 {
		return a, fmt.Errorf("must have at most 256 layers, got %d", len(layers))
	}
	channels := "" // of the last layer, where it is a convolution
	for i, l := range layers {
		l = strings.TrimSpace(l)
		channels = ""
		m := convLayer.FindStringSubmatch(l)
		switch {
		case m != nil:
			k, _ := strconv.Atoi(m[1])
			s, _ := strconv.Atoi(m[2])
			switch {
			case k%2 == 0:
				return a, fmt.Errorf("has an even kernel in layer %d, %s: only an odd one has a middle pixel", i+1, l)
			case k > 31 || s > 4:
				return a, fmt.Errorf("has a layer %d that is too large, %s: a kernel is at most 31, a stride at most 4", i+1, l)
			}
			a.stride *= s
			channels = m[3]
		case l == "U2":
			a.upsampling *= 2
		case !widthLayer.MatchString(l):
			return a, fmt.Errorf("has a layer %d that is not known, %s: use cKsS-N, dN, RN, uN or U2", i+1, quoted(l))
		case l[0] == 'd':
			a.stride *= 2
		case l[0] == 'u':
			a.upsampling *= 2
		}
		if n, _ := strconv.Atoi(l[strings.LastIndexAny(l, "-dRuU")+1:]); n > 4096 {
			return a, fmt.Errorf("has more than 4096 channels in layer %d, %s", i+1, l)
		}
		if a.stride > 64 || a.upsampling > 64 {
			return a, fmt.Errorf("must scale by at most 64, exceeded in layer %d, %s", i+1, l)
		}
	}
	if channels != "3" {
		return a, fmt.Errorf("must end in a convolution to 3 channels, such as c9s1-3, got %s", quoted(strings.TrimSpace(layers[len(layers)-1])))
	}
	return a, nil
}

func (v *checker) loss(l Loss) {
	weights := v.notNegative("loss.content.weight", l.Content.Weight)
	weights = v.notNegative("loss.style.weight", l.Style.Weight) && weights
	if weights && l.Content.Weight == 0 && l.Style.Weight == 0 {
		v.fail("loss", "has no weight above 0: set loss.content.weight or loss.style.weight")
	}
	v.term("loss.content", l.Content)
	v.term("loss.style", l.Style)
	v.notNegative("loss.total_variation", l.TotalVariation)
	v.oneOf("loss.convention", l.Convention, "caffe", "torchvision")
}

// adain checks that the losses fit the encoder.
func (v *checker) adain(c *Config) {
	encoder := c.Network.Encoder
	v.oneOf("network.encoder", encoder, "relu2_1", "relu3_1", "relu4_1")
	if names := c.Loss.Content.Layers.Names(); c.Loss.Content.Weight > 0 && !slices.Equal(names, []string{encoder}) {
		v.fail("loss.content.layers", "must be {%s: 1}, network.encoder, where the style is put in, got %s", encoder, strings.Join(names, ", "))
	}
	for _, name := range c.Loss.Style.Layers.Names() {
		if name > encoder { // the alphabet is the depth
			v.fail("loss.style.layers."+name, "lies behind network.encoder, %s", encoder)
		}
	}
	if c.Loss.Style.Weight == 0 {
		v.fail("loss.style.weight", "must be above 0: without it no style is learned")
	}
}

func (v *checker) term(key string, t Term) {
	known := vggLayers()
	ok := true
	for _, name := range slices.Sorted(maps.Keys(t.Layers)) {
		layer := key + ".layers." + name
		if !slices.Contains(known, name) {
			v.fail(layer, "is not a layer of VGG-19%s", didYouMean(nearest(name, known)))
			ok = false
		} else if !v.notNegative(layer, t.Layers[name]) {
			ok = false
		}
	}
	if ok && t.Weight > 0 && len(t.Layers.Names()) == 0 {
		v.fail(key+".layers", "must name a layer with a weight above 0")
	}
}

// vggLayers returns the layers of VGG-19 that a loss may use, in order.
func vggLayers() []string {
	var names []string
	for block, n := range []int{2, 2, 4, 4, 4} {
		for i := range n {
			names = append(names, fmt.Sprintf("relu%d_%d", block+1, i+1))
		}
	}
	return names
}

func (v *checker) video(c *Config) {
	w := c.Video
	if c.Kind == video {
		v.positive("video.weight", w.Weight)
		v.number("video.motion", w.Motion, w.Motion >= 0 && w.Motion <= float64(c.Data.Size)/8, fmt.Sprintf("0 to %v, an eighth of data.size", float64(c.Data.Size)/8))
	}
	v.notNegative("video.noise", w.Noise)
	v.number("video.brightness", w.Brightness, w.Brightness >= 0 && w.Brightness < 1, "at least 0 and below 1")
}

func (v *checker) train(t Train) {
	switch {
	case t.Steps > 0 && t.Epochs > 0:
		v.fail("train.epochs", "and train.steps are both set: keep one of them")
	case t.Epochs != 0:
		v.atLeast("train.epochs", t.Epochs, 1)
	default:
		v.atLeast("train.steps", t.Steps, 1)
	}
	v.between("train.batch", t.Batch, 1, maxBatch)
	v.positive("train.lr", t.LR)
	v.oneOf("train.schedule", t.Schedule, "constant", "cosine", "step", "inverse")
	v.atLeast("train.decay_every", t.DecayEvery, 1)
	v.number("train.decay_factor", t.DecayFactor, t.DecayFactor > 0 && t.DecayFactor <= 1, "above 0 and at most 1")
	v.notNegative("train.decay", t.Decay)
	v.atLeast("train.warmup", t.Warmup, 0)
	v.number("train.beta1", t.Beta1, t.Beta1 >= 0 && t.Beta1 < 1, "at least 0 and below 1")
	v.number("train.beta2", t.Beta2, t.Beta2 >= 0 && t.Beta2 < 1, "at least 0 and below 1")
	v.positive("train.eps", t.Eps)
	v.notNegative("train.clip_norm", t.ClipNorm)
	v.atLeast("train.checkpoint_every", t.CheckpointEvery, 0)
	v.atLeast("train.keep_checkpoints", t.KeepCheckpoints, 1)
	v.atLeast("train.preview_every", t.PreviewEvery, 0)
	v.arithmetic("train.", t.Precision, t.Exact, t.Threads, t.Device)
}

// arithmetic checks the keys of a section, whose path ends in a dot, that say
// what computes.
func (v *checker) arithmetic(section, precision string, exact bool, threads int, device string) {
	v.oneOf(section+"precision", precision, "float32", "bf16")
	if precision == "bf16" && exact {
		v.fail(section+"precision", "bf16 and %sexact are both set: exact kernels compute in float32, keep one of them", section)
	}
	v.between(section+"threads", threads, 0, MaxThreads)
	v.device(section+"device", device)
}

// CheckDevice checks the name of a device as the keys device and train.device
// have it: its form alone, for whether the build and the machine have the device is
// package devices' to say. The error is a Faults that names key.
func CheckDevice(key, name string) error {
	v := checker{at: func(string) (place, bool) { return place{}, true }}
	v.device(key, name)
	return v.faults.err()
}

func (v *checker) device(key, name string) {
	gpu, ok := strings.CutPrefix(name, "cuda:")
	if !ok {
		v.oneOf(key, name, "auto", "cpu", "cuda", "cuda:N", "onednn", "reference")
	} else if _, err := strconv.ParseUint(gpu, 10, 16); err != nil {
		v.fail(key, "must number the GPU from 0 on, such as cuda:0 or cuda:1, got %s", quoted(name))
	}
}
