package inference

import "stylenet/internal/networks"

// rows are the rows from ≤ y < to of a map.
type rows struct{ from, to int }

func (r rows) count() int { return r.to - r.from }

// hull is the smallest range that holds both, of which either may be empty.
func (r rows) hull(o rows) rows {
	switch {
	case r.count() == 0:
		return o
	case o.count() == 0:
		return r
	}
	return rows{min(r.from, o.from), max(r.to, o.to)}
}

// reads returns the rows that a step sees, of what its Reads make of their
// sources, for the rows out of its result. h is the height of a source that is
// read as it is.
func (s *Fused) reads(out rows, h int) rows {
	switch op := s.Layer.Op.(type) {
	case networks.Conv:
		return rows{out.from * op.Stride, (out.to-1)*op.Stride + op.Kernel}
	case networks.ConvTranspose:
		// Row i of the source reaches Kernel rows from Stride·i−Pad on.
		return rows{max(0, ceilDiv(out.from+op.Pad-op.Kernel+1, op.Stride)), (out.to-1+op.Pad)/op.Stride + 1}
	case networks.Pool:
		return rows{2 * out.from, 2 * out.to}
	case networks.Pointwise:
		if h == 1 { // which all rows read
			return rows{0, 1}
		}
	case networks.DepthToSpace:
		return rows{out.from / op.Block, ceilDiv(out.to, op.Block)}
	case networks.Resize:
		from, _, _ := op.Tap(out.from, h)
		_, to, _ := op.Tap(out.to-1, h)
		return rows{from, to + 1}
	case networks.WindowPool:
		if op.Global {
			return rows{0, h}
		}
		seen := windows(op, out)
		return rows{max(0, seen.from), min(h, seen.to)}
	}
	return out
}

// exact says that a step's kernel wants no more rows than it reads.
func (s *Fused) exact() bool {
	switch s.Layer.Op.(type) {
	case nil, networks.Conv, networks.ConvTranspose, networks.Add, networks.Channels, networks.DepthToSpace, networks.Resize:
		return false
	}
	return true
}

// source returns the rows of a source of h rows that r needs to make the rows
// seen.
func (r Read) source(seen rows, h int) rows {
	up := max(1, r.Upsample)
	h *= up
	u := rows{seen.from - r.Pad.Top, seen.to - r.Pad.Top} // in the enlarged source
	from, to := max(0, u.from), min(h, u.to)
	if r.Mode == networks.PadReflect {
		if u.from < 0 {
			to = max(to, 1-u.from)
		}
		if u.to > h {
			from = min(from, 2*h-1-u.to)
		}
	}
	// Rows that are border alone still need a source to stand on.
	from, to = max(0, min(from, h-1)), min(h, max(to, 1))
	return rows{from / up, ceilDiv(max(to, from+1), up)}
}

// strip is the way to read that makes the rows seen of the rows have of a
// source.
func (r Read) strip(seen, have rows) Read {
	up := max(1, r.Upsample)
	r.Pad.Bottom = seen.to - r.Pad.Top - have.to*up
	r.Pad.Top = have.from*up - (seen.from - r.Pad.Top)
	return r
}

// ceilDiv is a/b rounded up, for b above 0.
func ceilDiv(a, b int) int {
	if a <= 0 {
		return -(-a / b)
	}
	return (a + b - 1) / b
}
