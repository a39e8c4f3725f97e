package images

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"testing"
)

// Strips of any height are what Resize makes of the whole picture, with and
// without alpha, larger and smaller, also of a picture that is stored turned.
func TestScaled(t *testing.T) {
	opaque, glass := New(23, 31), New(23, 31)
	glass.Alpha = make([]float32, 23*31)
	for i := range opaque.Pix {
		opaque.Pix[i] = float32(i*37%256) + .25
		glass.Pix[i] = opaque.Pix[i]
	}
	for i := range glass.Alpha {
		glass.Alpha[i] = float32(i*3%7) / 6
	}
	img := image.NewNRGBA(image.Rect(0, 0, 31, 23))
	for y := range 23 {
		for x := range 31 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x * 8), uint8(y * 11), uint8(x * y), uint8(255 - x)})
		}
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	turned, err := Decoder{}.Source(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	turned.orient = 6
	for name, r := range map[string]Reader{"opaque": opaque, "glass": glass, "turned": turned} {
		whole, ok := r.(*Picture)
		if !ok {
			whole = turned.Picture()
		}
		for _, size := range [][2]int{{23, 31}, {9, 40}, {50, 7}, {1, 1}} {
			w, h := size[0], size[1]
			want, err := Resize(whole, w, h)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewScaled(r, w, h)
			if err != nil {
				t.Fatal(err)
			}
			if s.Opaque() != (want.Alpha == nil) || s.Bytes() != r.Bytes() {
				t.Errorf("%s: opaque %v, %d bytes", name, s.Opaque(), s.Bytes())
			}
			for _, n := range []int{1, 3, h} {
				for y := 0; y+n <= h; y += n {
					rows := New(w, n)
					rows.Alpha = make([]float32, w*n)
					s.ReadRows(rows, y)
					for i, a := range rows.Alpha {
						wantA := float32(1)
						if want.Alpha != nil {
							wantA = want.Alpha[y*w+i]
						}
						if math.Abs(float64(a-wantA)) > 1e-5 {
							t.Fatalf("%s at %d×%d: alpha %v, want %v", name, w, h, a, wantA)
						}
						for c := range 3 {
							if got, want := rows.Plane(c)[i], want.Plane(c)[y*w+i]; math.Abs(float64(got-want)) > 1e-3 && a > 0 {
								t.Fatalf("%s at %d×%d, %d rows from %d: value %v, want %v", name, w, h, n, y, got, want)
							}
						}
					}
					if want.Alpha == nil {
						continue
					}
					// Colours are weighted by alpha even where it is not read.
					colors := New(w, n)
					s.ReadRows(colors, y)
					for i, v := range colors.Pix {
						if v != rows.Pix[i] {
							t.Fatalf("%s at %d×%d: without alpha value %v, want %v", name, w, h, v, rows.Pix[i])
						}
					}
				}
			}
		}
	}
	if _, err := NewScaled(opaque, 0, 4); err == nil {
		t.Error("a width of 0 is taken")
	}
}
