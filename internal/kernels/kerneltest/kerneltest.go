// Package kerneltest is the one conformance suite that every backend runs.
//
// It owns the comparison of a device with package reference in float64: values
// of every kernel over many shapes, and the promises that the contract makes
// about memory, order and errors. It refuses to know how a backend works and
// to measure speed.
package kerneltest

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

// Tolerance is the largest error of a result, relative to its natural scale:
// the largest sum of absolute values of the terms behind an element.
type Tolerance struct {
	Conv float64 // of the convolutions and their gradients
	Rest float64 // of all other kernels
	// Rounding is what feature maps may be off beside: the precision in which a
	// device holds them.
	Rounding float64
}

// Run holds a device to the contract. open is called a few times; Run closes
// every device that it returns.
func Run(t *testing.T, open func(t *testing.T) kernels.Device, tol Tolerance) {
	opened := func(t *testing.T) kernels.Device {
		d := open(t)
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return d
	}
	d := opened(t)
	for _, group := range groups() {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.calls {
				h := fnv.New64()
				h.Write([]byte(c.name))
				c.check(t, d, tol, h.Sum64())
			}
		})
	}
	t.Run("Random", func(t *testing.T) { testRandom(t, d, tol) })
	t.Run("Transfer", func(t *testing.T) { testTransfer(t, d) })
	t.Run("Order", func(t *testing.T) { testOrder(t, d) })
	t.Run("Adam steps", func(t *testing.T) { testAdamSteps(t, d, tol) })
	t.Run("Bad arguments", func(t *testing.T) { testBadArguments(t, d) })
	t.Run("Foreign arrays", func(t *testing.T) { testForeign(t, d, opened(t)) })
	t.Run("Failed launch", func(t *testing.T) { testFailedLaunch(t, d) })
	t.Run("Release", func(t *testing.T) { testRelease(t, opened(t), tol) })
	t.Run("Lives", func(t *testing.T) { testLives(t, opened(t)) })
	t.Run("Scope", func(t *testing.T) { testScope(t, opened(t)) })
}

// tester is what testing.T and rapid.T share.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// operand describes one array of a call.
type operand struct {
	shape            kernels.Shape
	parameter        bool
	read, write      bool
	constant, absent bool
	ofMap            bool // a parameter as exact as a feature map
}

func activation(s kernels.Shape) operand { return operand{shape: s, read: true} }
func parameter(s kernels.Shape) operand  { return operand{shape: s, read: true, parameter: true} }

// written makes the operand a destination, updated one that is read as well.
func (o operand) written() operand { o.read, o.write = false, true; return o }
func (o operand) updated() operand { o.write = true; return o }

// unless makes the argument nil where absent is set.
func (o operand) unless(absent bool) operand { o.absent = absent; return o }

// fixed keeps the values for all launches where constant is set.
func (o operand) fixed(constant bool) operand { o.constant = constant; return o }

// call is one kernel with its arguments.
type call struct {
	name     string
	conv     bool // held to Tolerance.Conv
	operands []operand
	bind     func(d kernels.Device, a []kernels.Array) (kernels.Kernel, error)
	// fill changes the normally distributed values of the operands, where the
	// kernel needs others.
	fill func(r *rand.Rand, v [][]float32)
	// derive then sets the operands that must fit the others.
	derive func(v [][]float32)
	// scale returns the natural scale of each operand, from the values of all
	// after a launch. Without it the scale is the largest element that the
	// kernel makes of the absolute values, which scale is given where added
	// changes them so that the kernel subtracts none.
	scale func(v [][]float64, terms []float64) []float64
	added func(v [][]float32)
}

// check runs the call twice on the same values, which must give the same bits,
// and once on others.
func (c call) check(t tester, d kernels.Device, tol Tolerance, seed uint64) {
	t.Helper()
	d = d.Scope()
	defer d.Close()
	a := c.arrays(t, d)
	k, err := c.bind(d, a)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	values := c.values(r, d.Info())
	first := c.launch(t, d, a, k, values)
	var terms []float64
	if c.scale == nil || c.added != nil {
		abs := absolute(values)
		if c.added != nil {
			c.added(abs)
		}
		for _, v := range c.reference(t, abs) {
			terms = append(terms, largest(v))
		}
	}
	c.compare(t, tol, terms, values, first)
	for i, again := range c.launch(t, d, a, k, values) {
		for j, v := range again {
			if math.Float32bits(v) != math.Float32bits(first[i][j]) {
				t.Fatalf("%s: operand %d differs between two runs at %s: %g, %g", c.name, i, c.at(i, j), first[i][j], v)
			}
		}
	}
	others := c.values(r, d.Info())
	for i, o := range c.operands {
		if o.constant {
			others[i] = values[i]
		}
	}
	c.compare(t, tol, terms, others, c.launch(t, d, a, k, others))
}

