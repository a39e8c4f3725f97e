package losses

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/autodiff"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

const batch, rows, cols = 2, 5, 6

var recipe = Recipe{
	Content:        []Layer{{"relu1_1", 0.5}},
	Style:          []Layer{{"relu1_1", 2}, {"relu1_2", 3}},
	TotalVariation: 1e-3,
}

// maps are channels of rows×cols values.
type maps [][]float64

// naive runs VGG-19 up to relu1_2 on one picture by its definition.
func naive(set *weights.Set, pixels []float32) map[string]maps {
	x := make(maps, 3)
	for c := range x {
		for _, v := range pixels[c*rows*cols : (c+1)*rows*cols] {
			x[c] = append(x[c], float64(v)-[]float64{123.68, 116.779, 103.939}[c])
		}
	}
	features := map[string]maps{}
	for i, name := range []string{"relu1_1", "relu1_2"} {
		w, b := set.Get(fmt.Sprintf("features.%d.weight", 2*i)).Data, set.Get(fmt.Sprintf("features.%d.bias", 2*i)).Data
		y := make(maps, 64)
		for o := range y {
			y[o] = make([]float64, rows*cols)
			for p := range y[o] {
				sum := float64(b[o])
				for c := range x {
					for k := range 9 {
						r, q := p/cols+k/3-1, p%cols+k%3-1
						if r >= 0 && r < rows && q >= 0 && q < cols {
							sum += float64(w[(o*len(x)+c)*9+k]) * x[c][r*cols+q]
						}
					}
				}
				y[o][p] = max(sum, 0)
			}
		}
		x, features[name] = y, y
	}
	return features
}

func (m maps) gram() []float64 {
	var g []float64
	for _, a := range m {
		for _, b := range m {
			sum := 0.0
			for p := range a {
				sum += a[p] * b[p]
			}
			g = append(g, sum/float64(len(m)*rows*cols))
		}
	}
	return g
}

func (m maps) flat() []float64 {
	var all []float64
	for _, c := range m {
		all = append(all, c...)
	}
	return all
}

// distance is the mean squared difference.
func distance(a, b []float64) (mean float64) {
	for i := range a {
		mean += (a[i] - b[i]) * (a[i] - b[i]) / float64(len(a))
	}
	return mean
}

// variation is the sum of the squared differences of neighbours.
func variation(pixels []float32) (sum float64) {
	for i, v := range pixels {
		if i%cols+1 < cols {
			sum += math.Pow(float64(pixels[i+1]-v), 2)
		}
		if i/cols%rows+1 < rows {
			sum += math.Pow(float64(pixels[i+cols]-v), 2)
		}
	}
	return sum
}

func picture(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	pixels := make([]float32, n*3*rows*cols)
	for i := range pixels {
		pixels[i] = 255 * r.Float32()
	}
	return pixels
}

