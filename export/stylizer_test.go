package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"stylenet/export"
	"stylenet/internal/checkpoint"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/internal/weights"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// A network that was not trained stands in for one that was.
	path := filepath.Join(dir, "starry.safetensors")
	if err := export.Safetensors(path, tiny(reflectNet)); err != nil {
		log.Fatal(err)
	}

	style, err := export.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer style.Close()
	photo := image.NewRGBA(image.Rect(0, 0, 37, 21)) // or image.Decode(file)
	painting, err := style.Stylize(photo)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(painting.Bounds().Size())
	// Output: (37,21)
}

func TestStylizer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := tiny(reflectNet)
	m.Network = johnson("c1s1-3")
	// Red and blue change places.
	m.Weights = &weights.Set{}
	err := errors.Join(m.Weights.Add("conv1.conv2d.weight", []int{3, 3, 1, 1}, []float32{0, 0, 1, 0, 1, 0, 1, 0, 0}),
		m.Weights.Add("conv1.conv2d.bias", []int{3}, make([]float32, 3)), export.Safetensors(path, m))
	if err != nil {
		t.Fatal(err)
	}
	s, err := export.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewNRGBA(image.Rect(5, 5, 8, 7))
	draw.Draw(img, img.Rect, image.NewUniform(color.NRGBA{200, 100, 50, 102}), image.Point{}, draw.Src)
	out, err := s.Stylize(img)
	if err != nil {
		t.Fatal(err)
	}
	want := color.NRGBA{50, 100, 200, 102}
	if out.Bounds() != image.Rect(0, 0, 3, 2) || out.At(2, 1) != want {
		t.Errorf("%v with %v, want 3×2 with %v", out.Bounds(), out.At(2, 1), want)
	}
	s.Memory = 1 << 20
	if _, err := s.Stylize(img); err == nil || !strings.Contains(err.Error(), "too large for the memory") {
		t.Errorf("in 1 MiB: %v", err)
	}
	s.Memory = 0
	if _, err := s.Stylize(image.NewRGBA(image.Rectangle{})); err == nil {
		t.Error("an empty image was accepted")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.Stylize(img); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
	if _, err := export.Open(path + "x"); err == nil || !strings.Contains(err.Error(), path+"x") {
		t.Errorf("a missing file: %v", err)
	}
}

// A network of many styles is mixed as it is opened.
// One Stylizer serves callers at the same time, and Close may come at any moment:
// whoever is late gets an error, and never a wrong picture.
func TestStylizerConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := export.Safetensors(path, tiny(reflectNet)); err != nil {
		t.Fatal(err)
	}
	s, err := export.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	photos, want := make([]image.Image, 4), make([]image.Image, 4)
	for i := range photos {
		photos[i] = scenes.Photo(uint64(i), 24+i*4, 20+i*3)
		if want[i], err = s.Stylize(photos[i]); err != nil {
			t.Fatal(err)
		}
	}
	closing, closed := make(chan struct{}), make(chan error, 2)
	for range 2 {
		go func() {
			<-closing
			closed <- s.Close()
		}()
	}
	var callers sync.WaitGroup
	var shown atomic.Int32
	for k := range 8 {
		callers.Go(func() {
			for n := range 6 {
				i := (k + n) % len(photos)
				got, err := s.Stylize(photos[i])
				if err != nil {
					if !strings.Contains(err.Error(), "closed") {
						t.Error(err)
					}
					return
				}
				if !reflect.DeepEqual(got, want[i]) {
					t.Errorf("photo %d became another picture", i)
				}
				if shown.Add(1) == 16 {
					close(closing)
				}
			}
		})
	}
	callers.Wait()
	if err := errors.Join(<-closed, <-closed); err != nil {
		t.Error(err)
	}
	if n := shown.Load(); n < 16 {
		t.Errorf("%d pictures", n)
	}
}

func TestOpenWithStyleMix(t *testing.T) {
	d := networks.MultiStyle{Johnson: johnson("c3s1-4,c3s1-3"), Styles: []string{"a", "b"}}
	net, err := d.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &export.Model{Network: d}
	if m.Weights, err = net.Init(1); err != nil {
		t.Fatal(err)
	}
	for i := range m.Weights.Get("in1.b.bias").Data {
		m.Weights.Get("in1.b.bias").Data[i] = 20 * float32(i-1)
	}
	path, alone := filepath.Join(t.TempDir(), "m.safetensors"), filepath.Join(t.TempDir(), "alone.safetensors")
	mixed, err := m.Mix([]export.Share{{Style: "b", Weight: 1}, {Style: "a", Weight: 3}})
	if err := errors.Join(err, export.Safetensors(path, m), export.Safetensors(alone, mixed)); err != nil {
		t.Fatal(err)
	}
	img := image.NewRGBA(image.Rect(0, 0, 9, 7))
	for i := range img.Pix {
		img.Pix[i] = byte(i*i) | 255*byte(i%4/3)
	}
	stylized := func(path string, o export.Options) *image.RGBA {
		s, err := export.OpenWith(path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out, err := s.Stylize(img)
		if err != nil {
			t.Fatal(err)
		}
		return out.(*image.RGBA)
	}
	got, want := stylized(path, export.Options{StyleMix: map[string]float64{"a": .75, "b": .25}}), stylized(alone, export.Options{})
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Error("a mix is not the network that Mix makes of it")
	}
	if bytes.Equal(got.Pix, stylized(path, export.Options{StyleMix: map[string]float64{"a": 1}}).Pix) {
		t.Error("the mix makes no difference")
	}
	for want, mix := range map[string]map[string]float64{
		"the network has 2 styles, and none is chosen: a, b": nil,
		`the network has no style "c": it has a, b`:          {"c": 1},
	} {
		if _, err := export.OpenWith(path, export.Options{StyleMix: mix}); err == nil || !strings.Contains(err.Error(), path+": "+want) {
			t.Errorf("%v: %v", mix, err)
		}
	}
}

