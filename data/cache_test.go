package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stylenet/internal/images"
	"stylenet/internal/testassets"
)

// mixed is folder with pictures of other kinds: alpha, grey, lying on its side
// by EXIF, and a panorama.
func mixed(t testing.TB) string {
	t.Helper()
	dir := folder(t)
	encode := func(name string, img image.Image) {
		var buf bytes.Buffer
		if err := png.Encode(&buf, img); err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, buf.Bytes())
	}
	alpha, grey := image.NewNRGBA(image.Rect(0, 0, 50, 37)), image.NewGray16(image.Rect(0, 0, 33, 70))
	for y := range 70 {
		for x := range 50 {
			alpha.Set(x, y, color.NRGBA{uint8(x * 5), uint8(y * 3), 200, uint8(x * y)})
			grey.Set(x, y, color.Gray16{uint16(x*1500 + y*257)})
		}
	}
	encode("alpha.png", alpha)
	encode("grey.png", grey)
	lying := photo(t, 60, 44, 5, false)
	const exif = "\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
	write(t, dir, "lying.jpg", append(append([]byte("\xff\xd8"), exif...), lying[2:]...))
	write(t, dir, "wide.jpg", photo(t, 400, 33, 6, false))
	return dir
}

// prepared makes a cache for opts and returns opts with it.
func prepared(t testing.TB, opts Options) Options {
	t.Helper()
	opts.Cache = filepath.Join(t.TempDir(), "photos.sndata")
	if _, err := Prepare(context.Background(), opts, nil); err != nil {
		t.Fatal(err)
	}
	return opts
}

