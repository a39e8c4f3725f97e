package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"stylenet/internal/checkpoint"
	"stylenet/internal/images"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/stylize/batch"
	"stylenet/internal/weights"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stylenet": main})
}

// The scripts know these commands besides testscript's own:
//
//	exits CODE stylenet ARG...   run, and want that exit code
//	model FILE                   a network that exchanges red and blue
//	anystyle FILE                a network that takes its style from a picture, not trained
//	run DIR STEP...              a run with such a network at those steps
//	picture FILE W H [R G B [A]] one colour of 0 to 255 each
//	size FILE W H                decode a picture and compare its size
//	hide PROGRAM                 take all folders with it off PATH
//	same FILE W H R G B [A]      compare all pixels of a picture, within 2 (JPEG)
//
// MODELS is the folder of small files of other systems, and FORMATS that of the
// codecs.
//
//	kind FILE FORMAT             compare the format of a file's content
//	photo FILE W H               a picture of 16 bits with an ICC profile and EXIF
//	carries FILE DEPTH [icc] [exif]
//	                             compare the bits of a picture and whether it has those of photo
//	smaller FILE FILE            the first file has fewer bytes
//	killed N DIR stylenet ARG... run with a standard input that never ends, until the journal
//	                             in DIR has N lines, and then kill it
//	manystyles FILE STYLE...     a model of styles that paint their colour: red, green, blue
//	vgg FILE LAYER               a random VGG-19 up to a layer
//	drawn FILE photo|painting W H
//	halved KEY                   in the JSON lines that were just printed, a number falls by half
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			internal, err := filepath.Abs(filepath.Join("..", "..", "internal"))
			env.Setenv("MODELS", filepath.Join(internal, "model", "testdata"))
			env.Setenv("FORMATS", filepath.Join(internal, "formats"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vgg":    writeVGG,
			"drawn":  writeScene,
			"halved": halved,
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if fmt.Sprint(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			"hide": func(ts *testscript.TestScript, _ bool, args []string) {
				var left []string
				for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
					if _, err := os.Stat(filepath.Join(dir, args[0])); err != nil {
						left = append(left, dir)
					}
				}
				ts.Setenv("PATH", strings.Join(left, string(filepath.ListSeparator)))
			},
			"model": func(ts *testscript.TestScript, _ bool, args []string) {
				m, err := exchange()
				ts.Check(err)
				ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o777))
				ts.Check(model.Save(ts.MkAbs(args[0]), m))
			},
			"anystyle": func(ts *testscript.TestScript, _ bool, args []string) {
				design := networks.AdaIN{Encoder: networks.Caffe, Layer: "relu2_1"}
				net, err := design.Build()
				ts.Check(err)
				set, err := net.Init(1)
				ts.Check(err)
				ts.Check(model.Save(ts.MkAbs(args[0]), &model.Model{Network: design, Weights: set}))
			},
			"manystyles": func(ts *testscript.TestScript, _ bool, args []string) {
				m, err := colours(args[1:])
				ts.Check(err)
				ts.Check(model.Save(ts.MkAbs(args[0]), m))
			},
			"run": func(ts *testscript.TestScript, _ bool, args []string) {
				m, err := exchange()
				ts.Check(err)
				meta, err := m.Metadata()
				ts.Check(err)
				for _, arg := range args[1:] {
					step, err := strconv.Atoi(arg)
					ts.Check(err)
					s := &checkpoint.Snapshot{Step: step, Model: m.Weights, Metadata: meta, Optimizer: &weights.Set{}}
					ts.Check(checkpoint.Write(filepath.Join(ts.MkAbs(args[0]), "checkpoints"), s, 9))
				}
			},
			"picture": func(ts *testscript.TestScript, _ bool, args []string) {
				p, err := plain(args[1:])
				ts.Check(err)
				ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o777))
				ts.Check(images.Save(ts.MkAbs(args[0]), p, images.SaveOptions{}))
			},
			"size": func(ts *testscript.TestScript, _ bool, args []string) {
				p, err := images.Open(ts.MkAbs(args[0]))
				ts.Check(err)
				if got := fmt.Sprint(p.W, " ", p.H); got != args[1]+" "+args[2] {
					ts.Fatalf("%s is %s, want %s %s", args[0], got, args[1], args[2])
				}
			},
			"kind": func(ts *testscript.TestScript, _ bool, args []string) {
				b, err := os.ReadFile(ts.MkAbs(args[0]))
				ts.Check(err)
				if got := images.Sniff(b); got != args[1] {
					ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
				}
			},
			"photo":   func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(photo(ts.MkAbs(args[0]), args[1:])) },
			"carries": carries,
			"smaller": func(ts *testscript.TestScript, _ bool, args []string) {
				a, err := os.Stat(ts.MkAbs(args[0]))
				ts.Check(err)
				b, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if a.Size() >= b.Size() {
					ts.Fatalf("%s has %d bytes, %s %d", args[0], a.Size(), args[1], b.Size())
				}
			},
			"killed": killed,
			"same": func(ts *testscript.TestScript, _ bool, args []string) {
				got, err := images.Open(ts.MkAbs(args[0]))
				ts.Check(err)
				want, err := plain(args[1:])
				ts.Check(err)
				if got.W != want.W || got.H != want.H || (got.Alpha == nil) != (want.Alpha == nil) {
					ts.Fatalf("%s is %d×%d (alpha: %v)", args[0], got.W, got.H, got.Alpha != nil)
				}
				for i, v := range append(got.Pix, got.Alpha...) {
					if w := append(want.Pix, want.Alpha...)[i]; v < w-2 || v > w+2 {
						ts.Fatalf("%s: value %d is %v, want %v", args[0], i, v, w)
					}
				}
			},
		},
	})
}

