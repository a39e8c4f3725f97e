package kernels

import (
	"math/bits"
	"slices"
	"sort"
)

// Life is when an array's values are needed: from the launch that writes them
// first to the one that reads them last, both counted in launches.
type Life struct{ First, Last int }

// Place lays out arrays of the given sizes in one block of memory, so that
// arrays whose lives overlap do not: each one's offset, and the block's size.
// The largest ones are placed first, each as low as it fits (Pisarchyk and Lee
// 2020, greedy by size), which comes close to the least that is possible.
func Place(bytes []int64, lives []Life) (offsets []int64, total int64) {
	order := make([]int, len(bytes))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return bytes[order[i]] > bytes[order[j]] })
	offsets = make([]int64, len(bytes))
	var placed []int // by offset
	for _, i := range order {
		at := int64(0)
		for _, j := range placed {
			apart := lives[j].Last < lives[i].First || lives[i].Last < lives[j].First
			if apart || at >= offsets[j]+bytes[j] {
				continue
			}
			if at+bytes[i] <= offsets[j] {
				break
			}
			at = offsets[j] + bytes[j]
		}
		offsets[i] = at
		total = max(total, at+bytes[i])
		k := sort.Search(len(placed), func(k int) bool { return offsets[placed[k]] > at })
		placed = slices.Insert(placed, k, i)
	}
	return offsets, total
}

// RoundUp rounds the bytes of a block of memory so that maps that differ by a
// border fit into each other's blocks, at the price of an eighth more memory at
// the most.
func RoundUp(bytes int) int {
	step := 1 << max(0, bits.Len(uint(bytes))-4)
	return (bytes + step - 1) / step * step
}