func TestCacheMakesTheSameBatches(t *testing.T) {
	dir := mixed(t)
	for name, opts := range map[string]Options{
		"reduced":  {Size: 16},
		"zoom":     {Size: 16, ScaleMax: 2.2, Flip: true},
		"enlarged": {Size: 80},
		"both":     {Size: 30, ScaleMin: 1.2, ScaleMax: 2.5, Flip: true, MinSide: 34},
	} {
		opts.Dir, opts.Batch, opts.Seed = dir, 5, 3
		plain := loader(t, opts, Cursor{})
		want := take(t, plain, 9)
		opts = prepared(t, opts)
		for opts.Workers = 1; opts.Workers < 4; opts.Workers += 2 {
			cached := loader(t, opts, Cursor{})
			if !same(want, take(t, cached, 9)) {
				t.Errorf("%s: a cache makes other batches, with %d workers", name, opts.Workers)
			}
			if diff := cmp.Diff(plain.Skipped(), cached.Skipped()); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		// A run may go on with a cache, and without it again.
		if !same(want[4:], take(t, loader(t, opts, want[3].Cursor), 5)) {
			t.Errorf("%s: a resumed loader makes other batches", name)
		}
	}
}

func TestCacheServesEverySeedAndZoomWithinItsSide(t *testing.T) {
	opts := Options{Dir: mixed(t), Size: 20, ScaleMax: 1.6, Batch: 3}
	opts = prepared(t, opts)
	opts.Seed, opts.Batch, opts.ScaleMin, opts.Flip = 99, 4, 1.3, true
	got := take(t, loader(t, opts, Cursor{}), 4)
	opts.Cache = ""
	if !same(take(t, loader(t, opts, Cursor{}), 4), got) {
		t.Error("a cache makes other batches for another seed")
	}
}

func TestCacheOnPhotos(t *testing.T) {
	all := filepath.Dir(testassets.Path(t, "photos/0000.jpg"))
	dir := t.TempDir()
	files, err := List(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files[:12] {
		b, err := os.ReadFile(filepath.Join(all, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, b)
	}
	for _, max := range []float64{1, 1.7} {
		opts := Options{Dir: dir, Size: 128, Batch: 4, ScaleMax: max, Flip: true}
		want := take(t, loader(t, opts, Cursor{}), 4)
		if !same(want, take(t, loader(t, prepared(t, opts), Cursor{}), 4)) {
			t.Errorf("zoom to %v: a cache makes other batches", max)
		}
	}
}

func TestPrepare(t *testing.T) {
	opts := options(folder(t))
	opts.Cache = filepath.Join(t.TempDir(), "c")
	calls := 0
	p, err := Prepare(context.Background(), opts, func(done, total int) {
		if calls++; done != calls || total != 10 {
			t.Errorf("progress %d of %d at call %d", done, total, calls)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls != 10 || p.Files != 10 || p.Usable != 7 || p.Reused != 0 || len(p.Skipped) != 3 || p.Skipped[0].Path != "a/cut.jpg" {
		t.Errorf("%d calls, %+v", calls, p)
	}
	first, err := os.ReadFile(opts.Cache)
	if err != nil || int64(len(first)) != p.Bytes {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	if p, err = Prepare(context.Background(), opts, nil); err != nil || p.Reused != 10 || p.Usable != 7 {
		t.Errorf("again: %+v, %v", p, err)
	}

	opts.Workers, opts.Seed = 3, 8
	if p, err = Prepare(context.Background(), Options{Dir: opts.Dir, Size: 16, ScaleMax: 1.5, Workers: 3, Cache: opts.Cache + "2"}, nil); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(p.Path); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same photos give other bytes: %v", err)
	}

	// A damaged cache and one of another recipe are replaced.
	first[len(first)/2] ^= 1
	write(t, "", opts.Cache, first)
	if p, err = Prepare(context.Background(), opts, nil); err != nil || p.Reused != 0 {
		t.Errorf("of a damaged one: %+v, %v", p, err)
	}
	opts.Size = 24
	if p, err = Prepare(context.Background(), opts, nil); err != nil || p.Reused != 0 {
		t.Errorf("of another size: %+v, %v", p, err)
	}
	loader(t, opts, Cursor{})
}

func TestPrepareErrors(t *testing.T) {
	dir, empty, broken, out := folder(t), t.TempDir(), t.TempDir(), t.TempDir()
	write(t, broken, "a.jpg", []byte("spoilt"))
	write(t, out, "letter.txt", []byte("dear reader"))
	write(t, out, "film.part", []byte("half a film"))
	write(t, out, "note.part", []byte("she said"))
	cache := func(opts Options, name string) Options {
		opts.Cache = filepath.Join(out, name)
		return opts
	}
	for name, c := range map[string]struct {
		opts   Options
		phrase string
	}{
		"no name":    {options(dir), "no name"},
		"empty":      {cache(options(empty), "c"), "holds no pictures"},
		"unusable":   {cache(options(broken), "c"), "holds no usable picture among 1 files; a.jpg: not a picture"},
		"other file": {cache(options(dir), "letter.txt"), "letter.txt: there is another file of that name, and it stays"},
		"other part": {cache(options(dir), "film"), "film.part is no unfinished photo cache, and it stays"},
		"short part": {cache(options(dir), "note"), "note.part is no unfinished photo cache, and it stays"},
		"a folder":   {cache(options(dir), ""), "another file of that name"},
		"in a file":  {cache(options(dir), "letter.txt/c"), "letter.txt"},
		"options":    {cache(Options{Dir: dir}, "c"), "crop size is 0"},
	} {
		if _, err := Prepare(context.Background(), c.opts, nil); err == nil || !strings.Contains(err.Error(), c.phrase) {
			t.Errorf("%s: error %v lacks %q", name, err, c.phrase)
		}
	}
	for name, want := range map[string]string{"letter.txt": "dear reader", "film.part": "half a film", "note.part": "she said"} {
		if b, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(b) != want {
			t.Errorf("%s is now %q, %v", name, b, err)
		}
	}
}

// However the beginning of a cache ends, and whatever stands behind it, the
// next call makes the same cache of it, as long as it can tell that it is one.
func TestPrepareGoesOn(t *testing.T) {
	opts := prepared(t, options(folder(t)))
	whole, err := os.ReadFile(opts.Cache)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		opts := opts
		opts.Cache = opts.Cache + "-again"
		part := bytes.Clone(whole[:rapid.IntRange(0, len(whole)).Draw(t, "length")])
		if len(part) > len(cacheMagic) {
			if rapid.Bool().Draw(t, "flip") {
				part[rapid.IntRange(len(cacheMagic), len(part)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
			part = append(part, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "garbage")...)
		}
		if err := os.WriteFile(opts.Cache+unfinished, part, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Prepare(context.Background(), opts, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(opts.Cache); err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("another cache, %v", err)
		}
		if err := os.Remove(opts.Cache); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(opts.Cache + unfinished); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the unfinished file is still there: %v", err)
		}
	})
}

func TestPrepareStopsAndGoesOn(t *testing.T) {
	opts := options(folder(t))
	want, err := os.ReadFile(prepared(t, opts).Cache)
	if err != nil {
		t.Fatal(err)
	}
	opts.Cache = filepath.Join(t.TempDir(), "c")
	ctx, cancel := context.WithCancel(context.Background())
	_, err = Prepare(ctx, opts, func(done, _ int) {
		if done == 4 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err = NewLoader(opts, Cursor{}); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("error %v", err)
	}
	// A photo that has changed in between is decoded again, and all after it.
	old := filepath.Join(opts.Dir, "a", "p2.jpg")
	info, err := os.Stat(old)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	write(t, opts.Dir, "a/p2.jpg", b[:len(b)-1])
	write(t, opts.Dir, "a/p2.jpg", b)
	if err := os.Chtimes(old, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(context.Background(), opts, nil)
	if err != nil || p.Reused < 4 || p.Reused == p.Files {
		t.Errorf("%+v, %v", p, err)
	}
	if got, err := os.ReadFile(opts.Cache); err != nil || !bytes.Equal(got, want) {
		t.Errorf("another cache, %v", err)
	}
}

// TestPrepareIsKilled runs this test in a process of its own, which kills
// itself after some photos, again and again.
func TestPrepareIsKilled(t *testing.T) {
	const env = "STYLENET_TEST_KILL"
	if args := strings.Split(os.Getenv(env), "|"); len(args) == 3 {
		opts := options(args[0])
		opts.Cache = args[1]
		after, err := strconv.Atoi(args[2])
		if err != nil {
			t.Fatal(err)
		}
		_, err = Prepare(context.Background(), opts, func(done, _ int) {
			if done == after {
				p, err := os.FindProcess(os.Getpid())
				if err == nil {
					err = p.Kill()
				}
				if err != nil {
					panic(err)
				}
				select {}
			}
		})
		t.Fatalf("still alive: %v", err)
	}
	opts := options(folder(t))
	want, err := os.ReadFile(prepared(t, opts).Cache)
	if err != nil {
		t.Fatal(err)
	}
	opts.Cache = filepath.Join(t.TempDir(), "c")
	for _, after := range []int{1, 3, 4, 10} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPrepareIsKilled$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", env, opts.Dir, opts.Cache, after))
		if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "still alive") {
			t.Fatalf("not killed: %v\n%s", err, out)
		}
		if _, err := os.Stat(opts.Cache); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("a cache is there after %d photos: %v", after, err)
		}
	}
	p, err := Prepare(context.Background(), opts, nil)
	if err != nil || p.Reused != 10 {
		t.Errorf("%+v, %v", p, err)
	}
	if got, err := os.ReadFile(opts.Cache); err != nil || !bytes.Equal(got, want) {
		t.Errorf("another cache, %v", err)
	}
}

func TestCacheErrors(t *testing.T) {
	base := options(folder(t))
	whole, err := os.ReadFile(prepared(t, base).Cache)
	if err != nil {
		t.Fatal(err)
	}
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, o *Options)
		phrase string
	}{
		"missing":    {func(t *testing.T, o *Options) { remove(t, o.Cache) }, "file does not exist"},
		"unfinished": {func(t *testing.T, o *Options) { remove(t, o.Cache); write(t, "", o.Cache+unfinished, whole[:900]) }, "it is not finished"},
		"text":       {func(t *testing.T, o *Options) { write(t, "", o.Cache, []byte("a letter")) }, "it is no photo cache"},
		"empty":      {func(t *testing.T, o *Options) { write(t, "", o.Cache, nil) }, "it is no photo cache"},
		"version": {func(t *testing.T, o *Options) {
			b := bytes.Clone(whole)
			binary.LittleEndian.PutUint32(b[len(cacheMagic):], 7)
			write(t, "", o.Cache, b)
		}, "it has version 7, and this stylenet reads version 1"},
		"grown":      {func(t *testing.T, o *Options) { write(t, "", o.Cache, append(bytes.Clone(whole), 0)) }, "it is damaged: it is cut short, or has grown"},
		"added":      {func(t *testing.T, o *Options) { write(t, o.Dir, "new.jpg", photo(t, 40, 40, 0, false)) }, "it is of other photos: it was made of 10, and the folder has 11"},
		"removed":    {func(t *testing.T, o *Options) { remove(t, filepath.Join(o.Dir, "a/p0.jpg")) }, "it is of other photos: it was made of 10, and the folder has 9"},
		"shorter":    {func(t *testing.T, o *Options) { write(t, o.Dir, "a/p2.jpg", photo(t, 40, 41, 0, false)) }, "it is stale: a/p2.jpg has changed"},
		"repaired":   {func(t *testing.T, o *Options) { write(t, o.Dir, "a/cut.jpg", photo(t, 40, 40, 9, false)) }, "it is stale: a/cut.jpg has changed"},
		"size":       {func(t *testing.T, o *Options) { o.Size = 20 }, "it is for another recipe: it keeps short sides of up to 24 pixels, and crops of this size and zoom need 30"},
		"zoom":       {func(t *testing.T, o *Options) { o.ScaleMax = 2 }, "need 32"},
		"small ones": {func(t *testing.T, o *Options) { o.MinSide = 9 }, "it is for other limits: a smallest side of 16"},
		"same length": {func(t *testing.T, o *Options) {
			path := filepath.Join(o.Dir, "a/p4.jpg")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			write(t, o.Dir, "a/p4.jpg", b)
			if err := os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
		}, "it is stale: a/p4.jpg has changed"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(folder(t)) // the same photos, of another date
			opts.Cache = filepath.Join(t.TempDir(), "c")
			write(t, "", opts.Cache, whole)
			l, err := NewLoader(opts, Cursor{})
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			c.change(t, &opts)
			l, err = NewLoader(opts, Cursor{})
			if err == nil {
				l.Close()
				t.Fatal("no error")
			}
			var bad *CacheError
			if !errors.As(err, &bad) || bad.Path != opts.Cache || bad.Hint() == "" || !strings.Contains(err.Error(), c.phrase) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q lacks %q", err, c.phrase)
			}
		})
	}
}

// Whatever happens to a cache's bytes, a loader makes the batches that it
// should, or says what is wrong.
func TestCacheDamage(t *testing.T) {
	opts := options(folder(t))
	opts.Prefetch = 1
	opts = prepared(t, opts)
	want := take(t, loader(t, opts, Cursor{}), 4)
	whole, err := os.ReadFile(opts.Cache)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(whole)
		cut := rapid.Bool().Draw(t, "cut")
		if cut {
			b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
		} else {
			// Half of the flips are where there are no pixels.
			at := rapid.IntRange(0, len(b)-1)
			if ends := rapid.IntRange(-1200, 200); rapid.Bool().Draw(t, "ends") {
				at = rapid.Map(ends, func(i int) int { return (i + len(b)) % len(b) })
			}
			b[at.Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		opts := opts
		opts.Cache += "-damaged"
		if err := os.WriteFile(opts.Cache, b, 0o666); err != nil {
			t.Fatal(err)
		}
		l, err := NewLoader(opts, Cursor{})
		if err == nil {
			defer l.Close()
			if cut {
				t.Fatal("a cut cache opens")
			}
			for i := range want {
				got, nextErr := l.Next(context.Background())
				if nextErr != nil {
					err = nextErr
					break
				}
				if !same(want[i:i+1], []Batch{*got}) {
					t.Fatalf("batch %d is another", i)
				}
				l.Release(got)
			}
		}
		var bad *CacheError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("error %v", err)
		}
	})
}