func (c call) arrays(t tester, d kernels.Device) []kernels.Array {
	t.Helper()
	as := make([]kernels.Array, len(c.operands))
	for i, o := range c.operands {
		if o.absent {
			continue
		}
		make := d.NewActivation
		if o.parameter {
			make = d.NewParameter
		}
		a, err := make(o.shape)
		if err != nil {
			t.Fatalf("%s: operand %d: %v", c.name, i, err)
		}
		as[i] = a
	}
	return as
}

// values makes the contents of all operands before a launch. Destinations hold
// NaN, which no kernel may leave there or read. A device that holds activations
// in bf16 gets values that bf16 has, which it must leave as they are.
func (c call) values(r *rand.Rand, info kernels.Info) [][]float32 {
	v := make([][]float32, len(c.operands))
	for i, o := range c.operands {
		if o.absent {
			continue
		}
		v[i] = make([]float32, o.shape.Elements())
		for j := range v[i] {
			v[i][j] = float32(math.NaN())
			if o.read {
				v[i][j] = float32(r.NormFloat64())
			}
		}
	}
	if c.fill != nil {
		c.fill(r, v)
	}
	if info.Precision == kernels.BF16 {
		for i, o := range c.operands {
			if !o.parameter && o.read {
				roundToBF16(v[i])
			}
		}
	}
	if c.derive != nil {
		c.derive(v)
	}
	return v
}

// roundToBF16 cuts the significands to 8 bits, ties to even.
func roundToBF16(v []float32) {
	for i, x := range v {
		u := math.Float32bits(x)
		v[i] = math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
	}
}

// launch returns the contents of all operands after a launch.
func (c call) launch(t tester, d kernels.Device, a []kernels.Array, k kernels.Kernel, values [][]float32) [][]float32 {
	t.Helper()
	for i, v := range values {
		if v == nil {
			continue
		}
		if err := d.Upload(a[i], v); err != nil {
			t.Fatalf("%s: operand %d: %v", c.name, i, err)
		}
	}
	k()
	after := make([][]float32, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		after[i] = make([]float32, len(v))
		if err := d.Download(after[i], a[i]); err != nil {
			t.Fatalf("%s: operand %d: %v", c.name, i, err)
		}
	}
	return after
}

// reference returns the contents of all operands after a launch in float64.
func (c call) reference(t tester, values [][]float32) [][]float64 {
	t.Helper()
	d := reference.NewFloat64(1)
	a := c.arrays(t, d)
	k, err := c.bind(d, a)
	if err != nil {
		t.Fatalf("%s: reference: %v", c.name, err)
	}
	for i, v := range values {
		if v == nil {
			continue
		}
		if err := d.Upload(a[i], v); err != nil {
			t.Fatalf("%s: reference: %v", c.name, err)
		}
	}
	k()
	after := make([][]float64, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		after[i] = make([]float64, len(v))
		if err := d.Read(after[i], a[i]); err != nil {
			t.Fatalf("%s: reference: %v", c.name, err)
		}
	}
	return after
}

func (c call) compare(t tester, tol Tolerance, terms []float64, before, after [][]float32) {
	t.Helper()
	want := c.reference(t, before)
	scale := terms
	if c.scale != nil {
		scale = c.scale(want, terms)
	}
	for i, o := range c.operands {
		relative := tol.Rest
		if c.conv {
			relative = tol.Conv
		}
		if !o.parameter || o.ofMap {
			relative += tol.Rounding
		}
		if !o.write {
			for j, v := range after[i] {
				if math.Float32bits(v) != math.Float32bits(before[i][j]) {
					t.Fatalf("%s: source %d changed at %s from %g to %g", c.name, i, c.at(i, j), before[i][j], v)
				}
			}
			continue
		}
		worst, at := -1.0, 0
		for j, v := range after[i] {
			diff := math.Abs(float64(v) - want[i][j])
			if math.IsNaN(diff) {
				t.Fatalf("%s: result %d is %g at %s, not %g: was it written?", c.name, i, v, c.at(i, j), want[i][j])
			}
			if diff > worst {
				worst, at = diff, j
			}
		}
		scale := max(scale[i], largest(want[i]))
		if worst > relative*scale {
			t.Fatalf("%s: result %d is %g at %s, not %g: an error of %.2g at a scale of %.2g, tolerance %.2g",
				c.name, i, after[i][at], c.at(i, at), want[i][at], worst, scale, relative)
		}
	}
}

// at names an element.
func (c call) at(operand, i int) string {
	s := c.operands[operand].shape
	return fmt.Sprintf("(%d %d %d %d)", i/(s.C*s.H*s.W), i/(s.H*s.W)%s.C, i/s.W%s.H, i%s.W)
}

func absolute(values [][]float32) [][]float32 {
	abs := make([][]float32, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		abs[i] = make([]float32, len(v))
		for j, v := range v {
			abs[i][j] = float32(math.Abs(float64(v)))
		}
	}
	return abs
}

func largest(v []float64) float64 {
	most := 0.0
	for _, v := range v {
		most = max(most, math.Abs(v))
	}
	return most
}
