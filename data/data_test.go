package data

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"stylenet/internal/images"
	"stylenet/internal/testassets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// photo returns a JPEG whose pixels depend on seed, or a PNG where lossless.
func photo(t testing.TB, w, h, seed int, lossless bool) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetRGBA(x, y, color.RGBA{uint8(x*5 + seed*40), uint8(y*5 + seed*90), uint8(x*3 + y*2 + seed), 255})
		}
	}
	var buf bytes.Buffer
	encode := func() error { return jpeg.Encode(&buf, img, nil) }
	if lossless {
		encode = func() error { return png.Encode(&buf, img) }
	}
	if err := encode(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// folder has 7 good pictures and 3 that cannot be used.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 7 {
		write(t, dir, fmt.Sprintf("%c/p%d.jpg", 'a'+i%2, i), photo(t, 40+4*i, 60-3*i, i, false))
	}
	good := photo(t, 40, 40, 9, false)
	write(t, dir, "a/cut.jpg", good[:len(good)/2])
	write(t, dir, "b/text.png", []byte("not a picture at all"))
	write(t, dir, "b/tiny.png", photo(t, 3, 50, 3, true))
	return dir
}

func options(dir string) Options {
	return Options{Dir: dir, Size: 16, Batch: 4, Seed: 7, ScaleMax: 1.5, Flip: true, Workers: 1}
}