// A file that shrinks while it is in memory must not end the process.
func TestCacheShrinksInUse(t *testing.T) {
	opts := options(folder(t))
	opts.Prefetch = 1
	opts = prepared(t, opts)
	l := loader(t, opts, Cursor{})
	if err := os.Truncate(opts.Cache, 100); err != nil {
		t.Skip(err) // some systems keep open files whole
	}
	for range 50 {
		b, err := l.Next(context.Background())
		if err != nil {
			var bad *CacheError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("error %v", err)
			}
			return
		}
		l.Release(b)
	}
	t.Error("no error")
}

func TestCacheWithoutMapping(t *testing.T) {
	opts := prepared(t, options(mixed(t)))
	files, err := List(opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	opts, err = opts.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCache(opts, files)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(opts.Cache)
	if err != nil {
		t.Fatal(err)
	}
	read := &cache{path: opts.Cache, pixels: fileView{f}, entries: c.entries}
	var a, b []byte
	for i, e := range c.entries {
		if e.problem != "" {
			continue
		}
		if err := c.use(i, &a, func(p *images.Planes) error {
			return read.use(i, &b, func(q *images.Planes) error {
				if !bytes.Equal(p.Pix, q.Pix) || p.Rect != q.Rect {
					t.Errorf("photo %d differs", i)
				}
				return nil
			})
		}); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(c.pixels.Close(), f.Close()); err != nil {
		t.Error(err)
	}
}

func TestCacheServesManyAtOnce(t *testing.T) {
	opts := options(mixed(t))
	opts.Workers = 4
	opts = prepared(t, opts)
	want := take(t, loader(t, opts, Cursor{}), 6)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			l, err := NewLoader(opts, Cursor{})
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			for i := range want {
				b, err := l.Next(context.Background())
				if err != nil || !same(want[i:i+1], []Batch{*b}) {
					t.Errorf("batch %d is another, %v", i, err)
					return
				}
				l.Release(b)
			}
		})
	}
	wg.Wait()
}

