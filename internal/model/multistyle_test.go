package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"stylenet/internal/networks"
)

// many is a network of styles whose scales and shifts all differ.
func many(t *testing.T, styles ...string) *Model {
	t.Helper()
	d := networks.MultiStyle{Johnson: example("c3s1-4,d6,R6,u4,c3s1-3"), Styles: styles}
	net, err := d.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{Network: d, Recipe: `{"steps":3}`, VGG: "random (seed 1)", Version: "0.1.0"}
	if m.Weights, err = net.Init(5); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range net.Rows() {
		for i := range m.Weights.Get(row.Name).Data {
			m.Weights.Get(row.Name).Data[i] = r.Float32() - .5
		}
	}
	return m
}

func TestSaveOpenManyStyles(t *testing.T) {
	m := many(t, "starry", "scream")
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := Save(path, m); err != nil {
		t.Fatal(err)
	}
	got, err := Open(path)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v became %+v, %v", m, got, err)
	}
	if s := got.Styles(); len(s) != 2 || s[1] != "scream" || initialised(t, example("c3s1-3")).Styles() != nil {
		t.Errorf("styles %q", s)
	}
}

// A mix is a plain network whose scales and shifts are weighted sums, and whose
// convolutions are the model's own.
func TestMix(t *testing.T) {
	m := many(t, "a", "b", "c")
	mixed, err := m.Mix([]Share{{"c", 3}, {"a", 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := mixed.Check(); err != nil {
		t.Fatal(err)
	}
	if mixed.Network != networks.Design(example("c3s1-4,d6,R6,u4,c3s1-3")) || mixed.Recipe != m.Recipe || mixed.VGG != m.VGG {
		t.Errorf("%+v", mixed)
	}
	for _, got := range mixed.Weights.Tensors() {
		layer, suffix, _ := cut(got.Name)
		for i, v := range got.Data {
			var want float64
			if strings.Contains(got.Name, "conv") {
				want = float64(m.Weights.Get(got.Name).Data[i])
			} else {
				row := func(style string) float64 { return float64(m.Weights.Get(layer + "." + style + "." + suffix).Data[i]) }
				want = .25*row("a") + .75*row("c")
			}
			if math.Abs(float64(v)-want) > 1e-7 {
				t.Fatalf("%s[%d] is %g, want %g", got.Name, i, v, want)
			}
		}
	}
	if mixed.StyleName != "25% a, 75% c" {
		t.Errorf("the mix is called %q", mixed.StyleName)
	}
	// One style alone is bit for bit that style.
	alone, err := m.Mix([]Share{{"b", .3}})
	if err != nil {
		t.Fatal(err)
	}
	if alone.StyleName != "b" {
		t.Errorf("the style is called %q", alone.StyleName)
	}
	for _, got := range alone.Weights.Tensors() {
		layer, suffix, _ := cut(got.Name)
		want := m.Weights.Get(got.Name)
		if want == nil {
			want = m.Weights.Get(layer + ".b." + suffix)
		}
		if !reflect.DeepEqual(got.Data, want.Data) {
			t.Errorf("%s is %v, want %v", got.Name, got.Data, want.Data)
		}
	}
	// One style needs no choice, and a network without names has none.
	single := many(t, "only")
	if got, err := single.Mix(nil); err != nil || got.Weights.Get("in1.bias").Data[0] != single.Weights.Get("in1.only.bias").Data[0] {
		t.Errorf("the only style: %+v, %v", got, err)
	}
	if got, err := alone.Mix(nil); err != nil || got != alone {
		t.Errorf("a plain network: %+v, %v", got, err)
	}
}

// cut splits res1.in1.weight into res1.in1 and weight.
func cut(name string) (layer, suffix string, found bool) {
	i := strings.LastIndexByte(name, '.')
	return name[:i], name[i+1:], true
}

func TestMixErrors(t *testing.T) {
	m := many(t, "a", "b")
	for want, mix := range map[string][]Share{
		"the network has 2 styles, and none is chosen: a, b":             nil,
		`the network has no style "x": it has a, b`:                      {{"x", 1}},
		`the style "a" is in the mix twice`:                              {{"a", 1}, {"b", 1}, {"a", 1}},
		`the style "a" has the weight -1: give 0 or more`:                {{"a", -1}},
		`the style "b" has the weight NaN: give 0 or more`:               {{"b", math.NaN()}},
		"the weights of the mix add up to 0, which is no number above 0": {{"a", 0}, {"b", 0}},
		"the weights of the mix add up to +Inf, which":                   {{"a", math.MaxFloat64}, {"b", math.MaxFloat64}},
	} {
		if got, err := m.Mix(mix); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", mix, err, want)
		}
	}
	_, err := m.Mix(nil)
	if e, ok := errors.AsType[*MixError](err); !ok || e.Hint() != "choose one with --style-mix a, or mix them with --style-mix a=0.5,b=0.5" {
		t.Errorf("%v", err)
	}
	if _, err := initialised(t, example("c3s1-3")).Mix([]Share{{"a", 1}}); err == nil || !strings.Contains(err.Error(), `there is no style "a" to mix: the network has one style alone`) {
		t.Errorf("a mix of a plain network: %v", err)
	}
}

func TestParseMix(t *testing.T) {
	got, err := ParseMix("a=0.3, Der-Schrei = .7,c")
	if want := []Share{{"a", .3}, {"Der-Schrei", .7}, {"c", 1}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"":         `style mix "": write STYLE=WEIGHT,STYLE=WEIGHT`,
		"a,":       `style mix "a,": write STYLE`,
		"=1":       `style mix "=1": write STYLE`,
		"a=x":      `the weight "x" of a is no number`,
		"a=":       `the weight "" of a is no number`,
		"a=1=2":    `the weight "1=2" of a is no number`,
		"a=1e9999": `the weight "1e9999" of a is no number`,
	} {
		if got, err := ParseMix(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

// More styles leave what was there as it was, and begin as the mean.
func TestAddStyles(t *testing.T) {
	m := many(t, "a", "b")
	more, err := m.AddStyles("c", "d")
	if err != nil {
		t.Fatal(err)
	}
	if err := more.Check(); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(more.Styles(), " "); s != "a b c d" || len(m.Styles()) != 2 || m.Check() != nil {
		t.Errorf("styles %q of %q", s, m.Styles())
	}
	for _, tensor := range m.Weights.Tensors() {
		if got := more.Weights.Get(tensor.Name); !reflect.DeepEqual(got, tensor) {
			t.Errorf("%s has changed", tensor.Name)
		}
	}
	for _, c := range []string{"c", "d"} {
		a, b, got := m.Weights.Get("in2.a.bias").Data, m.Weights.Get("in2.b.bias").Data, more.Weights.Get("in2."+c+".bias").Data
		for i := range got {
			if d := float64(got[i]) - (float64(a[i])+float64(b[i]))/2; math.Abs(d) > 1e-7 {
				t.Errorf("%s: %g is not the mean of %g and %g", c, got[i], a[i], b[i])
			}
		}
	}
	for want, names := range map[string][]string{
		`the network has a style "a" already: it has a, b`: {"c", "a"},
		`styles: two are called "c"`:                       {"c", "c"},
		`the name "c d" is not`:                            {"c d"},
	} {
		if got, err := m.AddStyles(names...); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", names, err, want)
		}
	}
	if _, err := initialised(t, example("c3s1-3")).AddStyles("a"); err == nil || !strings.Contains(err.Error(), "a network of many styles alone, and this is one of c3s1-3") {
		t.Errorf("more styles of a plain network: %v", err)
	}
}
