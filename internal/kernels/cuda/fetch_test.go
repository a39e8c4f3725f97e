//go:build cudnn || cudahost

package cuda

import (
	"strings"
	"testing"

	"stylenet/internal/kernels"
)

// Copies are of the moment at which they were started, whatever runs before
// they are taken.
func TestFetch(t *testing.T) {
	d := openDevice(t, Options{})
	parameter := func(s kernels.Shape) kernels.Array {
		a, err := d.NewParameter(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	one, many := parameter(kernels.Scalar()), parameter(kernels.Shape{N: 3, C: 1, H: 1, W: pieceElements})
	n := 1 + many.Shape().Elements()
	set := func(to int) {
		t.Helper()
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(to*n + i)
		}
		for _, err := range []error{d.Upload(one, values[:1]), d.Upload(many, values[1:])} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	start, take, err := d.Fetch(list(one, many))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, n)
	holds := func(what int) {
		t.Helper()
		if err := take(got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if v != float32(what*n+i) {
				t.Fatalf("value %d of copy %d is %g, not %d", i, what, v, what*n+i)
			}
		}
	}
	set(0)
	start()
	for i := 1; i < 5; i++ {
		set(i)
		start()
		holds(i - 1)
	}
	set(9)
	holds(4)

	if err := take(got); err == nil || !strings.Contains(err.Error(), "no copy is under way") {
		t.Errorf("nothing was taken: %v", err)
	}
	if err := take(got[1:]); err == nil || !strings.Contains(err.Error(), "values into room for") {
		t.Errorf("too few values were taken: %v", err)
	}
	for range kernels.Fetches + 1 {
		start()
	}
	if err := take(got); err == nil || !strings.Contains(err.Error(), "2 copies are under way") {
		t.Errorf("a copy too many: %v", err)
	}
	if err := take(got); err != nil {
		t.Error(err)
	}
	a, err := d.NewActivation(kernels.Shape{N: 1, C: 8, H: 2, W: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]kernels.Array{nil, list(a)} {
		if _, _, err := d.Fetch(wrong); err == nil || !strings.HasPrefix(err.Error(), "fetch: ") {
			t.Errorf("a fetch of %v: %v", wrong, err)
		}
	}
	// The failure of a launch comes with what is taken next.
	h := kernels.Adam{LR: 1, Beta1: 0.9, Beta2: 0.9, Eps: 1}
	m, v, g := parameter(kernels.Scalar()), parameter(kernels.Scalar()), parameter(kernels.Scalar())
	adam, err := d.Adam(list(one), list(g), list(m), list(v), nil, &h)
	if err != nil {
		t.Fatal(err)
	}
	adam()
	start()
	if err := take(got); err == nil || !strings.Contains(err.Error(), "step 0") {
		t.Errorf("a step with wrong settings: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	start()
	if err := take(got); err != errClosed {
		t.Errorf("of a closed device: %v", err)
	}
}

// A recording cannot take a fetch into itself, and says so.
func TestFetchIsNotRecorded(t *testing.T) {
	d := openDevice(t, Options{})
	a, err := d.NewParameter(kernels.Scalar())
	if err != nil {
		t.Fatal(err)
	}
	start, _, err := d.Fetch(list(a))
	if err != nil {
		t.Fatal(err)
	}
	step := d.Record(start)
	step() // as it is
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	step()
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "fetch: launches are being recorded") {
		t.Errorf("a fetch was recorded: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
