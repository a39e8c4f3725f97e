package onnx

import (
	"slices"

	"stylenet/internal/networks"
)

// statKind is a step of the definition of a norm: (x − mean)/√(variance + ε).
type statKind int

const (
	mean      statKind = iota + 1
	centred            // x − mean
	squared            // (x − mean)²
	variance           // the mean of that, and ε
	deviation          // the root of that
	inverse            // and 1 over it
)

// stat says that a feature is a step of the norm of another, over n groups of
// its channels.
type stat struct {
	kind statKind
	of   *feature
	n    int
	eps  float32
}

func (f *feature) is(k statKind) bool { return f.stat != nil && f.stat.kind == k }

// then is the next step.
func (s *stat) then(k statKind) *stat {
	next := *s
	next.kind = k
	return &next
}

// sameNorm says whether two features are steps of one norm.
func sameNorm(a, b *feature) bool { return a.stat.of.layer == b.stat.of.layer && a.stat.n == b.stat.n }

// statOf recognises steps that take two features. The last one gives the norm.
func (c *call) statOf(function networks.Function, a, b *feature) (*stat, *feature) {
	if function == networks.Times && b.is(centred) {
		a, b = b, a
	}
	switch {
	case function == networks.Minus && b.is(mean) && b.stat.of.layer == a.layer && goTogether(a.axes, b.axes):
		return &stat{kind: centred, of: a, n: b.stat.n}, nil
	case !a.is(centred) || b.stat == nil || !sameNorm(a, b):
	case function == networks.Times && b.is(centred) && sameAxes(a.axes, b.axes):
		return a.stat.then(squared), nil
	case (function == networks.Times && b.is(inverse) || function == networks.Over && b.is(deviation)) && goTogether(a.axes, b.axes):
		return nil, c.norm("", a.stat.of, a.stat.n, b.stat.eps, nil, nil)
	}
	return nil, nil
}

// statWith recognises steps that take a constant: ε, and the 1 over a
// deviation. first says that the constant comes first.
func (c *call) statWith(f *feature, t *tensor, first bool) *stat {
	v, uniform := scalarOf(t)
	switch {
	case !uniform:
	case c.n.op == "Add" && f.is(variance) && v >= 0:
		next := f.stat.then(variance)
		next.eps += float32(v)
		return next
	case c.n.op == "Div" && first && v == 1 && f.is(deviation):
		return f.stat.then(inverse)
	}
	return nil
}

// root is Sqrt and Reciprocal. Both are steps of a norm, and no layer computes a
// root.
func (c *call) root() *feature {
	f := c.feature(0)
	switch {
	case c.n.op == "Sqrt" && f.is(variance):
		return f.step(deviation)
	case c.n.op == "Reciprocal" && f.is(deviation):
		return f.step(inverse)
	case c.n.op == "Reciprocal":
		return c.plain("", networks.Over, c.constantMap(f, slices.Repeat([]float32{1}, f.size.C)), f)
	}
	c.refuse("it is read as part of an instance norm, (x − mean)/√(variance + ε), alone")
	return nil
}

// step is the next step of a norm, which no layer computes.
func (f *feature) step(k statKind) *feature {
	return &feature{layer: absent, size: f.size, axes: f.axes, stat: f.stat.then(k)}
}

func (c *call) power() *feature {
	f := c.feature(0)
	v, ok := scalarOf(c.tensor(1))
	switch {
	case ok && v == 1:
		return f
	case ok && v == 2:
		return c.combine("", networks.Times, f, f)
	case ok && v == 3:
		return c.plain("", networks.Times, f, c.plain(".square", networks.Times, f, f))
	case ok && v == .5 && f.is(variance):
		return f.step(deviation)
	case ok && v == -.5 && f.is(variance):
		return f.step(inverse)
	}
	c.refuse("squares and cubes are read, and roots as part of an instance norm")
	return nil
}

// reduce is ReduceMean and ReduceMax over rows and columns. The mean over
// channels as well is read as part of a group norm.
func (c *call) reduce() *feature {
	f := c.feature(0)
	list, keep := c.reduced(len(f.axes))
	var axes []axis
	var rest axis
	for i, a := range f.axes {
		switch {
		case !slices.Contains(list, i):
			rest = append(rest, a...)
			axes = append(axes, a)
		case keep:
			axes = append(axes, nil)
		}
	}
	rest = merged(rest)
	n := rest.size()
	if len(rest) > 1 || len(rest) == 1 && !slices.Equal(rest, axis{{channels, f.size.C / n, n}}) {
		c.refuse("it reduces axes %v of %s: rows and columns are read", list, f)
	}
	out := &feature{layer: absent, size: f.size, axes: axes}
	average := c.n.op == "ReduceMean"
	switch {
	case average && f.is(squared) && f.stat.n == n:
		out.stat = f.stat.then(variance)
	case average:
		out.stat = &stat{kind: mean, of: f, n: n}
	}
	if n == f.size.C && f.layer != absent {
		out.layer = c.emit("", networks.WindowPool{Average: average, Global: true}, nil, f)
		out.size = c.layers[out.layer].size
	}
	if out.layer == absent && out.stat == nil {
		c.refuse("it reduces axes %v of %s: rows and columns are read", list, f)
	}
	return out
}
