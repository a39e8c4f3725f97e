package clips

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color/palette"
	"image/gif"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stylenet/internal/flow"
	"stylenet/internal/images"
	"stylenet/internal/motion"
	"stylenet/internal/video"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// write renders the first frames of a clip to a folder.
func write(t *testing.T, dir string, c *motion.Clip, frames int) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o777))
	for i := range frames {
		check(t, images.Save(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), c.Frame(i), images.SaveOptions{}))
	}
}

type views struct{ views, field, seen []float32 }

func cut(t *testing.T, c *Cutter, seed uint64) views {
	t.Helper()
	n := c.size * c.size
	v := views{make([]float32, 6*n), make([]float32, 4*n), make([]float32, 2*n)}
	check(t, c.Cut(v.views, v.field, v.seen, random(seed)))
	return v
}

// What is marked as seen looks the same at the place that the measured flow says,
// better than where it stands.
func TestPairs(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "clips", "a"), motion.Drawn(3, 128, 96), 5)
	path := filepath.Join(dir, "frames")
	s, err := Open(t.Context(), filepath.Join(dir, "clips"), path, 96, "")
	check(t, err)
	defer func() { check(t, s.Close()) }()
	if s.Len() != 2 {
		t.Fatalf("%d pairs of 5 frames, want 2", s.Len())
	}
	const size = 64
	c, err := s.NewCutter(size, 4)
	check(t, err)
	n := size * size
	for seed := range uint64(4) {
		v := cut(t, c, seed)
		if again := cut(t, c, seed); !slices.Equal(v.views, again.views) || !slices.Equal(v.field, again.field) || !slices.Equal(v.seen, again.seen) {
			t.Error("the same numbers give another pair")
		}
		for i := range 2 {
			f := &flow.Field{W: size, H: size, U: v.field[2*i*n:][:n], V: v.field[(2*i+1)*n:][:n]}
			seen, mine, other := v.seen[i*n:][:n], v.views[3*i*n:][:3*n], v.views[3*(1-i)*n:][:3*n]
			share := float32(0)
			for _, m := range seen {
				share += m / float32(n)
			}
			moved, err := flow.WarpingError(mine, other, f, seen)
			check(t, err)
			still, err := flow.WarpingError(mine, other, flow.NewField(size, size), seen)
			check(t, err)
			if moved > still/3 || share < .6 {
				t.Errorf("pair %d, view %d: %.2g along the flow, %.2g without it, %.0f%% seen", seed, i, moved, still, 100*share)
			}
		}
	}
}

// The file is made once, and again where a clip has changed.
func TestFileIsKept(t *testing.T) {
	dir := t.TempDir()
	folder, path := filepath.Join(dir, "clips"), filepath.Join(dir, "frames")
	write(t, filepath.Join(folder, "a"), motion.Drawn(1, 64, 48), 4)
	write(t, filepath.Join(folder, "b"), motion.Drawn(2, 48, 64), 2)
	open := func() (os.FileInfo, int) {
		s, err := Open(t.Context(), folder, path, 40, "")
		check(t, err)
		defer func() { check(t, s.Close()) }()
		info, err := os.Stat(path)
		check(t, err)
		return info, s.Len()
	}
	first, n := open()
	if n != 3 {
		t.Errorf("%d pairs of 4 and of 2 frames", n)
	}
	if again, _ := open(); !os.SameFile(first, again) {
		t.Error("the file was made again")
	}
	write(t, filepath.Join(folder, "b"), motion.Drawn(4, 48, 64), 4)
	if again, n := open(); os.SameFile(first, again) || n != 4 {
		t.Errorf("%d pairs after a clip got longer", n)
	}
	b, err := os.ReadFile(path)
	check(t, err)
	for what, bytes := range map[string][]byte{"short": b[:len(b)-1], "empty": nil, "nothing of ours": []byte("{}\n"), "no lines": make([]byte, 2*maxIndex)} {
		check(t, os.WriteFile(path, bytes, 0o666))
		if _, err := Open(t.Context(), folder, path, 40, "some"); err == nil || !strings.Contains(err.Error(), path+" is damaged (") || !strings.Contains(err.Error(), "): remove it") {
			t.Errorf("%s: %v", what, err)
		}
		if _, n := open(); n != 4 {
			t.Errorf("%s: %d pairs when it is made again", what, n)
		}
	}
}