// fixture is a device with VGG-19 up to relu1_2.
func fixture(t *testing.T) (kernels.Device, *networks.Network, inference.Arrays, *weights.Set) {
	t.Helper()
	net, err := networks.VGG19(recipe.Deepest(), networks.Caffe, false)
	check(t, err)
	set, err := net.Init(5)
	check(t, err)
	// Biases are zero at first.
	for _, name := range []string{"features.0.bias", "features.2.bias"} {
		for i := range set.Get(name).Data {
			set.Get(name).Data[i] = float32(i%7) - 3
		}
	}
	dev := reference.New(1)
	t.Cleanup(func() { check(t, dev.Close()) })
	arrays, err := inference.Upload(dev, net, set)
	check(t, err)
	return dev, net, arrays, set
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-4*math.Abs(want)) {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// styleTargets uploads the Gram matrices of a picture, by GramMatrices.
func styleTargets(t *testing.T, dev kernels.Device, net *networks.Network, arrays inference.Arrays, set *weights.Set, pixels []float32) []kernels.Array {
	t.Helper()
	grams, err := GramMatrices(dev, net, arrays, pixels, rows, cols, recipe.Style)
	check(t, err)
	features := naive(set, pixels)
	var targets []kernels.Array
	for i, l := range recipe.Style {
		want := features[l.Name].gram()
		if len(grams[i]) != len(want) {
			t.Fatalf("%s: %d values, want %d", l.Name, len(grams[i]), len(want))
		}
		for k, v := range grams[i] {
			if math.Abs(float64(v)-want[k]) > 1e-4*want[0]+1e-4*math.Abs(want[k]) {
				t.Fatalf("%s: value %d of the Gram matrix is %g, want %g", l.Name, k, v, want[k])
			}
		}
		a, err := inference.NewParameter(dev, []int{1, 1, 64, 64}, grams[i])
		check(t, err)
		targets = append(targets, a)
	}
	return targets
}

func TestPerceptual(t *testing.T) {
	dev, net, arrays, set := fixture(t)
	pixels, style, photos := picture(1, batch), picture(2, 1), picture(3, batch)
	const image = 3 * rows * cols
	targets := Targets{Style: styleTargets(t, dev, net, arrays, set, style)}
	content, err := dev.NewActivation(kernels.Shape{N: batch, C: 64, H: rows, W: cols})
	check(t, err)
	var values []float32
	for n := range batch {
		for _, v := range naive(set, photos[n*image:][:image])["relu1_1"].flat() {
			values = append(values, float32(v))
		}
	}
	check(t, dev.Upload(content, values))
	targets.Content = []kernels.Array{content}

	// loss by its definition: content, style of each layer, variation
	loss := func(pixels []float32) (terms [4]float64, total float64) {
		for n := range batch {
			got, photo, painting := naive(set, pixels[n*image:][:image]), naive(set, photos[n*image:][:image]), naive(set, style)
			terms[0] += distance(got["relu1_1"].flat(), photo["relu1_1"].flat()) / batch
			for i, l := range recipe.Style {
				terms[1+i] += distance(got[l.Name].gram(), painting[l.Name].gram()) / batch
			}
			terms[3] += variation(pixels[n*image:][:image])
		}
		return terms, .5*terms[0] + 2*terms[1] + 3*terms[2] + 1e-3*terms[3]
	}

	y, err := dev.NewActivation(kernels.Shape{N: batch, C: 3, H: rows, W: cols})
	check(t, err)
	check(t, dev.Upload(y, pixels))
	g, err := autodiff.New(dev)
	check(t, err)
	node, err := g.Parameter("pictures", y)
	check(t, err)
	terms, err := Perceptual(g, net, arrays, node, targets, recipe)
	check(t, err)
	machine, err := g.Compile(terms.Total)
	check(t, err)
	defer func() { check(t, machine.Close()) }()
	check(t, machine.Step())
	value := func(n *autodiff.Node) float64 {
		var v [1]float32
		check(t, machine.Device().Download(v[:], machine.Value(n)))
		return float64(v[0])
	}
	want, total := loss(pixels)
	near(t, "content", value(terms.Content[0]), want[0])
	near(t, "style of relu1_1", value(terms.Style[0]), want[1])
	near(t, "style of relu1_2", value(terms.Style[1]), want[2])
	near(t, "total variation", value(terms.TotalVariation), want[3])
	near(t, "the loss", value(terms.Total), total)

	// The gradient along itself is the slope of the loss.
	gradient := make([]float32, len(pixels))
	check(t, machine.Device().Download(gradient, machine.Gradient(0)))
	norm := 0.0
	for _, v := range gradient {
		norm += float64(v) * float64(v)
	}
	const h = 0.02 // of a brightness of 255
	up, down := make([]float32, len(pixels)), make([]float32, len(pixels))
	for i, v := range gradient {
		d := float32(h * float64(v) / math.Sqrt(norm))
		up[i], down[i] = pixels[i]+d, pixels[i]-d
	}
	_, above := loss(up)
	_, below := loss(down)
	if slope := (above - below) / (2 * h); math.Abs(slope-math.Sqrt(norm)) > .01*slope {
		t.Errorf("the gradient's norm is %g, the slope along it %g", math.Sqrt(norm), slope)
	}
}

func TestMeter(t *testing.T) {
	dev, net, arrays, set := fixture(t)
	style, photo, result := picture(2, 1), picture(3, 1), picture(4, 1)
	m, err := NewMeter(dev, net, arrays, styleTargets(t, dev, net, arrays, set, style), recipe, rows, cols)
	check(t, err)
	for _, p := range [][]float32{result, photo, style} { // twice in a row must do
		content, styles, err := m.Measure(photo, p)
		check(t, err)
		got, want, painting := naive(set, p), naive(set, photo), naive(set, style)
		if len(content) != 1 || len(styles) != 2 {
			t.Fatalf("%d and %d losses", len(content), len(styles))
		}
		near(t, "content", content[0], distance(got["relu1_1"].flat(), want["relu1_1"].flat()))
		for i, l := range recipe.Style {
			w := distance(got[l.Name].gram(), painting[l.Name].gram())
			if scale := distance(painting[l.Name].gram(), make([]float64, 64*64)); math.Abs(styles[i]-w) > 1e-4*w+1e-9*scale {
				t.Errorf("style of %s is %g, want %g", l.Name, styles[i], w)
			}
		}
	}
	check(t, m.Close())

	// Without content layers no photo is looked at.
	alone := Recipe{Style: recipe.Style[:1]}
	m, err = NewMeter(dev, net, arrays, styleTargets(t, dev, net, arrays, set, style)[:1], alone, rows, cols)
	check(t, err)
	content, styles, err := m.Measure(nil, result)
	check(t, errors.Join(err, m.Close()))
	if len(content) != 0 || len(styles) != 1 {
		t.Fatalf("%d and %d losses", len(content), len(styles))
	}
	near(t, "style alone", styles[0], distance(naive(set, result)["relu1_1"].gram(), naive(set, style)["relu1_1"].gram()))
}

func TestErrors(t *testing.T) {
	dev, net, arrays, _ := fixture(t)
	g, err := autodiff.New(dev)
	check(t, err)
	y, err := dev.NewActivation(kernels.Shape{N: 1, C: 3, H: rows, W: cols})
	check(t, err)
	node, err := g.Input("pictures", y)
	check(t, err)
	for want, r := range map[string]Recipe{
		"losses: 0 content targets for 1 layers": recipe,
		"losses: no content or style layers":     {TotalVariation: 1},
	} {
		if _, err := Perceptual(g, net, arrays, node, Targets{}, r); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	deep := []Layer{{"relu3_1", 1}}
	for _, r := range []Recipe{{Content: deep}, {Style: deep}} {
		if _, err := NewMeter(dev, net, arrays, make([]kernels.Array, len(r.Style)), r, rows, cols); err == nil || !strings.Contains(err.Error(), "relu3_1") {
			t.Errorf("a meter of relu3_1: %v", err)
		}
	}
	if _, err := NewMeter(dev, net, arrays, nil, recipe, rows, cols); err == nil || err.Error() != "losses: 0 style targets for 2 layers" {
		t.Errorf("a meter without targets: %v", err)
	}
	if _, err := GramMatrices(dev, net, arrays, picture(1, 1), rows, cols, deep); err == nil || !strings.Contains(err.Error(), "relu3_1") {
		t.Errorf("matrices of relu3_1: %v", err)
	}
}

func TestRecipe(t *testing.T) {
	for _, c := range []struct {
		r             Recipe
		all, contents string
	}{
		{recipe, "relu1_2", "relu1_1"},
		{Recipe{Content: []Layer{{"relu4_2", 1}}, Style: []Layer{{"relu3_4", 1}}}, "relu4_2", "relu4_2"},
		{Recipe{Style: []Layer{{"relu2_1", 1}, {"relu1_4", 1}}}, "relu2_1", ""},
		{Recipe{}, "", ""},
	} {
		if c.r.Deepest() != c.all || c.r.DeepestContent() != c.contents {
			t.Errorf("%v: %q and %q, want %q and %q", c.r, c.r.Deepest(), c.r.DeepestContent(), c.all, c.contents)
		}
	}
}

// A mean of Gram matrices is weighed, leaves what it is made of as it was, and
// arrives at the device as a square matrix.
func TestGrams(t *testing.T) {
	a, b := [][]float32{{1, 2, 2, 5}, {8}}, [][]float32{{3, 0, 0, 1}, {-4}}
	mean := AddGrams(AddGrams(nil, a, .25), b, .75)
	if want := "[[2.5 0.5 0.5 2] [-1]]"; fmt.Sprint(mean) != want || a[0][0] != 1 || b[1][0] != -4 {
		t.Errorf("the mean is %v, want %s, of %v and %v", mean, want, a, b)
	}
	dev := reference.New(1)
	defer dev.Close()
	for _, gram := range mean {
		m, err := NewGram(dev, gram)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(gram))
		if err := dev.Download(got, m); err != nil {
			t.Fatal(err)
		}
		c := map[int]int{4: 2, 1: 1}[len(gram)]
		if want := (kernels.Shape{N: 1, C: 1, H: c, W: c}); m.Shape() != want || !slices.Equal(got, gram) {
			t.Errorf("%v arrived as %v of %v", gram, got, m.Shape())
		}
	}
}
