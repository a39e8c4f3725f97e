package inference

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// cut lists the pieces that make the rows out of a result, and the rows of
// earlier results that must be given for them: of those in stored, and of the
// input.
func (b *binder) cut(steps []Fused, target int, out rows, stored map[int]bool) (given map[int]rows, pieces []piece) {
	given = map[int]rows{}
	need := map[int]rows{steps[target].Output: out}
	for i := target; i >= 0; i-- {
		s := &steps[i]
		r := need[s.Output]
		switch {
		case r.count() == 0:
		case i != target && stored[s.Output]:
			given[s.Output] = r
		default:
			pieces = append(pieces, piece{Fused: s, out: r})
			for _, read := range s.Reads {
				h := b.size(read.From).H
				need[read.From] = need[read.From].hull(read.source(s.reads(r, h), h))
			}
		}
	}
	if r := need[networks.Input]; r.count() > 0 {
		given[networks.Input] = r
	}
	slices.Reverse(pieces)
	return given, b.fitted(given, pieces)
}

// fitted puts a piece that crops a source ahead of each one whose kernel wants
// fewer rows than there are of it, because another piece reads more.
func (b *binder) fitted(given map[int]rows, pieces []piece) []piece {
	have := maps.Clone(given)
	var list []piece
	for _, p := range pieces {
		have[p.Output] = p.out
		if p.exact() {
			step := *p.Fused
			step.Reads = slices.Clone(step.Reads)
			for k := range step.Reads {
				r := &step.Reads[k]
				seen := p.reads(p.out, b.size(r.From).H)
				if have[r.From] == seen {
					continue
				}
				crop := &Fused{Layer: networks.Layer{Name: p.Layer.Name}, Reads: []Read{{From: r.From}}, Output: b.crop(p.Output, k)}
				b.crops[crop.Output] = r.From
				list = append(list, piece{Fused: crop, out: seen})
				r.From = crop.Output
			}
			p.Fused = &step
		}
		list = append(list, p)
	}
	return list
}

// crop names the crop of the k-th source of a result's step. scratch's names
// come first.
func (b *binder) crop(value, k int) int { return scratch(value) - (k+1)*len(b.sizes) }

// whole lists the pieces of all steps for the whole picture.
func (b *binder) whole(steps []Fused) (given map[int]rows, pieces []piece) {
	for i := range steps {
		p := piece{Fused: &steps[i], out: rows{0, b.sizes[steps[i].Output].H}}
		if p.Stats != nil {
			p.stats = &statistics{}
		}
		pieces = append(pieces, p)
	}
	return map[int]rows{networks.Input: {0, b.input.H}}, pieces
}

// geometry is the same for cuts that differ in where they are alone: the
// kernels bound for one serve the other.
func (b *binder) geometry(given map[int]rows, pieces []piece) string {
	var key strings.Builder
	have := maps.Clone(given)
	for _, p := range pieces {
		have[p.Output] = p.out
		fmt.Fprintln(&key, p.Output, p.out.count(), p.offset(have[p.Reads[0].From]))
		for _, r := range p.Reads {
			h := b.size(r.From).H
			fmt.Fprintln(&key, have[r.From].count(), r.strip(p.reads(p.out, h), have[r.From]).Pad)
			switch op := p.Layer.Op.(type) {
			case networks.Resize:
				fmt.Fprintln(&key, taps(op, h, p.out, have[r.From].from))
			case networks.WindowPool:
				fmt.Fprintln(&key, max(0, -windows(op, p.out).from))
			}
		}
	}
	return key.String()
}

// scratch names the map that a kernel which only takes the statistics of a
// result writes.
func scratch(value int) int { return networks.Input - 1 - value }

// held lists the arrays that a program of pieces needs and when, for
// kernels.Place.
func (b *binder) held(given map[int]rows, pieces []piece, keep ...int) (values []int, shapes []kernels.Shape, lives []kernels.Life) {
	at := map[int]int{}
	add := func(value int, s kernels.Shape, launch int) {
		at[value] = len(values)
		values, shapes, lives = append(values, value), append(shapes, s), append(lives, kernels.Life{First: launch, Last: launch})
	}
	for v := networks.Input; v < len(b.sizes); v++ { // the map has no order of its own
		if r, ok := given[v]; ok {
			add(v, b.shape(v, r), 0)
		}
	}
	launch := 0
	for _, p := range pieces {
		add(p.Output, b.shape(p.Output, p.out), launch)
		for _, r := range p.Reads {
			lives[at[r.From]].Last = launch
		}
		launch++
		if p.stats != nil && !p.measures() {
			add(scratch(p.Output), b.shape(p.Output, p.out), launch)
			lives[at[p.Output]].Last = launch
			launch++
		}
	}
	for _, k := range keep {
		lives[at[k]].Last = launch
	}
	return values, shapes, lives
}

// bytes is the memory that a program's maps take.
func (b *binder) bytes(given map[int]rows, pieces []piece, keep ...int) int64 {
	_, shapes, lives := b.held(given, pieces, keep...)
	sizes := make([]int64, len(shapes))
	for i, s := range shapes {
		sizes[i] = b.dev.MapBytes(s)
	}
	_, total := kernels.Place(sizes, lives)
	return total
}
