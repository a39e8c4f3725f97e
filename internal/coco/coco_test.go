package coco

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "instances.json")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// parsed is a data set as pycocotools indexes it.
type parsed struct {
	Info   map[string]any
	Images []struct {
		ID            int64
		FileName      string `json:"file_name"`
		Width, Height float64
		Stylenet      map[string]any
	}
	Annotations []struct {
		ID           int64
		ImageID      int64 `json:"image_id"`
		CategoryID   int64 `json:"category_id"`
		Bbox         []float64
		Segmentation [][]float64
		Area         float64
	}
	Categories []struct{ ID int64 }
}

// index holds what pycocotools, and evaluations with it, rely on: numbers that
// are there once, annotations of pictures and categories that there are, boxes
// and polygons within the picture, areas that polygons have.
func index(t *testing.T, b []byte) parsed {
	t.Helper()
	var p parsed
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	type size struct{ w, h float64 }
	images, categories, notes, names := map[int64]size{}, map[int64]bool{}, map[int64]bool{}, map[string]bool{}
	for _, i := range p.Images {
		if _, ok := images[i.ID]; ok || names[i.FileName] {
			t.Errorf("image %d (%s) is there twice", i.ID, i.FileName)
		}
		images[i.ID], names[i.FileName] = size{i.Width, i.Height}, true
	}
	for _, c := range p.Categories {
		categories[c.ID] = true
	}
	for _, a := range p.Annotations {
		s, ok := images[a.ImageID]
		if !ok || !categories[a.CategoryID] || notes[a.ID] {
			t.Errorf("annotation %d of image %d and category %d: %v, or it is there twice", a.ID, a.ImageID, a.CategoryID, ok)
		}
		notes[a.ID] = true
		if x, y, w, h := a.Bbox[0], a.Bbox[1], a.Bbox[2], a.Bbox[3]; x < 0 || y < 0 || x+w > s.w || y+h > s.h {
			t.Errorf("annotation %d: %v does not lie in %v", a.ID, a.Bbox, s)
		}
		area := 0.
		for _, polygon := range a.Segmentation {
			n := len(polygon)
			for i := 0; i < n; i += 2 {
				if polygon[i] < 0 || polygon[i] > s.w || polygon[i+1] < 0 || polygon[i+1] > s.h {
					t.Errorf("annotation %d: %v does not lie in %v", a.ID, polygon, s)
				}
				area += (polygon[i]*polygon[(i+3)%n] - polygon[(i+2)%n]*polygon[i+1]) / 2
			}
		}
		if math.Abs(math.Abs(area)-a.Area) > 1e-6*(1+a.Area) {
			t.Errorf("annotation %d: its polygons have an area of %g, it says %g", a.ID, area, a.Area)
		}
	}
	return p
}