func loader(t testing.TB, opts Options, start Cursor) *Loader {
	t.Helper()
	l, err := NewLoader(opts, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// same reports whether two runs made the same batches. It compares the pixels
// before it would be slow to say where they differ.
func same(a, b []Batch) bool {
	return slices.EqualFunc(a, b, func(a, b Batch) bool {
		return slices.Equal(a.Pixels, b.Pixels) && cmp.Equal(a.Paths, b.Paths) && cmp.Equal(a.Cursor, b.Cursor)
	})
}

// take returns copies of the next n batches.
func take(t testing.TB, l *Loader, n int) []Batch {
	t.Helper()
	var out []Batch
	for range n {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Batch{Pixels: slices.Clone(b.Pixels), Paths: slices.Clone(b.Paths), Cursor: b.Cursor})
		l.Release(b)
	}
	return out
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	jpg := photo(t, 8, 8, 0, false)
	for _, name := range []string{"b/2.JPG", "b/10.jpg", "a.jpeg", "z/deep/er/x.webp", "no-extension", "wrong.txt"} {
		write(t, dir, name, jpg)
	}
	for _, name := range []string{"notes.txt", ".hidden.jpg", ".git/x.jpg", "empty", "labels.json"} {
		write(t, dir, name, []byte("{}"))
	}
	write(t, dir, "empty", nil)
	want := []string{"a.jpeg", "b/10.jpg", "b/2.JPG", "no-extension", "wrong.txt", "z/deep/er/x.webp"}
	got, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	if runtime.GOOS == "windows" {
		return // links need a privilege there
	}
	for link, target := range map[string]string{"b/up": "..", "c": "b", "dangling.jpg": "nowhere", "self": "self", "linked.png": "a.jpeg"} {
		if err := os.Symlink(target, filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	// c is b again, and b/up is the folder itself.
	want = append(want, "linked.png")
	slices.Sort(want)
	if got, err = List(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := List(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	write(t, dir, "f.jpg", nil)
	if _, err := List(filepath.Join(dir, "f.jpg")); err == nil || !strings.Contains(err.Error(), "is a file, not a folder") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	dir := folder(t)
	write(t, dir, "readme.txt", []byte("hello"))
	write(t, dir, "b/really.jpg", photo(t, 200, 100, 0, true))
	calls := 0
	got, err := Check(context.Background(), dir, CheckOptions{Workers: 3, Progress: func(done, total int) {
		if calls++; done != calls || total != 11 {
			t.Errorf("progress %d of %d at call %d", done, total, calls)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	// The whole pictures: 40×60 44×57 48×54 52×51 56×48 60×45 64×42, 200×100, 3×50.
	want := &Report{
		Dir: dir, Files: 11, Usable: 8, Ignored: 1,
		Formats:  map[string]int{"JPEG": 7, "PNG": 2},
		Short:    Distribution{3, 45, 100},
		Long:     Distribution{50, 57, 200},
		Broken:   []Skipped{{"a/cut.jpg", ""}, {"b/text.png", "not a picture in a known format (known: JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF)"}},
		TooSmall: []Skipped{{"b/tiny.png", "3×50 pixels are too small: the short side must be at least 32"}},
	}
	if r := got.Broken[0].Reason; !strings.HasPrefix(r, "broken JPEG picture: ") {
		t.Errorf("reason %q", r)
	}
	got.Broken[0].Reason = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if calls != 11 {
		t.Errorf("%d calls of progress", calls)
	}
	if j, err := json.Marshal(got); err != nil || !strings.Contains(string(j), `"short":{"min":3,"median":45,"max":100}`) {
		t.Errorf("%s, %v", j, err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Check(ctx, dir, CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestLoaderCropsAreThoseOfTheRecipe(t *testing.T) {
	// Short side resized to the size and rounded to bytes, then a crop: of one
	// 16 high every crop spans the height.
	dir := t.TempDir()
	write(t, dir, "p.png", photo(t, 80, 40, 1, true))
	b := take(t, loader(t, Options{Dir: dir, Size: 16, Batch: 6}, Cursor{}), 1)[0]
	p, err := images.Open(filepath.Join(dir, "p.png"))
	if err != nil {
		t.Fatal(err)
	}
	small, err := images.Resize(p, 32, 16)
	if err != nil {
		t.Fatal(err)
	}
	places := map[int]bool{}
	const n = 3 * 16 * 16
	for i := range 6 {
		found := -1
		for x := 0; x <= 16; x++ {
			c, err := images.Crop(small, x, 0, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			if slices.EqualFunc(c.Pix, b.Pixels[i*n:(i+1)*n], func(a, b float32) bool { return a-b < .51 && b-a < .51 }) {
				found = x
			}
		}
		if found < 0 {
			t.Errorf("crop %d is no crop of the resized picture", i)
		}
		places[found] = true
	}
	if len(places) < 2 {
		t.Error("all crops are the same")
	}
}

func TestLoaderEpochs(t *testing.T) {
	// 7 usable files, batches of 7: each epoch is one batch with every file.
	opts := options(folder(t))
	opts.Batch = 7
	var orders []string
	for i, b := range take(t, loader(t, opts, Cursor{}), 3) {
		seen := slices.Sorted(slices.Values(b.Paths))
		want := []string{"a/p0.jpg", "a/p2.jpg", "a/p4.jpg", "a/p6.jpg", "b/p1.jpg", "b/p3.jpg", "b/p5.jpg"}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("epoch %d: %s", i, diff)
		}
		orders = append(orders, strings.Join(b.Paths, " "))
	}
	if orders[0] == orders[1] && orders[1] == orders[2] {
		t.Error("every epoch has the same order")
	}
}

func TestLoaderIsDeterministic(t *testing.T) {
	dir := folder(t)
	one := take(t, loader(t, options(dir), Cursor{}), 8)
	four := options(dir)
	four.Workers, four.Prefetch = 4, 5
	if !same(one, take(t, loader(t, four, Cursor{}), 8)) {
		t.Error("4 workers make other batches than 1")
	}
	other := options(dir)
	other.Seed++
	if same(one, take(t, loader(t, other, Cursor{}), 8)) {
		t.Error("another seed makes the same batches")
	}
	for i := range one[:len(one)-1] {
		if slices.Equal(one[i].Pixels, one[i+1].Pixels) {
			t.Error("two batches are the same")
		}
	}
}

func TestLoaderResumesFromAnyCursor(t *testing.T) {
	dir := folder(t)
	opts := options(dir)
	const n = 8
	want := take(t, loader(t, opts, Cursor{}), n)
	for i := range n - 1 {
		text, err := json.Marshal(want[i].Cursor)
		if err != nil {
			t.Fatal(err)
		}
		var c Cursor
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		opts.Workers = 1 + i%3
		if !same(want[i+1:], take(t, loader(t, opts, c), n-1-i)) {
			t.Errorf("a loader that resumes after batch %d makes other batches", i)
		}
	}
}

func TestLoaderRandomNumbersStay(t *testing.T) {
	// A resumed run needs the numbers that it began with, whatever version of
	// Go compiled the program that resumes it.
	w := newWorker(&Loader{opts: Options{Seed: 7}, files: make([]string, 10)})
	if diff := cmp.Diff([]int{9, 4, 5, 3, 8, 2, 1, 0, 7, 6}, w.order(3)); diff != "" {
		t.Error(diff)
	}
	w.source.Seed(w.key("crop", 3, 4))
	got := []any{w.random.Float64(), w.random.IntN(1000), w.random.IntN(2)}
	if diff := cmp.Diff([]any{0.4216990235253545, 669, 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoaderSkips(t *testing.T) {
	l := loader(t, options(folder(t)), Cursor{})
	if s := l.Skipped(); len(s) != 0 {
		t.Errorf("skipped %v before the first batch", s)
	}
	batches := take(t, l, 6) // three epochs and a half
	var names []string
	for _, s := range l.Skipped() {
		names = append(names, s.Path)
		if s.Reason == "" || strings.Contains(s.Reason, s.Path) {
			t.Errorf("%s is skipped for %q", s.Path, s.Reason)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"a/cut.jpg", "b/text.png", "b/tiny.png"}, names); diff != "" {
		t.Error(diff)
	}
	if got := batches[5].Cursor.Skipped; len(got) != 3 {
		t.Errorf("the cursor skips %v", got)
	}
	resumed := loader(t, options(l.opts.Dir), batches[5].Cursor)
	if diff := cmp.Diff(l.Skipped(), resumed.Skipped()); diff != "" {
		t.Errorf("a resumed loader forgets: %s", diff)
	}
}

func TestLoaderSkipsVanishedFiles(t *testing.T) {
	dir := folder(t)
	opts := options(dir)
	opts.Prefetch = 1
	l := loader(t, opts, Cursor{})
	take(t, l, 1)
	if err := os.Remove(filepath.Join(dir, "a", "p0.jpg")); err != nil {
		t.Fatal(err)
	}
	take(t, l, 8)
	if !slices.ContainsFunc(l.Skipped(), func(s Skipped) bool {
		return s.Path == "a/p0.jpg" && strings.Contains(s.Reason, "no such file") || runtime.GOOS == "windows"
	}) {
		t.Errorf("skipped %v", l.Skipped())
	}
}

func TestLoaderEndsWhenNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		write(t, dir, fmt.Sprintf("%d.jpg", i), photo(t, 40, 40, i, false))
	}
	opts := options(dir)
	opts.Prefetch, opts.Batch = 1, 1
	l := loader(t, opts, Cursor{})
	idle := func() {
		for again := true; again; again = !l.Idle() {
			time.Sleep(20 * time.Millisecond) // Idle is late after Next
		}
	}
	idle() // good batches are made ahead, and taken after the end was met
	for i := range 3 {
		write(t, dir, fmt.Sprintf("%d.jpg", i), []byte("spoilt"))
	}
	var err error
	for range 100 {
		idle()
		var b *Batch
		if b, err = l.Next(context.Background()); err != nil {
			break
		}
		l.Release(b)
	}
	if err == nil || !strings.Contains(err.Error(), "all 3 pictures of "+dir+" have turned out unusable") {
		t.Errorf("error %v", err)
	}
	if len(l.Skipped()) != 3 {
		t.Errorf("skipped %v", l.Skipped())
	}
}

func TestNewLoaderErrors(t *testing.T) {
	dir := folder(t)
	empty, broken := t.TempDir(), t.TempDir()
	write(t, broken, "a.jpg", []byte("spoilt"))
	write(t, broken, "b.png", photo(t, 5, 5, 0, true))
	first := take(t, loader(t, options(dir), Cursor{}), 1)[0].Cursor

	for name, c := range map[string]struct {
		opts    Options
		start   Cursor
		phrases []string
	}{
		"every fault": {Options{Dir: dir, Size: 0, Batch: -1, ScaleMin: .5, Workers: -1}, Cursor{}, []string{"crop size is 0", "batch size is -1", "scales 0.5 to 0.5", "workers (-1)"}},
		"no folder":   {options(filepath.Join(dir, "none")), Cursor{}, []string{"none"}},
		"empty":       {options(empty), Cursor{}, []string{empty + " holds no pictures"}},
		"unusable":    {options(broken), Cursor{}, []string{broken + " holds no usable picture among 2 files; a.jpg: not a picture"}},
		"all skipped": {options(dir), Cursor{Skipped: allOf(t, dir)}, []string{"no usable picture"}},
		"changed":     {options(broken), first, []string{broken + " has changed", "had 10 pictures and has 2"}},
		"outside":     {options(dir), Cursor{Position: 11}, []string{"position 11", "10 pictures"}},
	} {
		l, err := NewLoader(c.opts, c.start)
		if err == nil {
			l.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		for _, phrase := range c.phrases {
			if !strings.Contains(err.Error(), phrase) {
				t.Errorf("%s: error %q lacks %q", name, err, phrase)
			}
		}
	}
}

func allOf(t *testing.T, dir string) (all []Skipped) {
	files, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		all = append(all, Skipped{f, "spoilt"})
	}
	return all
}

func TestNextAndClose(t *testing.T) {
	l, err := NewLoader(options(folder(t)), Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	take(t, l, 1)
	l.Close()
	l.Close()
	if _, err := l.Next(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want closed", err)
	}
}

func TestReleasedBuffersAreReused(t *testing.T) {
	opts := options(folder(t))
	opts.Prefetch = 1
	l := loader(t, opts, Cursor{})
	seen := map[*float32]bool{}
	for range 20 {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		seen[&b.Pixels[0]] = true
		l.Release(b)
	}
	// One filled, one ready, one in use, one free.
	if len(seen) > 4 {
		t.Errorf("20 batches took %d buffers", len(seen))
	}
}

func TestLoaderOnPhotos(t *testing.T) {
	dir := filepath.Dir(testassets.Path(t, "photos/0000.jpg"))
	l := loader(t, Options{Dir: dir, Size: 128, Batch: 4}, Cursor{})
	for _, b := range take(t, l, 3) {
		var sum float64
		for _, v := range b.Pixels {
			sum += float64(v)
		}
		if mean := sum / float64(len(b.Pixels)); mean < 20 || mean > 235 {
			t.Errorf("the mean of %v is %.1f", b.Paths, mean)
		}
	}
	if s := l.Skipped(); len(s) != 0 {
		t.Errorf("skipped %v", s)
	}
}

// BenchmarkLoader reports how many 256×256 crops of 640×480 JPEGs one core
// makes.
func BenchmarkLoader(b *testing.B) {
	dir := b.TempDir()
	for i := range 8 {
		write(b, dir, fmt.Sprintf("%d.jpg", i), photo(b, 640, 480, i, false))
	}
	benchmark(b, Options{Dir: dir, Size: 256, Batch: 4, Workers: 1})
}

func benchmark(b *testing.B, opts Options) {
	l := loader(b, opts, Cursor{})
	b.ReportAllocs()
	for b.Loop() {
		got, err := l.Next(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		l.Release(got)
	}
	b.ReportMetric(float64(opts.Batch*b.N)/b.Elapsed().Seconds(), "images/s")
}
