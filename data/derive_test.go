package data

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// derived makes of a crop its mean and a random number, in each worker's memory.
func derived(opts Options) Options {
	opts.Values = 2
	opts.Derive = func() (func(dst, crop []float32, random *rand.Rand) error, error) {
		calls := float32(0)
		return func(dst, crop []float32, random *rand.Rand) error {
			calls++
			if len(dst) != 2 || len(crop) != 3*opts.Size*opts.Size {
				return errors.New("another length")
			}
			sum := float32(0)
			for i, v := range crop {
				sum += v
				crop[i] = calls // it may be written on
			}
			dst[0], dst[1] = sum/float32(len(crop)), random.Float32()
			return nil
		}, nil
	}
	return opts
}

// What is derived of crops depends on their places in the order alone, beside the
// crops, which are those of a loader that derives nothing.
func TestLoaderDerives(t *testing.T) {
	dir := folder(t)
	const n = 8
	crops := take(t, loader(t, options(dir), Cursor{}), n)
	opts := derived(options(dir))
	want := take(t, loader(t, opts, Cursor{}), n)
	size := 3 * opts.Size * opts.Size
	numbers := map[float32]bool{}
	for i, b := range want {
		if len(b.Pixels) != 2*opts.Batch || !slices.Equal(b.Paths, crops[i].Paths) {
			t.Fatalf("batch %d has %d values, of %v", i, len(b.Pixels), b.Paths)
		}
		for k := range opts.Batch {
			sum := float32(0)
			for _, v := range crops[i].Pixels[k*size:][:size] {
				sum += v
			}
			if b.Pixels[2*k] != sum/float32(size) {
				t.Errorf("sample %d of batch %d is of another crop", k, i)
			}
			numbers[b.Pixels[2*k+1]] = true
		}
	}
	if len(numbers) != n*opts.Batch {
		t.Errorf("%d random numbers for %d samples", len(numbers), n*opts.Batch)
	}
	for i := range n - 1 {
		opts.Workers = 1 + i%3
		if !same(want[i+1:], take(t, loader(t, opts, want[i].Cursor), n-1-i)) {
			t.Errorf("with %d workers, from batch %d on, batches differ", opts.Workers, i)
		}
	}
}

func TestDeriveErrors(t *testing.T) {
	dir := folder(t)
	wrong := errors.New("wrong")
	opts := derived(options(dir))
	opts.Derive = func() (func(dst, crop []float32, random *rand.Rand) error, error) {
		return func([]float32, []float32, *rand.Rand) error { return wrong }, nil
	}
	if _, err := loader(t, opts, Cursor{}).Next(context.Background()); !errors.Is(err, wrong) {
		t.Errorf("a sample that fails: %v", err)
	}
	opts.Derive = func() (func(dst, crop []float32, random *rand.Rand) error, error) { return nil, wrong }
	if _, err := loader(t, opts, Cursor{}).Next(context.Background()); !errors.Is(err, wrong) {
		t.Errorf("a worker that fails: %v", err)
	}
	opts.Values = 0
	if _, err := NewLoader(opts, Cursor{}); err == nil || !strings.Contains(err.Error(), "0 values of each crop of 16×16") {
		t.Errorf("no values: %v", err)
	}
	plain := options(dir)
	plain.Values = 5
	if _, err := NewLoader(plain, Cursor{}); err == nil || !strings.Contains(err.Error(), "5 values of each crop of 16×16") {
		t.Errorf("other values than a crop's: %v", err)
	}
}