// Frames that a caller has begun with are the ones it gets, or none: whatever has
// become of the clips, while the file is there, and of the file, while the clips are.
func TestSameFramesAgain(t *testing.T) {
	dir := t.TempDir()
	folder, path := filepath.Join(dir, "clips"), filepath.Join(dir, "frames")
	write(t, filepath.Join(folder, "a"), motion.Drawn(1, 64, 48), 4)
	s, err := Open(t.Context(), folder, path, 40, "")
	check(t, err)
	id := s.ID()
	check(t, s.Close())
	made, err := os.ReadFile(path)
	check(t, err)
	same := func(what string) {
		t.Helper()
		s, err := Open(t.Context(), folder, path, 40, id)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		got, err := os.ReadFile(path)
		check(t, errors.Join(err, s.Close()))
		// The first line has the times of the clips.
		if !bytes.Equal(got[bytes.IndexByte(got, '\n'):], made[bytes.IndexByte(made, '\n'):]) || s.ID() != id {
			t.Errorf("%s: other frames", what)
		}
	}
	refused := func(what, want string) {
		t.Helper()
		before, _ := os.ReadFile(path)
		if _, err := Open(t.Context(), folder, path, 40, id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: the file has changed", what)
		}
	}
	long := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(filepath.Join(folder, "a", "000.png"), long, long))
	same("another time")
	check(t, os.Remove(path))
	same("another time, and the file is gone")
	check(t, os.Rename(folder, folder+".away"))
	same("no clips")
	check(t, os.Remove(path))
	refused("neither clips nor file", path+" is gone, and cannot be made again: open "+folder)
	write(t, filepath.Join(folder, "a"), motion.Drawn(2, 64, 48), 4)
	refused("other clips, and the file is gone", path+" is gone, and cannot be made again: the clips in "+folder+", or what decodes them, have changed")
	s, err = Open(t.Context(), folder, path, 40, "")
	check(t, errors.Join(err, s.Close()))
	refused("another file", path+" holds other frames than before")
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// What a killed process has left of its work is removed before more is made.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	folder, run := filepath.Join(dir, "clips"), filepath.Join(dir, "run [1]")
	write(t, filepath.Join(folder, "a"), motion.Drawn(1, 40, 40), 2)
	check(t, os.MkdirAll(filepath.Join(run, ".clips-2"), 0o777))
	check(t, os.WriteFile(filepath.Join(run, ".clips-1"), nil, 0o666))
	check(t, os.WriteFile(filepath.Join(run, ".clips-2", "raw"), nil, 0o666))
	s, err := Open(t.Context(), folder, filepath.Join(run, "clips.frames"), 32, "")
	check(t, err)
	check(t, s.Close())
	entries, err := os.ReadDir(run)
	check(t, err)
	if len(entries) != 1 || entries[0].Name() != "clips.frames" {
		t.Errorf("the directory holds %v", entries)
	}
}

// Of more clips than pairs, as many as pairs are taken, from the whole list; their
// names fit into the index, however long they are. Frames may be of any format that
// can be read.
func TestManyClips(t *testing.T) {
	const count = MaxPairs + 500
	dir := t.TempDir()
	var frame bytes.Buffer
	check(t, gif.Encode(&frame, image.NewPaletted(image.Rect(0, 0, 8, 8), palette.Plan9), nil))
	tail := strings.Repeat("&", 240) // six bytes each in JSON
	for _, name := range []string{"clips", "one"} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o777))
	}
	for _, name := range []string{"0.gif", "1.gif"} {
		check(t, os.WriteFile(filepath.Join(dir, "one", name), frame.Bytes(), 0o666))
	}
	for i := range count {
		if err := os.Symlink(filepath.Join("..", "one"), filepath.Join(dir, "clips", fmt.Sprintf("%04d", i)+tail)); err != nil {
			t.Skipf("%v; the test needs symbolic links, which Windows has in its developer mode", err)
		}
	}
	path := filepath.Join(dir, "frames")
	s, err := Open(t.Context(), filepath.Join(dir, "clips"), path, 8, "")
	check(t, err)
	check(t, s.Close())
	x, _, err := readIndex(path)
	check(t, err)
	if s.Len() != MaxPairs || len(x.Clips) != MaxPairs {
		t.Errorf("%d pairs of %d clips, want %d of as many", s.Len(), len(x.Clips), MaxPairs)
	}
	for i, c := range x.Clips {
		if n, err := strconv.Atoi(c.Name[:4]); err != nil || n != i*count/MaxPairs {
			t.Fatalf("clip %d is %s", i, c.Name)
		}
	}
}

