package networks

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Johnson describes a feed-forward transformer network (Johnson, Alahi and
// Fei-Fei 2016). It takes and gives RGB 0-255. It is stored as JSON in the
// metadata of model files.
type Johnson struct {
	// Architecture is a list of layers separated by commas: cKsS-N is a
	// convolution K×K with stride S to N channels, dN a 3×3 one with stride 2,
	// RN a residual block, uN an upsampling by 2 to N channels, U2 a nearest
	// neighbour upsampling by 2 alone.
	Architecture string `json:"architecture"`
	// Padding is "reflect" (each convolution), "reflect-start" (one border at
	// the start, residual blocks without padding) or "zero".
	Padding string `json:"padding"`
	// Norm is "instance" or "batch".
	Norm string `json:"norm"`
	// Upsample is what uN means: "nearest" (×2, then a 3×3 convolution, Odena
	// 2016) or "transposed" (3×3 transposed convolution, stride 2).
	Upsample string `json:"upsample"`
	// Output is "linear" or "tanh": OutputScale·tanh(x) + OutputOffset.
	Output       string  `json:"output"`
	OutputScale  float32 `json:"output_scale,omitempty"`
	OutputOffset float32 `json:"output_offset,omitempty"`
}

// JohnsonArchitecture is the network of the paper. With reflect padding,
// instance norm, nearest upsampling and a linear output it is the PyTorch
// example's TransformerNet.
const JohnsonArchitecture = "c9s1-32,d64,d128,R128,R128,R128,R128,R128,u64,u32,c9s1-3"

var tokenRE = regexp.MustCompile(`^(?:c(\d+)s(\d+)-(\d+)|d(\d+)|R(\d+)|u(\d+)|U(\d+))$`)

// maxScale bounds how far a network scales down, and up again, so that no
// product of strides overflows. The networks of the literature scale by 4.
const maxScale = 64

// NormEps is the epsilon of the norms, PyTorch's default.
const NormEps = 1e-5

type token struct {
	kind                 byte // c, d, R, u or U
	kernel, stride, size int
}

func parseArchitecture(arch string) ([]token, error) {
	var ts []token
	for i, s := range strings.Split(arch, ",") {
		s = strings.TrimSpace(s)
		m := tokenRE.FindStringSubmatch(s)
		if m == nil {
			return nil, fmt.Errorf("architecture: %q (layer %d) is none of cKsS-N, dN, RN, uN, U2", s, i+1)
		}
		num := func(k int) int { n, _ := strconv.Atoi(m[k]); return n } // the expression admits digits alone
		t := token{kind: s[0]}
		switch t.kind {
		case 'c':
			t.kernel, t.stride, t.size = num(1), num(2), num(3)
		case 'd':
			t.kernel, t.stride, t.size = 3, 2, num(4)
		case 'R':
			t.size = num(5)
		case 'u':
			t.size = num(6)
		case 'U':
			t.size = num(7)
		}
		switch {
		case t.size < 1 || t.size > 4096:
			return nil, fmt.Errorf("architecture: %q (layer %d) has a size outside 1 to 4096", s, i+1)
		case t.kind == 'U' && t.size != 2:
			return nil, fmt.Errorf("architecture: %q (layer %d): only U2 is known", s, i+1)
		case t.kind == 'c' && (t.kernel%2 == 0 || t.kernel < 1 || t.kernel > 31):
			return nil, fmt.Errorf("architecture: %q (layer %d) needs an odd kernel of 1 to 31", s, i+1)
		case t.kind == 'c' && (t.stride < 1 || t.stride > 4):
			return nil, fmt.Errorf("architecture: %q (layer %d) needs a stride of 1 to 4", s, i+1)
		}
		ts = append(ts, t)
	}
	last := ts[len(ts)-1]
	if last.kind != 'c' || last.size != 3 || last.stride != 1 {
		return nil, fmt.Errorf("architecture: the last layer must be a convolution to 3 channels such as c9s1-3, not %q", arch[strings.LastIndexByte(arch, ',')+1:])
	}
	down, up := 1, 1
	for i, t := range ts {
		switch t.kind {
		case 'c', 'd':
			down *= t.stride
		case 'u', 'U':
			up *= 2
		}
		if down > maxScale || up > maxScale {
			return nil, fmt.Errorf("architecture: layer %d scales the picture by more than %d in all", i+1, maxScale)
		}
	}
	if down != up {
		return nil, fmt.Errorf("architecture: strides reduce the picture %d times, but upsampling enlarges it %d times", down, up)
	}
	return ts, nil
}

// Build makes the layer list. Parameters carry the names of the PyTorch
// example: conv1.conv2d, in1, res1.conv1.conv2d, deconv1.conv2d and so on;
// batch norms are bn1 ….
func (j Johnson) Build() (*Network, error) {
	ts, err := parseArchitecture(j.Architecture)
	if err != nil {
		return nil, err
	}
	for _, o := range []struct{ key, value, choices string }{
		{"padding", j.Padding, "reflect, reflect-start, zero"},
		{"norm", j.Norm, "instance, batch"},
		{"upsample", j.Upsample, "nearest, transposed"},
		{"output", j.Output, "linear, tanh"},
	} {
		if o.value == "" || !strings.Contains(", "+o.choices+", ", ", "+o.value+", ") {
			return nil, fmt.Errorf("%s: %q is none of %s", o.key, o.value, o.choices)
		}
	}
	jb := &johnsonBuilder{builder: newBuilder(3), Johnson: j, channels: 3}
	if p := startBorder(ts); j.Padding == "reflect-start" && p > 0 {
		jb.add("start.pad", Pad{PadReflect, Same(p)})
	}
	for i, t := range ts {
		switch t.kind {
		case 'c', 'd':
			jb.conv(jb.convName(), t.size, t.kernel, t.stride, 0)
			if i < len(ts)-1 {
				jb.norm("", true)
			}
		case 'R':
			if err := jb.residual(t.size); err != nil {
				return nil, fmt.Errorf("architecture: layer %d: %w", i+1, err)
			}
		case 'u':
			jb.upsampled = true
			if j.Upsample == "nearest" {
				name := jb.convName()
				jb.add(strings.TrimSuffix(name, ".conv2d")+".upsample", Upsample{2})
				jb.conv(name, t.size, 3, 1, 0)
			} else {
				jb.add(jb.convName(), ConvTranspose{In: jb.channels, Out: t.size, Kernel: 3, Stride: 2, Pad: 1, OutputPad: 1})
				jb.channels = t.size
			}
			jb.norm("", true)
		case 'U':
			jb.upsampled = true
			jb.add(fmt.Sprintf("upsample%d", i+1), Upsample{2})
		}
	}
	if j.Output == "tanh" {
		jb.add("output", Tanh{j.OutputScale, j.OutputOffset})
	}
	return jb.net, nil
}

// startBorder is the border that the unpadded residual blocks eat: 2 pixels a
// side each, at their scale (40 for the paper's network).
func startBorder(ts []token) int {
	border, scale := 0, 1
	for _, t := range ts {
		switch t.kind {
		case 'c', 'd':
			scale *= t.stride
		case 'u', 'U':
			scale /= 2
		case 'R':
			border += 2 * scale
		}
	}
	return border
}

// johnsonBuilder numbers the layers as the PyTorch example does.
type johnsonBuilder struct {
	*builder
	Johnson
	channels  int
	upsampled bool // convolutions are called deconv from the first upsampling on
	convs     int
	deconvs   int
	norms     int
	blocks    int
}

func (b *johnsonBuilder) convName() string {
	if b.upsampled {
		b.deconvs++
		return fmt.Sprintf("deconv%d.conv2d", b.deconvs)
	}
	b.convs++
	return fmt.Sprintf("conv%d.conv2d", b.convs)
}

// conv appends a convolution with the network's padding, reduced by crop on
// each side.
func (b *johnsonBuilder) conv(name string, out, kernel, stride, crop int) {
	c := Conv{In: b.channels, Out: out, Kernel: kernel, Stride: stride}
	if p := kernel/2 - crop; p > 0 {
		if b.Padding == "reflect" {
			b.add(strings.TrimSuffix(name, ".conv2d")+".pad", Pad{PadReflect, Same(p)})
		} else {
			c.Pad = Same(p)
		}
	}
	b.add(name, c)
	b.channels = out
}

// norm appends a norm, and a ReLU where relu is set. Norms outside residual
// blocks are numbered through the network; prefix names one inside a block.
func (b *johnsonBuilder) norm(prefix string, relu bool) {
	kind := "in"
	if b.Norm == "batch" {
		kind = "bn"
	}
	var name string
	if prefix == "" {
		b.norms++
		name = fmt.Sprintf("%s%d", kind, b.norms)
	} else {
		block, number, _ := strings.Cut(prefix, "#")
		name = block + "." + kind + number
	}
	b.add(name, Norm{Channels: b.channels, Eps: NormEps, Batch: b.Norm == "batch"})
	if relu {
		b.add(name+".relu", ReLU{})
	}
}

func (b *johnsonBuilder) residual(channels int) error {
	if channels != b.channels {
		return fmt.Errorf("residual block R%d follows a layer of %d channels", channels, b.channels)
	}
	b.blocks++
	name := fmt.Sprintf("res%d", b.blocks)
	shortcut, crop := b.last, 0
	if b.Padding == "reflect-start" {
		crop = 1
	}
	b.conv(name+".conv1.conv2d", channels, 3, 1, crop)
	b.norm(name+"#1", true)
	b.conv(name+".conv2.conv2d", channels, 3, 1, crop)
	b.norm(name+"#2", false)
	if crop > 0 {
		body := b.last
		b.last = shortcut
		shortcut = b.add(name+".crop", Pad{PadZero, Same(-2)})
		b.last = body
	}
	b.add(name, Add{}, shortcut)
	return nil
}
