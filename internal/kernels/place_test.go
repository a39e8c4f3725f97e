package kernels

import (
	"testing"

	"pgregory.net/rapid"
)

// The maps of a Johnson network at 1080p, in MB: the picture, two convolutions
// that halve it, a residual block and the way back. Full- and half-resolution
// maps live next to each other twice, at both ends.
func TestPlaceReachesTheLeast(t *testing.T) {
	bytes := []int64{25, 265, 132, 66, 66, 66, 66, 132, 265, 25}
	lives := []Life{{0, 0}, {0, 1}, {1, 2}, {2, 5}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}, {8, 9}}
	if _, total := Place(bytes, lives); total != 265+132 {
		t.Errorf("%d MB, want %d", total, 265+132)
	}
}

func TestPlaceKeepsLivesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 20).Draw(t, "n")
		bytes, lives := make([]int64, n), make([]Life, n)
		var sum int64
		for i := range n {
			bytes[i] = rapid.Int64Range(0, 100).Draw(t, "bytes")
			first := rapid.IntRange(0, 10).Draw(t, "first")
			lives[i] = Life{first, first + rapid.IntRange(0, 5).Draw(t, "length")}
			sum += bytes[i]
		}
		offsets, total := Place(bytes, lives)
		if total > sum {
			t.Fatalf("%d bytes for arrays of %d", total, sum)
		}
		for i := range n {
			if offsets[i] < 0 || offsets[i]+bytes[i] > total {
				t.Fatalf("array %d lies at %d to %d of %d", i, offsets[i], offsets[i]+bytes[i], total)
			}
			for j := range i {
				together := lives[i].First <= lives[j].Last && lives[j].First <= lives[i].Last
				overlap := offsets[i] < offsets[j]+bytes[j] && offsets[j] < offsets[i]+bytes[i] && bytes[i] > 0 && bytes[j] > 0
				if together && overlap {
					t.Fatalf("arrays %d and %d share memory at the same time", i, j)
				}
			}
		}
	})
}