// A file of video gives the frames that a folder of them gives, but for its codec.
func TestVideo(t *testing.T) {
	if _, err := video.Find(t.Context()); err != nil {
		var missing *video.MissingError
		if errors.As(err, &missing) {
			t.Skipf("%v; %s", err, missing.Hint())
		}
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "folders", "a"), motion.Drawn(5, 80, 64), 6)
	check(t, os.Mkdir(filepath.Join(dir, "clips"), 0o777))
	out, err := exec.Command("ffmpeg", "-v", "error", "-framerate", "25", "-i", filepath.Join(dir, "folders", "a", "%03d.png"),
		"-c:v", "ffv1", "-pix_fmt", "gbrp", filepath.Join(dir, "clips", "a.mkv")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var pairs []views
	for _, folder := range []string{"folders", "clips"} {
		s, err := Open(t.Context(), filepath.Join(dir, folder), filepath.Join(dir, folder+".frames"), 64, "")
		check(t, err)
		defer func() { check(t, s.Close()) }()
		if s.Len() != 3 {
			t.Fatalf("%s: %d pairs of 6 frames", folder, s.Len())
		}
		c, err := s.NewCutter(48, 4)
		check(t, err)
		pairs = append(pairs, cut(t, c, 1))
	}
	for i, v := range pairs[0].views {
		if math.Abs(float64(v-pairs[1].views[i])) > 2 {
			t.Fatalf("value %d is %g, of the clip %g", i, v, pairs[1].views[i])
		}
	}
}

// Across a cut nothing is the same.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	for i, seed := range []uint64{1, 8} {
		check(t, images.Save(filepath.Join(dir, fmt.Sprintf("%d.png", i)), motion.Drawn(seed, 96, 96).Frame(0), images.SaveOptions{}))
	}
	s, err := Open(t.Context(), dir, filepath.Join(t.TempDir(), "frames"), 96, "")
	check(t, err)
	defer func() { check(t, s.Close()) }()
	c, err := s.NewCutter(64, 8)
	check(t, err)
	for i, m := range cut(t, c, 1).seen {
		if m != 0 {
			t.Fatalf("pixel %d is seen across a cut", i)
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	frames := filepath.Join(t.TempDir(), "frames")
	for _, c := range []struct {
		what, want string
		make       func(dir string)
	}{
		{"nothing", "holds no clips: put files of video into it, or folders of two or more frames each", func(string) {}},
		{"one picture", "holds no clips", func(dir string) { write(t, filepath.Join(dir, "a"), motion.Drawn(1, 40, 40), 1) }},
		{"no picture", "not a picture", func(dir string) {
			write(t, filepath.Join(dir, "a"), motion.Drawn(1, 40, 40), 2)
			check(t, os.WriteFile(filepath.Join(dir, "a", "001.png"), []byte("no"), 0o666))
		}},
		{"two sizes", "frame 2 has another size", func(dir string) {
			write(t, filepath.Join(dir, "a"), motion.Drawn(1, 40, 40), 2)
			check(t, images.Save(filepath.Join(dir, "a", "001.png"), images.New(40, 80), images.SaveOptions{}))
		}},
	} {
		folder := filepath.Join(dir, c.what)
		check(t, os.Mkdir(folder, 0o777))
		c.make(folder)
		if _, err := Open(t.Context(), folder, frames, 32, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(frames), "*")); len(left) > 0 {
			t.Errorf("%s leaves %v", c.what, left)
		}
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "none"), frames, 32, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	good := filepath.Join(dir, "good")
	write(t, good, motion.Drawn(1, 40, 40), 2)
	s, err := Open(t.Context(), good, frames, 40, "")
	check(t, err)
	defer func() { check(t, s.Close()) }()
	if _, err := s.NewCutter(40, 1); err == nil || !strings.Contains(err.Error(), "too small for views of 42×42") {
		t.Errorf("small frames: %v", err)
	}
}
