package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoStyles = "kind: multistyle\ndata: {dir: photos}\nstyle: {images: [{name: b, path: x.jpg}, paintings/The Starry Night!.jpg, {name: b, path: y.jpg, weight: 3}]}\n"

func TestNamedStyles(t *testing.T) {
	c, err := load("run.yaml", []byte(twoStyles), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []NamedStyle{
		{"b", []StyleImage{{"x.jpg", .25, "b"}, {"y.jpg", .75, "b"}}},
		{"The-Starry-Night", []StyleImage{{"paintings/The Starry Night!.jpg", 1, ""}}},
	}
	if diff := cmp.Diff(want, c.Style.Named()); diff != "" {
		t.Error(diff)
	}
	assertRoundTrip(t, c)
}

func TestMultiStyleFaults(t *testing.T) {
	for _, tt := range []struct {
		file, set, want string
	}{
		{"kind: multistyle\ndata: {dir: photos}\n", "", "run.yaml: style.images is missing: list the styles"},
		{twoStyles, "style.image=a.jpg", "--set style.image has no meaning for kind multistyle"},
		{twoStyles, "network.norm=batch", "--set network.norm must be instance for kind multistyle"},
		{twoStyles, "style.images=[{path: a.jpg, name: a b}]", `--set style.images[0].name must be 1 to 64 letters, digits, - and _, got "a b"`},
		{twoStyles, "style.images=['!.jpg']", `--set style.images[0].name must be 1 to 64 letters, digits, - and _, got ""`},
		{twoStyles, "style.images=[a/x.jpg, b/x.jpg]", "--set style.images[1].name is missing: by its file it would be called x, as style.images[0] is"},
		{twoStyles, "style.images=[a/x.jpg, {path: b/x.jpg, name: x}]", "--set style.images[1].name is missing: by its file it would be called x, as"},
		{"data: {dir: photos}\nstyle: {images: [{path: a.jpg, name: a}]}\n", "", "run.yaml:2: style.images[0].name has no meaning for kind johnson, which learns the average of all images"},
		{"data: {dir: photos}\nstyle: {image: a.jpg}\n", "network.from=m", "--set network.from has no meaning for kind johnson: remove it, or set kind to multistyle"},
	} {
		var sets []string
		if tt.set != "" {
			sets = []string{tt.set}
		}
		if c, err := load("run.yaml", []byte(tt.file), sets); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %q", tt.set, c, err, tt.want)
		}
	}
}
