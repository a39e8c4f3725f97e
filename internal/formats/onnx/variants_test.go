package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Every way of writing a network passes the checker, and in ONNX Runtime gives
// what the plain one gives, at sizes of all kinds.
func TestVariants(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Python")
	}
	type variant struct {
		o     Options
		limit float64 // of 255
		bytes bool
	}
	variants := map[string]variant{
		"plain":      {},
		"bytes":      {o: Options{Bytes: true}, bytes: true},
		"half":       {o: Options{Precision: Float16}, limit: 2},
		"half-bytes": {o: Options{Precision: Float16, Bytes: true}, limit: 2, bytes: true},
	}
	for opset := MinOpset; opset <= MaxOpset; opset++ {
		variants[fmt.Sprintf("opset%d", opset)] = variant{o: Options{Opset: opset}, limit: 1e-3}
	}
	shapes := [][4]int{{1, 3, 1, 1}, {2, 3, 9, 6}, {1, 3, 16, 24}, {3, 3, 31, 17}}
	fixed := [4]int{2, 3, 17, 31}
	var cases []*peerCase
	limits := map[string]variant{}
	designs := map[string]networks.Design{}
	for name, j := range johnsons() {
		j.Output, j.OutputScale, j.OutputOffset = "tanh", 150, 127.5
		designs[name] = j
		if name == "reflect" {
			designs["styles"] = networks.MultiStyle{Johnson: j, Styles: []string{"a", "b", "c"}}
		}
	}
	for name, d := range designs {
		net, err := d.Build()
		if err != nil {
			t.Fatal(err)
		}
		set := randomWeights(t, net)
		multiple, least, err := net.Multiple()
		if err != nil {
			t.Fatal(err)
		}
		add := func(variant string, v variant, shapes ...[4]int) {
			c := &peerCase{Name: name + "-" + variant, Shapes: shapes, Multiple: multiple, Least: least, Fixed: v.o.Width > 0, o: v.o, net: net, set: set}
			if name == "styles" {
				c.Mixes = slices.Repeat([][]float32{{.2, .5, .3}}, len(shapes))
			}
			cases, limits[c.Name] = append(cases, c), v
		}
		for name, v := range variants {
			add(name, v, append(slices.Clone(shapes), fixed)...)
		}
		o := Options{Width: fixed[3], Height: fixed[2]}
		add("fixed", variant{o: o, limit: 1e-3}, fixed)
		o.Bytes = true
		add("fixed-bytes", variant{o: o, bytes: true}, fixed)
		// Norms undo how large the weights before them are: the same picture comes
		// of maps that half precision cannot hold.
		if name == "reflect" {
			set = louder(net, set, 1e5)
			add("half-loud", variant{o: Options{Precision: Float16}, limit: 2}, fixed)
			cases[len(cases)-1].Reference = true
		}
	}
	dir := writeCases(t, cases)
	got := shapesBy(t, "onnx and onnxruntime", "testdata/run_onnx.py", dir)
	for _, c := range cases {
		v := limits[c.Name]
		for i, shape := range c.Shapes {
			if !slices.Equal(got[c.Name][i], shape[:]) {
				t.Errorf("%s: an input of %v gives %v", c.Name, shape, got[c.Name][i])
				continue
			}
			n := weights.Elements(shape[:])
			values := read(t, filepath.Join(dir, fmt.Sprintf("%s.%d.onnx", c.Name, i)), n)
			k := i
			if len(c.Shapes) == 1 {
				k = len(shapes)
			}
			name, _, _ := strings.Cut(c.Name, "-")
			plain := read(t, filepath.Join(dir, fmt.Sprintf("%s-plain.%d.onnx", name, k)), n)
			worst, colour := 0., [3]float64{}
			for p, want := range plain {
				if v.bytes {
					want = float32(math.RoundToEven(float64(min(max(want, 0), 255))))
				}
				worst = max(worst, math.Abs(float64(values[p]-want))) // NaN stays NaN
				colour[p*3/n%3] += float64(values[p]-want) / float64(n/3)
			}
			limit := v.limit
			if v.bytes {
				limit = math.Ceil(limit) // what was rounded may lie on the other side
			}
			if !(worst <= limit) {
				t.Errorf("%s: an input of %v is %g of 255 off, more than %g", c.Name, shape, worst, limit)
			}
			if v.limit > 1 {
				t.Logf("%s %v: at most %.2g, on average %.1g", c.Name, shape, worst, colour)
			}
		}
	}
}

// louder multiplies the weights of all convolutions that norms alone read.
func louder(net *networks.Network, set *weights.Set, by float32) *weights.Set {
	a := analyse(net)
	loud := set.Clone()
	for i, l := range net.Layers {
		if !isConv(l.Op) || !a.forNormAlone(i) {
			continue
		}
		weight := loud.Get(l.Name + ".weight").Data
		copy(weight, scaled(weight, by))
	}
	return loud
}

// noise is the same for equal shapes.
func noise(shape [4]int) []float32 {
	rnd := rand.New(rand.NewPCG(3, 4))
	values := make([]float32, weights.Elements(shape[:]))
	for k := range values {
		values[k] = float32(rnd.IntN(256))
	}
	return values
}
