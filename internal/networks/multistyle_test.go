package networks

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func multi(styles ...string) MultiStyle {
	return MultiStyle{Johnson{Architecture: "c3s1-4,d6,R6,u4,c3s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}, styles}
}

func TestMultiStyle(t *testing.T) {
	m := multi("starry", "scream")
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"architecture":"c3s1-4,d6,R6,u4,c3s1-3","padding":"reflect","norm":"instance","upsample":"nearest","output":"linear","styles":["starry","scream"]}`
	if string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	if got, err := ParseDesign(text); err != nil || !reflect.DeepEqual(got, Design(m)) {
		t.Errorf("%s became %+v, %v", text, got, err)
	}
	if got := m.String(); got != "c3s1-4,d6,R6,u4,c3s1-3 of 2 styles: starry, scream" {
		t.Error(got)
	}
	if got := multi("a").String(); got != "c3s1-4,d6,R6,u4,c3s1-3 of 1 style: a" {
		t.Error(got)
	}

	// The layers are Johnson's. Each norm has the parameters of one for each
	// style, under the style's name.
	net, err := m.Build()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := m.Johnson.Build()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(net.Styles(), m.Styles) || plain.Styles() != nil || plain.Rows() != nil {
		t.Errorf("styles %q and %q", net.Styles(), plain.Styles())
	}
	rows := map[string][]Row{}
	for _, r := range net.Rows() {
		rows[r.Plain] = append(rows[r.Plain], r)
	}
	var names []string
	for _, p := range plain.Params() {
		switch rs := rows[p.Name]; {
		case strings.Contains(p.Name, "conv"):
			names = append(names, p.Name)
		case len(rs) != 2 || rs[0].Style != 0 || rs[1].Style != 1:
			t.Errorf("rows of %s: %+v", p.Name, rs)
		default:
			names = append(names, rs[0].Name, rs[1].Name)
		}
	}
	var got []string
	for _, p := range net.Params() {
		got = append(got, p.Name)
		if strings.Contains(p.Name, "in1.") && p.Name != "in1.starry.weight" && p.Name != "in1.scream.bias" && !strings.Contains(p.Name, "res1") && p.Shape[0] != 4 {
			t.Errorf("%s has shape %v", p.Name, p.Shape)
		}
	}
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(slices.Values(got))) {
		t.Errorf("parameters %q, want %q", got, names)
	}
	if !slices.Contains(got, "res1.in2.scream.bias") {
		t.Errorf("parameters %q", got)
	}
	a, _, err := net.Multiple()
	b, _, err2 := plain.Multiple()
	if err != nil || err2 != nil || a != b {
		t.Errorf("multiples %d and %d, %v, %v", a, b, err, err2)
	}
}

func TestMultiStyleErrors(t *testing.T) {
	batch := multi("a")
	batch.Norm = "batch"
	for want, m := range map[string]MultiStyle{
		"styles: there is none":                            multi(),
		`styles: the name "" is not 1 to 64 letters`:       multi(""),
		`styles: the name "a=b" is not`:                    multi("a=b"),
		`styles: the name "x.y" is not`:                    multi("x.y"),
		`styles: the name "\xff" is not`:                   multi("\xff"),
		`styles: two are called "a"`:                       multi("a", "é", "a"),
		"styles: 1025 are more than 1024":                  multi(make([]string, 1025)...),
		`norm: a network of many styles has instance norm`: batch,
	} {
		if net, err := m.Build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %q", net, err, want)
		}
	}
}