func TestPrepareTwiceAtOnce(t *testing.T) {
	opts := options(folder(t))
	opts.Cache = filepath.Join(t.TempDir(), "c")
	entered := false
	_, err := Prepare(context.Background(), opts, func(done, _ int) {
		if entered {
			return
		}
		entered = true
		if _, err := Prepare(context.Background(), opts, nil); err == nil || !strings.Contains(err.Error(), "another process is making it") {
			t.Errorf("error %v", err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	loader(t, opts, Cursor{})
}

func TestIdle(t *testing.T) {
	l := loader(t, prepared(t, options(folder(t))), Cursor{})
	take(t, l, 2)
	deadline := time.Now().Add(10 * time.Second)
	for !l.Idle() {
		if time.Now().After(deadline) {
			t.Fatal("the loader is never idle")
		}
		time.Sleep(time.Millisecond)
	}
	take(t, l, 1)
}

// FuzzCache: no file makes the codec panic, or read outside of it.
func FuzzCache(f *testing.F) {
	opts := prepared(f, options(folder(f)))
	whole, err := os.ReadFile(opts.Cache)
	if err != nil {
		f.Fatal(err)
	}
	head, start, err := decodeHead(bytes.NewReader(whole))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:start])
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := readIndex(bytes.NewReader(b), int64(len(b)), head)
		if err != nil {
			return
		}
		for i, e := range entries {
			if e.offset < 0 || e.bytes() < 0 || e.offset+e.bytes() > int64(len(b)) {
				t.Errorf("photo %d lies at %d, with %d bytes, in a file of %d", i, e.offset, e.bytes(), len(b))
			}
		}
	})
}

// BenchmarkCache is BenchmarkLoader with a cache.
func BenchmarkCache(b *testing.B) {
	dir := b.TempDir()
	for i := range 8 {
		write(b, dir, fmt.Sprintf("%d.jpg", i), photo(b, 640, 480, i, false))
	}
	benchmark(b, prepared(b, Options{Dir: dir, Size: 256, Batch: 4, Workers: 1}))
}
