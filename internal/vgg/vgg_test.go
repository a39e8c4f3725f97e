package vgg

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/weights"
)

// small is the first block of some VGG-19: a file may end there.
func small(t *testing.T) *weights.Set {
	t.Helper()
	net, err := networks.VGG19("relu1_2", networks.Caffe, false)
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// authors gives a set the first numbers of the authors' weights.
func authors(set *weights.Set, first, third []float64) {
	w := set.Get("features.0.weight").Data
	for i := range first {
		w[i], w[18+i] = float32(first[i]), float32(third[i])
	}
	for i, v := range authorsBiases {
		set.Get("features.0.bias").Data[i] = float32(v)
	}
}

func save(t *testing.T, set *weights.Set, metadata map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		return safetensors.Encode(w, set, metadata, safetensors.BF16)
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	text := err.Error()
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		text += " hint: " + h.Hint()
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("error %q lacks %q", text, p)
		}
	}
}

func TestConvention(t *testing.T) {
	plain := func(*weights.Set) {}
	rgb := func(s *weights.Set) { authors(s, authorsRed[:], authorsBlue[:]) }
	bgr := func(s *weights.Set) { authors(s, authorsBlue[:], authorsRed[:]) }
	for name, c := range map[string]struct {
		values   func(*weights.Set)
		metadata map[string]string
		config   string
		want     networks.Convention // in the file
		err      []string
	}{
		"own key":          {values: plain, metadata: map[string]string{"stylenet.convention": "torchvision"}, config: "auto", want: networks.Torchvision},
		"words, caffe":     {values: plain, metadata: map[string]string{"input_range": "0-255", "channel_order": "RGB"}, config: "auto", want: networks.Caffe},
		"words, bgr":       {values: plain, metadata: map[string]string{"input_range": "0-255", "channel_order": "bgr"}, config: "auto", want: networks.CaffeBGR},
		"words, 0-1":       {values: plain, metadata: map[string]string{"input_range": "0-1"}, config: "auto", want: networks.Torchvision},
		"config":           {values: plain, config: "caffe-bgr", want: networks.CaffeBGR},
		"config, empty":    {values: rgb, want: networks.Caffe},
		"values, RGB":      {values: rgb, config: "auto", want: networks.Caffe},
		"values, BGR":      {values: bgr, config: "auto", want: networks.CaffeBGR},
		"all agree":        {values: rgb, metadata: map[string]string{"stylenet.convention": "caffe"}, config: "caffe", want: networks.Caffe},
		"nothing known":    {values: plain, config: "auto", err: []string{"weights.safetensors: ", "vgg.convention", "caffe-bgr", "torchvision"}},
		"config, metadata": {values: plain, metadata: map[string]string{"stylenet.convention": "caffe"}, config: "torchvision", err: []string{`"torchvision" by vgg.convention`, `"caffe" by the file's metadata`}},
		"config, values":   {values: bgr, config: "caffe", err: []string{`"caffe" by vgg.convention`, `"caffe-bgr" by the values of features.0`}},
		"bad config":       {values: plain, config: "bgr", err: []string{`got "bgr"`}},
		"bad key":          {values: plain, metadata: map[string]string{"stylenet.convention": "x"}, config: "auto", err: []string{`stylenet.convention: unknown convention "x"`}},
		"bad words":        {values: plain, metadata: map[string]string{"input_range": "0-1", "channel_order": "BGR"}, config: "auto", err: []string{`"0-1"`, `"BGR"`}},
	} {
		t.Run(name, func(t *testing.T) {
			set := small(t)
			c.values(set)
			path := save(t, set, c.metadata)
			w, err := Open(path, c.config)
			if c.err != nil {
				wantError(t, err, c.err...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			report, err := Check(path)
			if c.config == "auto" && (err != nil || report.Convention != c.want) {
				t.Errorf("Check: %+v, %v", report, err)
			}
			want, order := c.want, [3]int{0, 1, 2}
			if want == networks.CaffeBGR {
				want, order = networks.Caffe, [3]int{2, 1, 0}
			}
			if w.Convention != want {
				t.Errorf("convention %s, want %s", w.Convention, want)
			}
			before, after := set.Get("features.0.weight").Data, w.Set.Get("features.0.weight").Data
			for i := range after {
				o, ch, k := i/27, i/9%3, i%9
				if from := float64(before[o*27+order[ch]*9+k]); math.Abs(float64(after[i])-from) > 0.004*math.Abs(from) {
					t.Fatalf("weight %d is %g, want %g", i, after[i], from)
				}
			}
		})
	}
}

func TestOpenNamesTheFault(t *testing.T) {
	said := map[string]string{"stylenet.convention": "caffe"}
	without := func(name string) *weights.Set {
		set := &weights.Set{}
		for _, tensor := range small(t).Tensors() {
			if tensor.Name != name {
				if err := set.Add(tensor.Name, tensor.Shape, tensor.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		return set
	}
	with := func(set *weights.Set, name string, shape ...int) *weights.Set {
		if err := set.Add(name, shape, make([]float32, weights.Elements(shape))); err != nil {
			t.Fatal(err)
		}
		return set
	}
	poisoned := small(t)
	poisoned.Get("features.2.weight").Data[5] = float32(math.NaN())
	for name, c := range map[string]struct {
		set  *weights.Set
		want []string
	}{
		"nan":         {poisoned, []string{`tensor "features.2.weight" holds NaN (element 5)`}},
		"no vgg":      {without("features.0.weight"), []string{"not VGG-19", `"features.0.weight"`}},
		"gap":         {without("features.0.bias"), []string{`tensor "features.0.bias" is missing, though there is "features.2.weight"`}},
		"half layer":  {without("features.2.bias"), []string{`tensor "features.2.bias" is missing`}},
		"shape":       {with(without("features.2.bias"), "features.2.bias", 65), []string{`tensor "features.2.bias" has shape [65], but VGG-19 wants [64]`}},
		"batch norm":  {with(small(t), "features.1.weight", 64), []string{"batch norm"}},
		"VGG-16":      {with(small(t), "features.17.weight", 512, 1, 1, 1), []string{"VGG-16"}},
		"later layer": {with(small(t), "features.10.bias", 256), []string{`"features.5.weight" is missing`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(save(t, c.set, said), Auto)
			wantError(t, err, append(c.want, "weights.safetensors: ")...)
		})
	}
	_, err := Open(filepath.Join(t.TempDir(), "gone.pth"), Auto)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestForAndIgnored(t *testing.T) {
	set := small(t)
	if err := set.Add("classifier.0.weight", []int{2, 3}, make([]float32, 6)); err != nil {
		t.Fatal(err)
	}
	path := save(t, set, map[string]string{"stylenet.convention": "torchvision"})
	w, err := Open(path, Auto)
	if err != nil {
		t.Fatal(err)
	}
	if w.Set.Len() != 4 || w.Random {
		t.Errorf("%d tensors, random %v", w.Set.Len(), w.Random)
	}
	net := func(layer string) *networks.Network {
		n, err := networks.VGG19(layer, w.Convention, false)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, layer := range []string{"relu1_1", "relu1_2"} {
		if err := w.For(net(layer)); err != nil {
			t.Error(err)
		}
	}
	wantError(t, w.For(net("relu2_1")), "weights.safetensors (sha256 ", `tensor "features.5.weight" is missing`)

	r, err := Check(path)
	if err != nil {
		t.Fatal(err)
	}
	if r.Deepest != "relu1_2" || r.Ignored != 1 || len(r.Tensors) != 4 || len(r.SHA256) != 64 || r.ConventionFrom != "the file's metadata" {
		t.Errorf("%+v", r)
	}
	wantError(t, errors.New(r.Verdict), "usable up to relu1_2")
}

func TestImport(t *testing.T) {
	set := small(t)
	authors(set, authorsBlue[:], authorsRed[:])
	src := save(t, set, nil)
	dest := filepath.Join(t.TempDir(), "new", "vgg19.safetensors")
	if err := Import(src, dest, Auto); err != nil {
		t.Fatal(err)
	}
	from, err := Open(src, Auto)
	if err != nil {
		t.Fatal(err)
	}
	to, err := Open(dest, "caffe") // BGR is gone
	if err != nil {
		t.Fatal(err)
	}
	for i, tensor := range from.Set.Tensors() {
		if got := to.Set.Tensors()[i]; got.Name != tensor.Name || !slices.Equal(got.Data, tensor.Data) {
			t.Errorf("%s changed", tensor.Name)
		}
	}
	wantError(t, Import(save(t, small(t), nil), dest, Auto), "vgg.convention")
	if _, err := Open(dest, Auto); err != nil {
		t.Errorf("a failed import took the file that was there: %v", err)
	}
}

func TestFind(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, cache)
	}
	t.Setenv(EnvPath, "")
	_, err := Find("")
	if _, ok := errors.AsType[*NotFoundError](err); !ok {
		t.Fatalf("got %v", err)
	}
	wantError(t, err, cache, "stylenet weights fetch", "stylenet weights import FILE", "STYLENET_VGG19", "vgg.random=true")

	inCache, err := DefaultPath()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(inCache, cache) {
		t.Fatalf("the cache is at %s", inCache)
	}
	if err := os.MkdirAll(filepath.Dir(inCache), 0o755); err != nil {
		t.Fatal(err)
	}
	named, inEnv := filepath.Join(cache, "named"), filepath.Join(cache, "env")
	for _, p := range []string{inCache, named, inEnv} {
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := Find(""); err != nil || p != inCache {
		t.Errorf("got %s, %v", p, err)
	}
	t.Setenv(EnvPath, inEnv)
	if p, err := Find(""); err != nil || p != inEnv {
		t.Errorf("got %s, %v", p, err)
	}
	if p, err := Find(named); err != nil || p != named {
		t.Errorf("got %s, %v", p, err)
	}
	_, err = Find(named + "x")
	wantError(t, err, "vgg.weights", named+"x")
	t.Setenv(EnvPath, inEnv+"x")
	_, err = Find("")
	wantError(t, err, EnvPath, inEnv+"x")
}

func TestAsset(t *testing.T) {
	path := testassets.Path(t, "vgg19/vgg19-features.safetensors")
	w, err := Open(path, Auto)
	if err != nil {
		t.Fatal(err)
	}
	if w.Convention != networks.Caffe || w.Description != "vgg19-features.safetensors (sha256 81affbb45f31c693)" {
		t.Errorf("%s, %q", w.Convention, w.Description)
	}
	net, err := networks.VGG19("relu5_4", w.Convention, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.For(net); err != nil {
		t.Error(err)
	}
	// The values alone tell it too, in both orders.
	if got := recognise(w.Set); got != networks.Caffe {
		t.Errorf("recognised as %q", got)
	}
	if err := networks.RGBOrder(w.Set); err != nil {
		t.Fatal(err)
	}
	if got := recognise(w.Set); got != networks.CaffeBGR {
		t.Errorf("recognised as %q", got)
	}
	_, err = Open(path, "torchvision")
	wantError(t, err, `"torchvision" by vgg.convention`, `"caffe" by`)
}
