package metadata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// camera builds an EXIF block as cameras do: a directory with the orientation,
// EXIF with a maker's note, GPS, interoperability, and a second directory with a
// thumbnail. Nothing of the package helps it.
type camera struct {
	order byteOrder
	b     []byte
}

func (c *camera) u16(v int) { c.b = c.order.AppendUint16(c.b, uint16(v)) }
func (c *camera) u32(v int) { c.b = c.order.AppendUint32(c.b, uint32(v)) }

// entry writes a field whose value, or its offset, is v.
func (c *camera) entry(tag, kind, count, v int) {
	c.u16(tag)
	c.u16(kind)
	c.u32(count)
	if kind == kindShort && count == 1 {
		c.u16(v)
		c.u16(0)
		return
	}
	c.u32(v)
}

const (
	noteAt    = 400
	note      = "NOTE counts from the start of the block: \x00\x00\x01\x90 and more"
	thumbAt   = 600
	thumbnail = "\xff\xd8thumbnail\xff\xd9"
)

func photo(order byteOrder, orientation int) []byte {
	c := &camera{order: order}
	c.b = append(c.b, map[bool]string{true: "II*\x00", false: "MM\x00*"}[order == byteOrder(binary.LittleEndian)]...)
	c.u32(8)

	c.u16(8)                   // at 8: the picture
	c.entry(0x010f, 2, 6, 300) // Make
	c.entry(0x0112, kindShort, 1, orientation)
	c.entry(0x0111, kindLong, 1, 12345)                            // a strip, which is in no EXIF block
	c.entry(0x011a, kindRational, 1, 310)                          // XResolution
	c.entry(0x02bc, 1, 30, 320)                                    // XMP
	c.entry(0x8769, kindLong, 1, 120)                              // EXIF
	c.entry(0x8825, kindLong, 1, 220)                              // GPS
	c.entry(0x8298, 2, 4, int(order.Uint32([]byte("me\x00\x00")))) // Copyright
	c.u32(260)                                                     // the thumbnail's directory

	c.pad(120)
	c.u16(6) // EXIF
	c.entry(0x9000, kindUndefined, 4, int(order.Uint32([]byte("0230"))))
	c.entry(0x927c, kindUndefined, len(note), noteAt)
	c.entry(0xa002, kindShort, 1, 4000)
	c.entry(0xa003, kindLong, 1, 3000)
	c.entry(0xa005, kindLong, 1, 202)
	c.entry(0xea1c, kindUndefined, 100, 500) // padding
	c.u32(0)

	c.pad(202)
	c.u16(1) // interoperability
	c.entry(1, 2, 4, int(order.Uint32([]byte("R98\x00"))))
	c.u32(0)

	c.u16(2)
	c.entry(1, 2, 2, int(order.Uint32([]byte("N\x00\x00\x00"))))
	c.entry(2, kindRational, 3, 350)
	c.u32(0)

	c.pad(260)
	c.u16(2)
	c.entry(0x0201, kindLong, 1, thumbAt)
	c.entry(0x0202, kindLong, 1, len(thumbnail))
	c.u32(0)

	c.pad(300)
	c.b = append(c.b, "Canon\x00"...)
	c.pad(310)
	c.u32(300)
	c.u32(1)
	c.pad(320)
	c.b = append(c.b, "<x:xmpmeta> of a photo"...)
	c.pad(350)
	for _, v := range []int{48, 1, 51, 1, 2933, 100} {
		c.u32(v)
	}
	c.pad(noteAt)
	c.b = append(c.b, note...)
	c.pad(500)
	c.b = append(c.b, bytes.Repeat([]byte("pad "), 25)...)
	c.pad(thumbAt)
	c.b = append(c.b, thumbnail...)
	return c.b
}

func (c *camera) pad(to int) { c.b = append(c.b, make([]byte, to-len(c.b))...) }

// show lists the fields of a block, one a line, with what they point to.
func show(t *testing.T, b []byte) []string {
	t.Helper()
	s, at, ok := openTIFF(b)
	if !ok {
		t.Fatalf("no TIFF structure in %q", b)
	}
	var lines []string
	var list func(name string, at uint32)
	list = func(name string, at uint32) {
		last := -1
		s.fields(at, func(f field) bool {
			if int(f.tag) <= last {
				t.Errorf("%s: tag %x stands behind %x", name, f.tag, last)
			}
			last = int(f.tag)
			if below := map[uint16]string{0x8769: "exif", 0x8825: "gps", 0xa005: "interop"}[f.tag]; below != "" {
				to, _ := s.number(f)
				list(below, to)
				return true
			}
			lines = append(lines, fmt.Sprintf("%s %04x %d×%d %q", name, f.tag, f.count, f.kind, f.value))
			return true
		})
		n := s.order.Uint16(b[at:])
		if next := s.order.Uint32(b[at+2+12*uint32(n):]); next != 0 {
			t.Errorf("%s: another directory follows at %d", name, next)
		}
	}
	list("root", at)
	slices.Sort(lines)
	return lines
}