// drawn makes a data set of boxes.
func drawn(images, annotations int) string {
	r := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	b.WriteString(`{"annotations":[`) // before the pictures that they are of
	for i := range annotations {
		if i > 0 {
			b.WriteString(",")
		}
		x, y, w, h := r.IntN(50), r.IntN(40), 1+r.IntN(14), 1+r.IntN(8)
		fmt.Fprintf(&b, `{"id":%d,"image_id":%d,"category_id":%d,"bbox":[%d,%d,%d,%d],"segmentation":[[%d,%d,%d,%d,%d,%d,%d,%d]],"area":%d,"iscrowd":0}`,
			900100000000+i, 1000+i%images, 1+i%2, x, y, w, h, x, y, x+w, y, x+w, y+h, x, y+h, w*h)
	}
	b.WriteString(`],"images":[`)
	for i := range images {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"id":%d,"file_name":"%012d.jpg","width":64,"height":48}`, 1000+i, i)
	}
	b.WriteString(`],"categories":[{"id":1,"name":"a"},{"id":2,"name":"b"}]}`)
	return b.String()
}

func variants(n int, missing func(id int64, v int) bool) Rewrite {
	return Rewrite{
		Variants: n, About: "stylenet", Info: map[string]int{"seed": 5},
		Image: func(i Image) []*Variant {
			all := make([]*Variant, n)
			for v := range all {
				if !missing(i.ID, v) {
					all[v] = &Variant{fmt.Sprintf("%s-%d.png", i.FileName, v), map[string]int{"variant": v}}
				}
			}
			return all
		},
	}
}

func TestVariants(t *testing.T) {
	d, err := Read(t.Context(), write(t, drawn(20, 90)))
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Images) != 20 || d.Annotations != 90 || d.Images[3] != (Image{1003, "000000000003.jpg", 64, 48}) {
		t.Fatalf("%d images, %d annotations, %+v", len(d.Images), d.Annotations, d.Images[3])
	}
	for _, n := range []int{1, 3} {
		var b bytes.Buffer
		left := 0
		pictures, notes, err := d.Write(t.Context(), &b, variants(n, func(id int64, v int) bool { return id == 1005 && v == n-1 }))
		if err != nil {
			t.Fatal(err)
		}
		p := index(t, b.Bytes())
		for i := range 90 {
			if 1000+i%20 == 1005 {
				left++
			}
		}
		if len(p.Images) != 20*n-1 || len(p.Annotations) != 90*n-left || pictures != len(p.Images) || notes != len(p.Annotations) {
			t.Errorf("%d variants: %d pictures and %d annotations, told %d and %d", n, len(p.Images), len(p.Annotations), pictures, notes)
		}
		if p.Info["stylenet"].(map[string]any)["seed"] != 5. {
			t.Errorf("%d variants: info is %v", n, p.Info)
		}
		for _, i := range p.Images {
			v := int(i.Stylenet["variant"].(float64))
			source := (i.ID - int64(v)) / int64(n)
			if i.ID%int64(n) != int64(v) || i.FileName != fmt.Sprintf("%012d.jpg-%d.png", source-1000, v) {
				t.Errorf("%d variants: image %d, %s, is variant %d", n, i.ID, i.FileName, v)
			}
		}
	}
}

// What is not known comes out as it went in, digit for digit and in its order.
func TestEverythingIsKept(t *testing.T) {
	const text = `{"z":{"deep":[1.50,{"a":null}]},"info":{"year":2017,"url":"a<b>&"},"images":[{"coco_url":"http://x/?a&b","id":1,"date":"ü\n","file_name":"a/./b.jpg","width":5,"height":4,"n":12345678901234567890}],` +
		`"annotations":[{"segmentation":{"counts":[1,2],"size":[4,5]},"id":-2,"image_id":1,"score":1e-07}],"licenses":[],"more":"\u00e9"}`
	d, err := Read(t.Context(), write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	r := Rewrite{Variants: 1, About: "stylenet", Image: func(i Image) []*Variant { return []*Variant{{"c.png", 7}} }}
	var b bytes.Buffer
	if _, _, err := d.Write(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(text, `"a/./b.jpg"`, `"c.png"`, 1)
	want = strings.Replace(want, `01234567890}`, `01234567890,"stylenet":7}`, 1)
	if got := strings.ReplaceAll(b.String(), "\n", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFaults(t *testing.T) {
	const image = `{"id":1,"file_name":"a.jpg","width":5,"height":4}`
	for text, want := range map[string]string{
		``:                          "byte 0: the file ends too early",
		`[]`:                        "the file is no object",
		`{"images":[`:               "the file ends too early",
		`{"images":{}}`:             `"images" is no list`,
		`{"images":[1]}`:            "image number 1 of the list: 1 is no object",
		`{"images":[]}x`:            "something follows the object",
		`{"images":[],}`:            "byte 13: invalid character",
		`{"annotations":[]}`:        `no list "images": not the annotations of a COCO data set`,
		`{"images":[],"images":[]}`: `"images" is there twice`,
		`{"images":[],"info":[]}`:   "info: [] is no object",
		`{"images":[{"id":1.5}]}`:   "image number 1 of the list: id must be a whole number, got 1.5",
		`{"images":[{"id":null}]}`:  "image number 1 of the list: id must be a whole number, got null",
		`{"images":[{"ID":1}]}`:     "image number 1 of the list: id must be a whole number, got nothing",
		// Its negative is itself.
		`{"images":[{"id":-9223372036854775808}]}`:                                                                 "image number 1 of the list: id must be a whole number, got -9223372036854775808",
		`{"images":[{"id":1}]}`:                                                                                    "image 1: file_name must be a text, got nothing",
		`{"images":[{"id":1,"id":2}]}`:                                                                             `image number 1 of the list: "id" is there twice`,
		`{"images":[{"id":1,"file_name":"/etc/x"}]}`:                                                               `image 1: file_name "/etc/x" does not stay within the folder of pictures`,
		`{"images":[{"id":1,"file_name":"a.jpg","width":0,"height":4}]}`:                                           "image 1 (a.jpg): width and height must be whole numbers of at least 1, got 0 and 4",
		`{"images":[{"id":1,"file_name":"a.jpg","width":"5"}]}`:                                                    `image 1 (a.jpg): width and height must be whole numbers of at least 1, got "5" and nothing`,
		`{"images":[` + image + `,` + image + `]}`:                                                                 "image 1 is there twice",
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":2}]}`:                                         "annotation 3: there is no image 2",
		`{"images":[` + image + `],"annotations":[{"id":-9223372036854775808,"image_id":1}]}`:                      "id must be a whole number, got -9223372036854775808",
		`{"images":[` + image + `],"annotations":[{"id":3}]}`:                                                      "annotation 3: image_id must be a whole number, got nothing",
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":1},{"id":3,"image_id":1}]}`:                   "annotation 3 is there twice",
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":1,"bbox":[1,2,-3,4]}]}`:                       "annotation 3: bbox must be x, y, width and height, got [1,2,-3,4]",
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":1,"bbox":[1,2,1e999,4]}]}`:                    "annotation 3: bbox must be x, y, width and height, got [1,2,1e999,4]",
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":1,"bbox":[1,2,NaN,4]}]}`:                      "invalid character 'N'",
		"\ufeff" + `{"images":7}`:                                                                                  `byte 14: "images" is no list`,
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":1,"category_id":2}],"categories":[{"id":1}]}`: "annotation 3: there is no category 2",
		`{"images":[` + image + `],"annotations":[{"id":3,"image_id":1,"category_id":"x"}]}`:                       `annotation 3: category_id must be a whole number, got "x"`,
	} {
		path := write(t, text)
		_, err := Read(t.Context(), path)
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	// A box may stick out by what rounding makes, and a byte order mark is none of JSON.
	// Boxes that stick out are counted, but for what rounding does.
	if d, err := Read(t.Context(), write(t, `{"annotations":[{"id":9,"image_id":1,"bbox":[-2.5,0,3,4]},{"id":4,"image_id":1,"bbox":[0,0,1,3000.5]},{"id":5,"image_id":1,"bbox":[3,0,4,4]}],"images":[{"id":1,"file_name":"a.jpg","width":5,"height":4}]}`)); err != nil || d.Outside != 2 || d.FirstOutside != 4 || d.Annotations != 3 {
		t.Errorf("got %+v, %v", d, err)
	}
	if d, err := Read(t.Context(), write(t, "\ufeff"+`{"images":[{"id":1,"file_name":"a.jpg","width":5,"height":4}],"annotations":[{"id":3,"image_id":1,"bbox":[-2,-1.5,9,7.5]}]}`)); err != nil || len(d.Images) != 1 || d.Annotations != 1 {
		t.Errorf("a box of rounded sides after a byte order mark: %+v, %v", d, err)
	}
	// Only the first faults are told, and their number.
	_, err := Read(t.Context(), write(t, `{"images":[`+strings.Repeat("0,", 29)+`0]}`))
	if err == nil || strings.Count(err.Error(), "\n") != mostFaults || !strings.HasSuffix(err.Error(), ": and 20 more faults") {
		t.Errorf("30 faults: %v", err)
	}
	// Numbers that do not fit, a file that has changed, a stop.
	d, err := Read(t.Context(), write(t, `{"images":[{"id":9223372036854775807,"file_name":"a.jpg","width":5,"height":4}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Number(2); err == nil || !strings.Contains(err.Error(), "id 9223372036854775807 is too large for 2 variants") {
		t.Errorf("a large number: %v", err)
	}
	path := write(t, drawn(2, 3))
	if d, err = Read(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Read(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Write(t.Context(), new(bytes.Buffer), variants(1, func(int64, int) bool { return false })); err == nil || !strings.Contains(err.Error(), "has changed since it was read") {
		t.Errorf("changed: %v", err)
	}
}

// A file is not held in memory: of each annotation a few bytes are.
func TestMemory(t *testing.T) {
	path := write(t, drawn(100, 60_000))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > info.Size()/10 {
		t.Errorf("%d bytes are held of %d", held, info.Size())
	}
	runtime.KeepAlive(d)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(drawn(2, 3)))
	f.Add([]byte(`{"info":{},"images":[{"id":1,"file_name":"a","width":1,"height":1,"stylenet":3}],"x":[]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := write(t, string(content))
		d, err := Read(t.Context(), path)
		if err != nil {
			return
		}
		if d.Number(2) != nil {
			return
		}
		// What is read can be written, and what is written be read.
		var b bytes.Buffer
		if _, _, err := d.Write(t.Context(), &b, variants(2, func(int64, int) bool { return false })); err != nil {
			t.Fatal(err)
		}
		again, err := Read(t.Context(), write(t, b.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		if len(again.Images) != 2*len(d.Images) || again.Annotations != 2*d.Annotations {
			t.Fatalf("%d pictures and %d annotations of %d and %d", len(again.Images), again.Annotations, len(d.Images), d.Annotations)
		}
	})
}