// carried are a profile and EXIF that every format takes.
func carried() images.Metadata {
	icc := make([]byte, 132)
	binary.BigEndian.PutUint32(icc, uint32(len(icc)))
	copy(icc[12:], "mntrRGB XYZ ")
	copy(icc[36:], "acsp")
	// One directory with the artist (tag 0x013B) and no other.
	exif := []byte("II*\x00\x08\x00\x00\x00\x01\x00\x3b\x01\x02\x00\x04\x00\x00\x00Ada\x00\x00\x00\x00\x00")
	return images.Metadata{ICC: icc, EXIF: exif}
}

func photo(path string, size []string) error {
	p, err := plain(size)
	if err != nil {
		return err
	}
	p.Pix[0] = 100.5 // has no value of 8 bits
	format, err := images.FormatOf(path)
	if err != nil {
		return err
	}
	c, err := images.NewCanvas(p.W, p.H, format, images.CanvasOptions{Depth: 16})
	if err != nil {
		return err
	}
	c.WriteRows(p, 0)
	return c.Save(path, images.SaveOptions{Metadata: carried()})
}

func carries(ts *testscript.TestScript, _ bool, args []string) {
	s, err := images.Decoder{}.OpenSource(ts.MkAbs(args[0]), new(bytes.Buffer))
	ts.Check(err)
	got := []string{fmt.Sprint(s.Depth())}
	if bytes.Equal(s.Metadata().ICC, carried().ICC) {
		got = append(got, "icc")
	}
	if bytes.Contains(s.Metadata().EXIF, []byte("Ada")) {
		got = append(got, "exif")
	}
	if !slices.Equal(got, args[1:]) {
		ts.Fatalf("%s has %v, want %v", args[0], got, args[1:])
	}
	// Red and blue were exchanged.
	if s.Depth() == 16 && math.Abs(float64(s.Picture().Plane(2)[0])-100.5) > .01 {
		ts.Fatalf("%s: the first value is %v, want 100.5", args[0], s.Picture().Plane(2)[0])
	}
}

func killed(ts *testscript.TestScript, _ bool, args []string) {
	lines, err := strconv.Atoi(args[0])
	ts.Check(err)
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	in, err := cmd.StdinPipe()
	ts.Check(err)
	defer in.Close()
	ts.Check(cmd.Start())
	defer cmd.Wait() // that it was killed is no error
	defer cmd.Process.Kill()
	for range 12000 {
		b, err := os.ReadFile(filepath.Join(ts.MkAbs(args[1]), batch.JournalName))
		if err == nil && bytes.Count(b, []byte("\n")) >= lines {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("the journal of %s has no %d lines after a minute", args[1], lines)
}

// colours is a network of many styles, red, green and blue, as many of them as
// are named. Each paints its colour, whatever the picture is.
func colours(styles []string) (*model.Model, error) {
	d := networks.MultiStyle{Styles: styles, Johnson: networks.Johnson{
		Architecture: "c1s1-3,c1s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear",
	}}
	net, err := d.Build()
	if err != nil {
		return nil, err
	}
	m := &model.Model{Network: d}
	if m.Weights, err = net.Init(1); err != nil {
		return nil, err
	}
	for _, layer := range []string{"conv1.conv2d", "conv2.conv2d"} {
		copy(m.Weights.Get(layer+".weight").Data, []float32{1, 0, 0, 0, 1, 0, 0, 0, 1})
		clear(m.Weights.Get(layer + ".bias").Data)
	}
	shifts := map[string][]float32{"red": {200, 40, 40}, "green": {40, 200, 40}, "blue": {40, 40, 200}}
	for _, s := range styles {
		clear(m.Weights.Get("in1." + s + ".weight").Data)
		copy(m.Weights.Get("in1."+s+".bias").Data, shifts[s])
	}
	return m, nil
}

func exchange() (*model.Model, error) {
	set := &weights.Set{}
	err := errors.Join(set.Add("conv1.conv2d.weight", []int{3, 3, 1, 1}, []float32{0, 0, 1, 0, 1, 0, 1, 0, 0}),
		set.Add("conv1.conv2d.bias", []int{3}, make([]float32, 3)))
	j := networks.Johnson{Architecture: "c1s1-3", Padding: "reflect", Norm: "instance", Upsample: "nearest", Output: "linear"}
	return &model.Model{Network: j, Weights: set, Recipe: `{"name":"test"}`}, err
}

// plain makes a picture of one colour of the arguments W H [R G B [A]].
func plain(args []string) (*images.Picture, error) {
	v := []int{0, 0, 200, 100, 50}
	for i, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		v = append(v[:i], append([]int{n}, v[min(i+1, len(v)):]...)...)
	}
	p := images.New(v[0], v[1])
	for c := range 3 {
		for i := range p.Plane(c) {
			p.Plane(c)[i] = float32(v[2+c])
		}
	}
	if len(v) > 5 {
		p.Alpha = make([]float32, p.W*p.H)
		for i := range p.Alpha {
			p.Alpha[i] = float32(v[5]) / 255
		}
	}
	return p, nil
}

// Every command explains itself with an example of its own; those of cobra explain
// themselves.
func TestHelp(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Long == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) && cmd.HasParent() {
			t.Errorf("%s lacks help or an example", cmd.CommandPath())
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the summary ends with a full stop", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(sub)
			}
		}
	}
	walk(newRootCmd())
}