func TestEXIFKeepsWhatDescribesThePicture(t *testing.T) {
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		u32 := func(v ...uint32) string {
			var b []byte
			for _, v := range v {
				b = order.AppendUint32(b, v)
			}
			return fmt.Sprintf("%q", b)
		}
		want := []string{
			"exif 9000 4×7 \"0230\"",
			fmt.Sprintf("exif 927c %d×7 %q", len(note), note),
			"exif a002 1×4 " + u32(640),
			"exif a003 1×4 " + u32(480),
			"gps 0001 2×2 \"N\\x00\"",
			"gps 0002 3×5 " + u32(48, 1, 51, 1, 2933, 100),
			"interop 0001 4×2 \"R98\\x00\"",
			"root 010f 6×2 \"Canon\\x00\"",
			"root 011a 1×5 " + u32(300, 1),
			"root 8298 4×2 \"me\\x00\\x00\"",
		}
		in := photo(order, 6)
		if got := Orientation(in); got != 6 {
			t.Fatalf("the orientation is %d", got)
		}
		out := sized(clean(in), 640, 480)
		if got := show(t, out); !slices.Equal(got, want) {
			t.Errorf("%v:\ngot  %s\nwant %s", order, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
		if got := string(out[noteAt : noteAt+len(note)]); got != note {
			t.Errorf("%v: where the maker's note stood is %q", order, got)
		}
		for _, gone := range []string{"thumbnail", "xmpmeta", "pad "} {
			if bytes.Contains(out, []byte(gone)) {
				t.Errorf("%v: %q is carried", order, gone)
			}
		}
		if again := sized(out, 640, 480); !bytes.Equal(again, out) {
			t.Errorf("%v: cleaned twice it is another", order)
		}
	}
}

// A maker's note that cannot keep its place is left out, and so is a block that
// does not fit even so.
func TestEXIFThatDoesNotFit(t *testing.T) {
	order := byteOrder(binary.LittleEndian)
	long := func(tag uint16, n int) entry {
		return entry{tag: tag, kind: kindUndefined, count: uint32(n), value: make([]byte, n)}
	}
	for name, c := range map[string]struct {
		exif directory
		note bool
		none bool
	}{
		"all":                {directory{long(0x9286, 60_000)}, true, false},
		"no room for a note": {directory{long(0x9286, 65_400)}, false, false},
		"no room":            {directory{long(0x9286, 40_000), long(0x9287, 25_500)}, false, true},
	} {
		maker := entry{tag: tagMakerNote, kind: kindUndefined, count: 100, value: make([]byte, 100), pin: 300}
		b := block{order, directory{{tag: tagEXIF, dir: append(c.exif, maker)}}}
		out := b.encode()
		if (out == nil) != c.none || len(out) > maxEXIF {
			t.Errorf("%s: %d bytes", name, len(out))
			continue
		}
		if out == nil {
			continue
		}
		again, ok := parse(out)
		if !ok {
			t.Fatalf("%s: not read again", name)
		}
		if got := again.root.get(tagEXIF).dir.get(tagMakerNote) != nil; got != c.note {
			t.Errorf("%s: has the maker's note: %v", name, got)
		}
	}
	// A note far behind, as in a TIFF file, has no place in a block.
	far := photo(order, 1)
	at := bytes.Index(far, order.AppendUint32(nil, noteAt))
	far = append(far, make([]byte, maxEXIF)...)
	order.PutUint32(far[at:], uint32(len(far)-len(note)))
	if b, ok := parse(far); !ok || b.root.get(tagEXIF).dir.get(tagMakerNote) != nil {
		t.Error("a maker's note behind the end of a block is carried")
	}
}

func TestDamagedEXIF(t *testing.T) {
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		good := photo(order, 6)
		for i := range good {
			for _, v := range []byte{0, 1, 0x7f, 0xff, good[i] ^ 0x80} {
				bad := bytes.Clone(good)
				bad[i] = v
				if o := Orientation(bad); o < 1 || o > 8 {
					t.Fatalf("byte %d is %d: orientation %d", i, v, o)
				}
				out := clean(bad)
				if len(out) > maxEXIF {
					t.Fatalf("byte %d is %d: %d bytes", i, v, len(out))
				}
				if again := clean(out); !bytes.Equal(again, out) {
					t.Fatalf("byte %d is %d: cleaned twice it is another", i, v)
				}
			}
			if o := Orientation(good[:i]); o != 6 && o != 1 {
				t.Fatalf("cut at %d: orientation %d", i, o)
			}
			clean(good[:i])
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "a header alone": []byte("II*\x00\x08\x00\x00\x00"), "text": []byte("this is no EXIF block"),
		"BigTIFF": []byte("II+\x00\x08\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00"),
	} {
		if out := clean(b); out != nil {
			t.Errorf("%s became %q", name, out)
		}
		if o := Orientation(b); o != 1 {
			t.Errorf("%s has orientation %d", name, o)
		}
	}
	for _, o := range []int{0, 9, 65535} {
		if got := Orientation(photo(binary.BigEndian, o)); got != 1 {
			t.Errorf("value %d gives orientation %d", o, got)
		}
	}
}

// Fields may share their bytes, and directories may point to themselves; neither
// makes a small file large or the reader run on.
func TestEXIFBombs(t *testing.T) {
	order := byteOrder(binary.LittleEndian)
	b := &camera{order: order}
	b.b = append(b.b, "II*\x00"...)
	b.u32(8)
	b.u16(1)
	b.entry(tagEXIF, kindLong, 1, 26)
	b.u32(8) // the next directory is this one
	b.u16(5000)
	for i := range 5000 {
		b.entry(i, kindUndefined, 60_000, 0)
	}
	b.u32(0)
	if out := clean(b.b); len(out) > maxEXIF {
		t.Errorf("%d bytes became %d", len(b.b), len(out))
	}
	loop := &camera{order: order}
	loop.b = append(loop.b, "II*\x00"...)
	loop.u32(8)
	loop.u16(3)
	loop.entry(0x010f, 2, 4, 'x')
	loop.entry(tagEXIF, kindLong, 1, 8)
	loop.entry(tagGPS, kindLong, 1, 8)
	loop.u32(8)
	if out := clean(loop.b); out == nil || len(out) > 1000 {
		t.Errorf("a block of %d bytes that points to itself became %d", len(loop.b), len(out))
	}
}

func TestPartsOfProfiles(t *testing.T) {
	part := func(number, count byte, data string) []byte { return append([]byte{number, count}, data...) }
	for name, c := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"one":            {[][]byte{part(1, 1, "a")}, "a"},
		"out of order":   {[][]byte{part(3, 3, "c"), part(1, 3, "a"), part(2, 3, "b")}, "abc"},
		"one is missing": {[][]byte{part(1, 3, "a"), part(3, 3, "c")}, ""},
		"one is double":  {[][]byte{part(1, 2, "a"), part(1, 2, "a")}, ""},
		"one too many":   {[][]byte{part(1, 1, "a"), part(2, 1, "b")}, ""},
		"counts differ":  {[][]byte{part(1, 2, "a"), part(2, 3, "b")}, ""},
		"number 0":       {[][]byte{part(0, 1, "a")}, ""},
		"cut":            {[][]byte{{1}}, ""},
		"none":           {nil, ""},
	} {
		var s iccSegments
		for _, p := range c.parts {
			s.add(p)
		}
		if got := string(s.join()); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTurned(t *testing.T) {
	// A picture of four different corners, read by rows. EXIF 2.3 says where
	// its stored rows and columns lie; HEIF turns it against the clock first and
	// mirrors it then.
	type corners [4]byte // top left, top right, bottom left, bottom right
	turn := func(c corners) corners { return corners{c[1], c[3], c[0], c[2]} }
	topToBottom := func(c corners) corners { return corners{c[2], c[3], c[0], c[1]} }
	leftToRight := func(c corners) corners { return corners{c[1], c[0], c[3], c[2]} }
	stored := corners{'a', 'b', 'c', 'd'}
	exif := map[int]corners{1: {'a', 'b', 'c', 'd'}, 2: {'b', 'a', 'd', 'c'}, 3: {'d', 'c', 'b', 'a'}, 4: {'c', 'd', 'a', 'b'},
		5: {'a', 'c', 'b', 'd'}, 6: {'c', 'a', 'd', 'b'}, 7: {'d', 'b', 'c', 'a'}, 8: {'b', 'd', 'a', 'c'}}
	for angle := range byte(4) {
		for mirror, flip := range map[int]func(corners) corners{-1: func(c corners) corners { return c }, 0: topToBottom, 1: leftToRight} {
			want := stored
			for range angle {
				want = turn(want)
			}
			want = flip(want)
			if got := exif[turned(angle, mirror)]; got != want {
				t.Errorf("turned %d times, mirror %d: %q, want %q", angle, mirror, got, want)
			}
		}
	}
}