func TestLoadRun(t *testing.T) {
	run := t.TempDir()
	all := filepath.Join(run, "checkpoints")
	for step := 1; step <= 2; step++ {
		m := tiny(reflectNet)
		m.Weights.Get("in1.bias").Data[0] = float32(step)
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		snapshot := &checkpoint.Snapshot{Step: step, Model: m.Weights, Metadata: meta, Optimizer: &weights.Set{}}
		if err := checkpoint.Write(all, snapshot, 9); err != nil {
			t.Fatal(err)
		}
	}
	check := func(dir string, step float32, warning string) {
		t.Helper()
		m, warnings, err := export.LoadRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Weights.Get("in1.bias").Data[0]; got != step || m.Recipe != `{"steps":1}` {
			t.Errorf("%s: checkpoint %v with recipe %q, want %v", dir, got, m.Recipe, step)
		}
		if got := strings.Join(warnings, "\n"); (warning == "") != (got == "") || !strings.Contains(got, warning) {
			t.Errorf("%s: warnings %q, want %q", dir, got, warning)
		}
	}
	check(run, 2, "")
	check(all, 2, "")
	check(filepath.Join(all, "step-00000001"), 1, "")

	broken := filepath.Join(all, "step-00000002", "model.safetensors")
	if err := os.WriteFile(broken, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	check(run, 1, broken+": it is damaged")
	if _, _, err := export.LoadRun(filepath.Dir(broken)); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("a damaged checkpoint: %v", err)
	}
	if _, _, err := export.LoadRun(t.TempDir()); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("a folder without checkpoints: %v", err)
	}
}

func TestOpenWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := export.Safetensors(path, tiny(reflectNet)); err != nil {
		t.Fatal(err)
	}
	img := image.NewRGBA(image.Rect(0, 0, 24, 20))
	for i := range img.Pix {
		img.Pix[i] = byte(i*i) | 255*byte(i%4/3)
	}
	stylized := func(o export.Options) *image.RGBA {
		s, err := export.OpenWith(path, o)
		if err != nil && o.Precision == "bf16" {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out, err := s.Stylize(img)
		if err != nil {
			t.Fatal(err)
		}
		return out.(*image.RGBA)
	}
	for _, o := range []export.Options{{Precision: "half"}, {Precision: "bf16", Exact: true}, {Threads: -1}} {
		if s, err := export.OpenWith(path, o); err == nil {
			t.Errorf("%+v was opened", o)
			s.Close()
		}
	}
	want, got := stylized(export.Options{Exact: true, Threads: 1}), stylized(export.Options{Precision: "bf16"})
	worst := 0
	for i, w := range want.Pix {
		worst = max(worst, int(got.Pix[i])-int(w), int(w)-int(got.Pix[i]))
	}
	t.Logf("bf16 is at most %d of 255 off", worst)
	if worst > 8 {
		t.Errorf("bf16 is %d of 255 off", worst)
	}
}

// A model of any style runs with the styles of the options, and not without.
func TestOpenWithStyles(t *testing.T) {
	design := networks.AdaIN{Encoder: networks.Caffe, Layer: "relu2_1"}
	net, err := design.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := net.Init(1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "any.safetensors")
	if err := export.Safetensors(path, &export.Model{Network: design, Weights: set}); err != nil {
		t.Fatal(err)
	}
	photo := image.NewNRGBA(image.Rect(0, 0, 20, 16))
	bold, faint := image.NewNRGBA(image.Rect(0, 0, 32, 32)), image.NewNRGBA(image.Rect(0, 0, 40, 32))
	for i := range bold.Pix {
		bold.Pix[i] = uint8(255 * (i / 8 % 2))
		if i < len(photo.Pix) {
			photo.Pix[i] = uint8(i * i)
		}
		if i%4 == 3 {
			bold.Pix[i] = 255
		}
	}
	for i := range faint.Pix {
		faint.Pix[i] = uint8(100 + i%3)
	}
	result := func(o export.Options) []uint8 {
		s, err := export.OpenWith(path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		img, err := s.Stylize(photo)
		if err != nil {
			t.Fatal(err)
		}
		switch img := img.(type) {
		case *image.RGBA:
			return img.Pix
		case *image.NRGBA:
			return img.Pix
		}
		t.Fatalf("%T", img)
		return nil
	}
	one := result(export.Options{Styles: []export.Style{{Image: bold}}})
	mix := result(export.Options{Styles: []export.Style{{Image: bold}, {Image: faint, Weight: 2}}})
	weak := result(export.Options{Styles: []export.Style{{Image: bold}}, Strength: .3})
	if bytes.Equal(one, mix) || bytes.Equal(one, weak) {
		t.Error("mix or strength have no effect")
	}
	if _, err := export.Open(path); err == nil || !strings.Contains(err.Error(), "give it one in Options.Styles") {
		t.Errorf("without a style: %v", err)
	}
	own := filepath.Join(t.TempDir(), "own.safetensors")
	if err := export.Safetensors(own, tiny(reflectNet)); err != nil {
		t.Fatal(err)
	}
	if _, err := export.OpenWith(own, export.Options{Styles: []export.Style{{Image: bold}}}); err == nil || !strings.Contains(err.Error(), "a style of its own") {
		t.Errorf("a model of one style took another: %v", err)
	}
}
