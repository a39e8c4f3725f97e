package flow_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stylenet/internal/flow"
	"stylenet/internal/motion"
)

// Motion is measured as well as OpenCV's DIS measures it. STYLENET_OPENCV names
// a Python that has OpenCV; STYLENET_OPENCV_SIZE=1 compares at 960×540, too, for
// the table in docs/video.md.
func TestAgainstOpenCV(t *testing.T) {
	python := os.Getenv("STYLENET_OPENCV")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import cv2").Run(); err != nil {
		t.Skipf("%s has no OpenCV: pip install opencv-python-headless, and set STYLENET_OPENCV to that Python", python)
	}
	sizes := [][2]int{{240, 180}}
	if os.Getenv("STYLENET_OPENCV_SIZE") != "" {
		sizes = append(sizes, [2]int{960, 540})
	}
	for _, size := range sizes {
		w, h := size[0], size[1]
		for _, c := range []struct {
			name string
			clip *motion.Clip
			from int
		}{
			{"shift", still(2, w, h, func(t float64) motion.Pose { return motion.Pose{X: 5 * t, Y: 3 * t, Scale: .5} }), 0},
			{"large shift", still(2, w, h, func(t float64) motion.Pose { return motion.Pose{X: -31 * t, Y: 14 * t, Scale: .5} }), 0},
			{"zoom", still(2, w, h, func(t float64) motion.Pose { return motion.Pose{Scale: .5 * (1 + .05*t)} }), 0},
			{"turn", still(2, w, h, func(t float64) motion.Pose { return motion.Pose{Scale: .5, Turn: .05 * t} }), 0},
			{"object", motion.Drawn(2, w, h), 20},
		} {
			a, b := whole(luma(c.clip, c.from)), whole(luma(c.clip, c.from+1))
			truth, seen := c.clip.Motion(c.from, c.from+1)
			start := time.Now()
			f, err := flow.Between(a, b, w, h, flow.Options{})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			mean, big := errorOf(f, truth, seen)
			theirs, seconds := opencv(t, python, a, b, w, h)
			theirMean, theirBig := errorOf(theirs, truth, seen)
			t.Logf("%d×%d %-11s mean error %.3f (OpenCV %.3f), off by more than 1: %.2f%% (OpenCV %.2f%%), %.0f ms (OpenCV %.0f ms)",
				w, h, c.name, mean, theirMean, 100*big, 100*theirBig, took.Seconds()*1e3, seconds*1e3)
			if mean > 1.2*theirMean+0.02 || big > 1.2*theirBig+0.005 {
				t.Errorf("%s: the mean error is %.3f and OpenCV's %.3f; %.2f%% and %.2f%% are off by more than 1", c.name, mean, theirMean, 100*big, 100*theirBig)
			}
		}
	}
}

// whole rounds to bytes, which OpenCV takes alone.
func whole(p []float32) []float32 {
	q := slices.Clone(p)
	for i, v := range q {
		q[i] = float32(math.Round(float64(v)))
	}
	return q
}

func opencv(t *testing.T, python string, a, b []float32, w, h int) (*flow.Field, float64) {
	in := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(w)), uint32(h))
	for _, v := range append(slices.Clone(a), b...) {
		in = append(in, byte(v))
	}
	const medium = "2"
	cmd := exec.Command(python, filepath.Join("testdata", "opencv_dis.py"), medium, "3")
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	f := flow.NewField(w, h)
	for i := range f.U {
		f.U[i] = math.Float32frombits(binary.LittleEndian.Uint32(out.Bytes()[8*i:]))
		f.V[i] = math.Float32frombits(binary.LittleEndian.Uint32(out.Bytes()[8*i+4:]))
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(stderr.String()), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f, seconds
}
