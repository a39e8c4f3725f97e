package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every preset is valid, says what it is, names the placeholders that flags
// replace, and comes back from its resolved YAML.
func TestOptimizePresets(t *testing.T) {
	t.Chdir(t.TempDir()) // no file of a preset's name
	var names []string
	for _, p := range OptimizePresets() {
		names = append(names, p.Name)
		if len(p.Summary) < 20 || len([]rune(p.Summary)) > 120 {
			t.Errorf("preset %s sums itself up as %q", p.Name, p.Summary)
		}
		for _, path := range []string{p.Name, p.Name + ".yaml", "configs/optimize/" + p.Name + ".yaml"} {
			c, err := LoadOptimize(path, []string{"content=a photo.jpg", `styles=[{path: x.png}, y.png]`})
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if c.Content != "a photo.jpg" || len(c.Styles) != 2 || c.Styles[0] != (OptimizeStyle{Path: "x.png", Weight: 1}) {
				t.Errorf("%s: the flags make %+v", path, c)
			}
			b, err := c.YAML()
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseOptimize("state", b, nil)
			if err != nil {
				t.Fatalf("%s: its own YAML: %v\n%s", path, err, b)
			}
			if diff := cmp.Diff(c, again); diff != "" {
				t.Errorf("%s: after its own YAML (-before +after):\n%s", path, diff)
			}
		}
	}
	if diff := cmp.Diff([]string{"gatys", "large", "neural-style"}, names); diff != "" {
		t.Errorf("presets (-want +got):\n%s", diff)
	}
	if _, err := LoadOptimize("other/gatys.yaml", nil); err == nil || !strings.Contains(err.Error(), "and no preset has that name (presets: gatys, large, neural-style)") {
		t.Errorf("a file of another folder: %v", err)
	}
}

// What no machine can compute is refused before one is asked to.
func TestOptimizeBounds(t *testing.T) {
	for set, want := range map[string]string{
		"size=100000000":              "size must be at most 65536, got 100000000",
		"style_scale=1e9":             "style_scale must be above 0 and at most 16, got 1e+09",
		"optimizer.history=100000000": "optimizer.history must be at most 1000, got 100000000",
		"threads=5000":                "threads must be at most 1024, got 5000",
	} {
		_, err := ParseOptimize("my.yaml", []byte("content: a.jpg\nstyles: [b.jpg]\n"), []string{set})
		if err == nil || err.Error() != "--set "+want {
			t.Errorf("%s: %v", set, err)
		}
	}
	if _, err := ParseOptimize("my.yaml", []byte("content: a.jpg\nstyles: [b.jpg]\n"), []string{"size=65536", "style_scale=16", "optimizer.history=1000", "threads=1024"}); err != nil {
		t.Error(err)
	}
}

// Faults name their key and place, all at once.
func TestOptimizeFaults(t *testing.T) {
	_, err := ParseOptimize("my.yaml", []byte(`content: a.jpg
styles: [{path: b.jpg, weight: 0}, {path: ""}]
optimizer: {name: sgd, history: 0}
size: 7
start: ""
vgg: {pooling: min}
stepz: 4
`), []string{"scales=-1", "precision=fp16"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"my.yaml:2: styles[0].weight must be above 0, got 0",
		"my.yaml:2: styles[1].path is missing",
		"my.yaml:3: optimizer.name must be lbfgs or adam, got ",
		"my.yaml:3: optimizer.history must be at least 1, got 0",
		"my.yaml:4: size must be at least 32, got 7",
		"my.yaml:5: start must be content, noise or the path of a picture, got nothing",
		"my.yaml:6: vgg.pooling must be max or avg, got ",
		"my.yaml:7: stepz is not a known key; did you mean steps?",
		"--set scales must be at least 0, got -1",
		"--set precision must be float32 or bf16, got ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if _, err := ParseOptimize("", nil, nil); err == nil || !strings.Contains(err.Error(), "content is missing") || !strings.Contains(err.Error(), "styles is missing") {
		t.Errorf("nothing: %v", err)
	}
}
