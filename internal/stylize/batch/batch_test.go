package batch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tree makes empty files, which have names of pictures.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustOpen(t *testing.T, args ...string) *Inputs {
	t.Helper()
	in, err := Open(args)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func mustParse(t *testing.T, pattern string) Pattern {
	t.Helper()
	p, err := ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPictures(t *testing.T) {
	t.Chdir(tree(t, "photos/b.png", "photos/a/2.jpg", "photos/a/1.jpg", "photos/out/old.png", "photos/notes.md", "x1.png", "x2.png", "xs/3.png", "y1/z.png", "y2/z.png"))
	real, err := RealPath("photos/out")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string // names
	}{
		{[]string{"photos"}, "a/1.jpg a/2.jpg b.png"},
		{[]string{"photos/b.png", "photos/a/", "missing.png", "-"}, "b.png 1.jpg 2.jpg missing.png stdin"},
		{[]string{"x*"}, "x1.png x2.png 3.png"},
		{[]string{"y?/*.png"}, "z.png z.png"},
		{[]string{"photos/*"}, "1.jpg 2.jpg b.png notes.md"},
	} {
		in := mustOpen(t, c.args...)
		for range 2 { // it can be ranged over again
			var got []string
			for p, err := range in.Pictures(real) {
				if err != nil {
					if strings.HasPrefix(err.Error(), "photos/out") {
						continue
					}
					t.Fatal(c.args, err)
				}
				got = append(got, p.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q: got %q, want %q", c.args, got, c.want)
			}
		}
	}
	for _, c := range []struct{ arg, want string }{
		{"no*.png", "no*.png matches no file"},
		{"no*/x.png", "no*/x.png matches no file"},
		{"x[.png", "x[.png: syntax error in pattern"},
	} {
		if _, err := Open([]string{c.arg}); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.arg, err, c.want)
		}
	}
	if _, err := Open([]string{"-", "a.png", "-"}); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir("none", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, err := range mustOpen(t, "none").Pictures("") {
		if err == nil || err.Error() != "none holds no pictures" {
			t.Errorf("got %v", err)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct{ pattern, name, want string }{
		{OneModel, "a.jpg", "a.png"},
		{OneModel, "x/y/a.b.jpg", "x/y/a.b.png"},
		{OneModel, "no-extension", "no-extension.png"},
		{SeveralModels, "x/a.jpg", "x/a-candy.png"},
		{"{model}/{dir}/{name}_{name}.webp", "a.jpg", "candy/a_a.webp"},
		{"flat-{name}.{ext}", "x/a.jpg", "flat-a.png"},
	} {
		if got := mustParse(t, c.pattern).name(c.name, "png", "candy"); got != c.want {
			t.Errorf("%s of %s: got %s, want %s", c.pattern, c.name, got, c.want)
		}
	}
	for _, c := range []struct{ pattern, want string }{
		{"", "it is empty"},
		{"{nmae}.png", `"{nmae}.png": {nmae} is none of {dir}, {name}, {ext}, {model}`},
		{"{name.png", `"{name.png": a { without its }`},
		{"name}.png", `"name}.png": a } without its {`},
		{"../{name}.png", `"../{name}.png" leads out of the folder of results`},
		{"/{name}.png", `"/{name}.png" leads out of the folder of results`},
		{"{dir}/", `"{dir}/" names a folder: end it with a file, as in {dir}/{name}.{ext}`},
	} {
		if _, err := ParsePattern(c.pattern); err == nil || err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.pattern, err, c.want)
		}
	}
}

func TestOutputs(t *testing.T) {
	for _, c := range []struct{ name, format, want string }{
		{"a.jpg", "", "a.jpg"},
		{"a.JPG", "", "a.JPG"},
		{"a.gif", "", "a.png"},
		{"a", "", "a.png"},
		{"a.JPEG", "JPEG", "a.JPEG"},
		{"a.png", "JPEG", "a.jpg"},
		{"a.bmp", "TIFF", "a.tif"},
	} {
		p := &Plan{Output: "out", Folder: true, Pattern: mustParse(t, OneModel), Models: []string{"m"}, Format: c.format}
		if got := p.Outputs(Picture{c.name, c.name}); !slices.Equal(got, []string{filepath.Join("out", c.want)}) {
			t.Errorf("%s as %q: got %q, want %s", c.name, c.format, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Chdir(tree(t, "photos/a.png", "photos/a.gif", "photos/b/a.png", "photos/photos/a.png", "photos/done/x.png", "one.png", "two.png", "dir/one.png", "img/1.png", "img/2.png"))
	if runtime.GOOS != "windows" {
		if err := errors.Join(os.Symlink("../photos/a.png", "img/link.png"), os.Symlink("photos", "alias"), os.Mkdir("links", 0o777), os.Symlink("../photos/a.png", "links/1.png")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args            []string
		output, pattern string
		models          []string
		want            string // the error, or "" and
		pictures        int
	}{
		{[]string{"img/1.png", "img/2.png"}, "new", OneModel, []string{"m"}, "", 2},
		{[]string{"one.png", "dir/one.png"}, "new", OneModel, []string{"m"}, "one.png and dir/one.png would both be written to new/one.png", 0},
		{[]string{"photos"}, "new", OneModel, []string{"m"}, "photos/a.gif and photos/a.png would both be written to new/a.png", 0},
		{[]string{"photos"}, "photos/done", "{dir}/{name}-{ext}.{ext}", []string{"m"}, "photos/a.gif and photos/a.png would both be", 0},
		{[]string{"photos/b", "photos/done"}, "new", "{dir}/{name}.{ext}", []string{"m"}, "", 2},
		{[]string{"photos/b", "photos/photos"}, "new", "x.{ext}", []string{"m"}, "photos/b/a.png and photos/photos/a.png would both be written to new/x.png", 0},
		{[]string{"img/1.png"}, "new", SeveralModels, []string{"m", "n"}, "", 1},
		{[]string{"img/1.png"}, "new", SeveralModels, []string{"m", "m"}, "img/1.png in the style of m and img/1.png in the style of m would both be written to new/1-m.png", 0},
		{[]string{"img/1.png"}, "new", OneModel, []string{"m", "n"}, "img/1.png in the style of m and img/1.png in the style of n would both be written to new/1.png", 0},
		{[]string{"img/1.png"}, "img", OneModel, []string{"m"}, "img/1.png is an input, and inputs are never overwritten", 0},
		{[]string{"img/1.png"}, "img", SeveralModels, []string{"m"}, "", 1},
		{[]string{"img/?.png"}, "img", SeveralModels, []string{"m"}, "", 2},
		{[]string{"img/*.png"}, "img", SeveralModels, []string{"m"}, "img/1-m.png would lie among the inputs in img/*.png, which are never overwritten or added to", 0},
		{[]string{"photos/b"}, "photos/b", OneModel, []string{"m"}, "photos/b would lie among the inputs in photos/b, ", 0},
		{[]string{"photos/b"}, "photos", "b/{name}-2.png", []string{"m"}, "photos/b/a-2.png would lie among the inputs in photos/b, ", 0},
		{[]string{"photos/done"}, ".", "photos/done/{name}.{ext}", []string{"m"}, "photos/done/x.png would lie among", 0},
		{[]string{"img"}, "links", "{name}.{ext}", []string{"m"}, "", 3},
		{[]string{"photos/b"}, "alias/b", OneModel, []string{"m"}, "alias/b would lie among the inputs in photos/b, ", 0},
		{[]string{"img", "photos/photos"}, "links", "{name}.{ext}", []string{"m"}, "", 4},
		{[]string{"img/1.png", "photos/done", "photos/b", "photos/a.png"}, "links", "{name}.{ext}", []string{"m"}, "links/1.png is an input, and", 0},
		{[]string{"img", "photos"}, "links", "{dir}/{name}.{ext}", []string{"m"}, "links/1.png would lie among the inputs in photos, ", 0},
	} {
		if runtime.GOOS == "windows" && (strings.Contains(c.output, "link") || c.output == "alias/b") {
			continue // links need a privilege there
		}
		p := &Plan{Inputs: mustOpen(t, c.args...), Output: c.output, Folder: true, Pattern: mustParse(t, c.pattern), Models: c.models}
		n, err := p.Check(context.Background())
		got := ""
		if err != nil {
			got = filepath.ToSlash(err.Error())
		}
		if c.want == "" && (err != nil || n != c.pictures) || !strings.HasPrefix(got, c.want) {
			t.Errorf("%q to %s as %s: got %d, %v; want %d, %q", c.args, c.output, c.pattern, n, err, c.pictures, c.want)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	p := &Plan{Inputs: mustOpen(t, "img"), Output: "new", Folder: true, Pattern: mustParse(t, OneModel), Models: []string{"m"}}
	if _, err := p.Check(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Names that are compared in parts are compared all.
func TestCheckInParts(t *testing.T) {
	dir := tree(t)
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p := &Plan{Inputs: mustOpen(t, dir), Output: t.TempDir(), Folder: true, Pattern: mustParse(t, OneModel), Models: []string{"m"}}
	c, err := p.newCheck()
	if err != nil {
		t.Fatal(err)
	}
	c.window = 7
	if err := c.unique(context.Background(), 200); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "123.gif"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	var collision *CollisionError
	if err := c.unique(context.Background(), 201); !errors.As(err, &collision) || filepath.Base(collision.Output) != "123.png" {
		t.Errorf("got %v", err)
	}
}

// peak is the largest heap, in bytes, at some points of f.
func peak(f func(look func())) uint64 {
	var most uint64
	f(func() {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
	})
	return most
}

// A folder of many pictures takes no more memory than one of few.
func TestMemoryDoesNotGrow(t *testing.T) {
	measure := func(files int) uint64 {
		dir := t.TempDir()
		for i := range files {
			path := filepath.Join(dir, fmt.Sprintf("%03d/a-photo-with-a-long-name-as-cameras-and-services-give-them-%06d.png", i/100, i))
			if i%100 == 0 {
				if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		p := &Plan{Inputs: mustOpen(t, dir), Output: filepath.Join(t.TempDir(), "out"), Folder: true, Pattern: mustParse(t, OneModel), Models: []string{"m"}}
		return peak(func(look func()) {
			n, err := p.Check(context.Background())
			if err != nil || n != files {
				t.Fatal(n, err)
			}
			look()
			pictures, err := p.Pictures()
			if err != nil {
				t.Fatal(err)
			}
			n = 0
			for _, err := range pictures {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n%(files/4) == 1 {
					look()
				}
			}
			if n != files {
				t.Errorf("%d pictures, want %d", n, files)
			}
		})
	}
	few, many := measure(1000), measure(20_000) // 10 folders, 200 folders
	t.Logf("%d KiB of 1000, %d KiB of 20,000", few>>10, many>>10)
	if many > few+64<<10 {
		t.Errorf("1000 pictures take %d KiB, 20,000 take %d", few>>10, many>>10)
	}
}
