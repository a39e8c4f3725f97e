package optimize

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	gonum "gonum.org/v1/gonum/optimize"

	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
)

// analytic is a function with a known gradient, in arrays of a device.
type analytic struct {
	t           *testing.T
	dev         kernels.Device
	x, g        kernels.Array
	f           func(x, grad []float64) float64
	evaluations int
	values      []float64
}

func newAnalytic(t *testing.T, start []float64, f func(x, grad []float64) float64) *analytic {
	t.Helper()
	dev := reference.New(1)
	t.Cleanup(func() { check(t, dev.Close()) })
	b := &builder{dev: dev}
	s := kernels.Shape{N: 1, C: 1, H: 1, W: len(start)}
	a := &analytic{t: t, dev: dev, x: b.map_(s), g: b.map_(s), f: f}
	b.upload(a.x, narrow(start))
	check(t, b.err)
	return a
}

func (a *analytic) variable() kernels.Array { return a.x }
func (a *analytic) gradient() kernels.Array { return a.g }

func (a *analytic) evaluate() (Losses, error) {
	x := a.at()
	grad := make([]float64, len(x))
	value := a.f(x, grad)
	a.evaluations++
	a.values = append(a.values, value)
	return Losses{Loss: value}, a.dev.Upload(a.g, narrow(grad))
}

func (a *analytic) at() []float64 {
	a.t.Helper()
	v := make([]float32, a.x.Shape().Elements())
	check(a.t, a.dev.Download(v, a.x))
	return wide(v)
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i := range v {
		out[i] = float32(v[i])
	}
	return out
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = float64(v[i])
	}
	return out
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rosenbrock(x, grad []float64) (sum float64) {
	for i := range len(x) - 1 {
		a, b := 1-x[i], x[i+1]-x[i]*x[i]
		sum += a*a + 100*b*b
		grad[i] += -2*a - 400*b*x[i]
		grad[i+1] += 200 * b
	}
	return sum
}

// ellipsoid is a quadratic of a condition, rotated by reflections, with its
// minimum at 1, 2, 3 …
func ellipsoid(n int, condition float64) func(x, grad []float64) float64 {
	r := rand.New(rand.NewPCG(1, 2))
	mirror := make([]float64, n)
	norm := 0.0
	for i := range mirror {
		mirror[i] = r.NormFloat64()
		norm += mirror[i] * mirror[i]
	}
	reflect := func(v []float64) []float64 {
		dot := 0.0
		for i := range v {
			dot += v[i] * mirror[i]
		}
		out := make([]float64, n)
		for i := range v {
			out[i] = v[i] - 2*dot/norm*mirror[i]
		}
		return out
	}
	return func(x, grad []float64) float64 {
		d := make([]float64, n)
		for i := range x {
			d[i] = x[i] - float64(i+1)
		}
		d = reflect(d)
		sum := 0.0
		for i := range d {
			k := math.Pow(condition, float64(i)/float64(n-1))
			sum += k * d[i] * d[i] / 2
			d[i] *= k
		}
		copy(grad, reflect(d))
		return sum
	}
}

func zeros(n int) []float64 { return make([]float64, n) }

// The minima are known, and gonum's L-BFGS, in float64, finds them in about as
// many evaluations.
func TestLBFGSAgainstGonum(t *testing.T) {
	counting := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(i + 1)
		}
		return v
	}
	ones := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = 1
		}
		return v
	}
	alternating := zeros(20)
	for i := range alternating {
		alternating[i] = []float64{-1.2, 1}[i%2]
	}
	for _, c := range []struct {
		name    string
		f       func(x, grad []float64) float64
		start   []float64
		minimum []float64
		near    float64
	}{
		{"rosenbrock", rosenbrock, []float64{-1.2, 1}, ones(2), 1e-3},
		{"rosenbrock of 20", rosenbrock, alternating, ones(20), 1e-3},
		{"sphere", ellipsoid(10, 1), zeros(10), counting(10), 1e-4},
		{"ellipsoid, 100", ellipsoid(30, 100), zeros(30), counting(30), 1e-3},
		{"ellipsoid, 10,000", ellipsoid(30, 1e4), zeros(30), counting(30), 3e-2},
	} {
		a := newAnalytic(t, c.start, c.f)
		o, err := newLBFGS(a.dev, a, 10)
		check(t, err)
		first := c.f(c.start, zeros(len(c.start)))
		target := 1e-7 * first // float32 does not see more
		last, ours := math.Inf(1), 0
		for a.evaluations < 2000 {
			n, err := o.iterate(2000 - a.evaluations)
			check(t, err)
			if o.losses().Loss > last {
				t.Errorf("%s: the loss rises from %g to %g", c.name, last, o.losses().Loss)
			}
			if last = o.losses().Loss; last <= target && ours == 0 {
				ours = a.evaluations
			}
			if n == 0 {
				break
			}
		}
		check(t, o.close())
		if ours == 0 {
			t.Errorf("%s: the loss ends at %g of %g", c.name, last, first)
		}
		for i, v := range a.at() {
			if d := math.Abs(v - c.minimum[i]); !(d <= c.near*(1+math.Abs(c.minimum[i]))) {
				t.Errorf("%s: coordinate %d is %g, want %g (after %d evaluations, loss %g)", c.name, i, v, c.minimum[i], a.evaluations, last)
				break
			}
		}
		theirs := 0
		problem := gonum.Problem{
			Func: func(x []float64) float64 { return c.f(x, zeros(len(x))) },
			Grad: func(grad, x []float64) {
				clear(grad)
				theirs++
				c.f(x, grad)
			},
		}
		result, err := gonum.Minimize(problem, c.start, &gonum.Settings{Converger: stopAt(target)}, &gonum.LBFGS{Store: 10})
		if err != nil {
			t.Fatalf("%s: gonum: %v", c.name, err)
		}
		if result.F > target {
			t.Errorf("%s: gonum ends at %g", c.name, result.F)
		}
		t.Logf("%s: %d evaluations, gonum's %d", c.name, ours, theirs)
		if float64(ours) > 1.5*float64(theirs)+10 {
			t.Errorf("%s: %d evaluations, gonum needs %d", c.name, ours, theirs)
		}
	}
}

// stopAt ends gonum's work at a value.
type stopAt float64

func (s stopAt) Init(int) {}

func (s stopAt) Converged(l *gonum.Location) gonum.Status {
	if l.F <= float64(s) {
		return gonum.FunctionThreshold
	}
	return gonum.NotTerminated
}

// The direction is that of the two loops on vectors (Nocedal and Wright 2006,
// algorithm 7.4), from the same pairs.
func TestDirection(t *testing.T) {
	const n, history = 12, 4
	start := zeros(n)
	for i := range start {
		start[i] = math.Sin(float64(3 * i))
	}
	a := newAnalytic(t, start, rosenbrock)
	o, err := newLBFGS(a.dev, a, history)
	check(t, err)
	defer func() { check(t, o.close()) }()
	vector := func(from kernels.Array) []float64 {
		v := make([]float32, n)
		check(t, o.dev.Download(v, from))
		return wide(v)
	}
	dot := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	for range 9 { // the history fills, and turns over
		_, err := o.iterate(100)
		check(t, err)
		if o.pairs == 0 {
			continue
		}
		slope, err := o.choose()
		check(t, err)
		got, g := vector(o.direction), vector(o.g)
		want := append([]float64(nil), g...)
		known := min(o.pairs, history)
		alpha := zeros(known)
		add := func(by float64, v []float64) {
			for i := range want {
				want[i] += by * v[i]
			}
		}
		var s, y [][]float64 // the newest first
		for age := range known {
			slot := (o.pairs - 1 - age) % history
			s, y = append(s, vector(o.s[slot])), append(y, vector(o.y[slot]))
		}
		for k := range known {
			alpha[k] = dot(s[k], want) / dot(s[k], y[k])
			add(-alpha[k], y[k])
		}
		scale := dot(s[0], y[0]) / dot(y[0], y[0])
		for i := range want {
			want[i] *= scale
		}
		for k := known - 1; k >= 0; k-- {
			add(alpha[k]-dot(y[k], want)/dot(s[k], y[k]), s[k])
		}
		difference, length := 0.0, math.Sqrt(dot(want, want))
		for i := range want {
			difference += (got[i] + want[i]) * (got[i] + want[i])
		}
		if math.Sqrt(difference) > 1e-3*length {
			t.Errorf("after %d pairs the direction is off by %g of %g", o.pairs, math.Sqrt(difference), length)
		}
		if w := -dot(g, want); math.Abs(slope-w) > 1e-3*math.Abs(w) {
			t.Errorf("after %d pairs the slope is %g, want %g", o.pairs, slope, w)
		}
	}
}

// Functions that are hard to search along: the optimiser gives up in order, and
// never leaves the variable at a worse place than it was.
func TestLBFGSGivesUp(t *testing.T) {
	for name, f := range map[string]func(x, grad []float64) float64{
		"at the minimum": func(x, grad []float64) float64 { return 3 },
		"wrong gradient": func(x, grad []float64) float64 { grad[0] = -1; return x[0] },
		"kink":           func(x, grad []float64) float64 { grad[0] = math.Copysign(1, x[0]-2); return math.Abs(x[0] - 2) },
		"cliff": func(x, grad []float64) float64 {
			grad[0] = 2 * (x[0] - 5)
			if x[0] > .5 {
				return math.NaN()
			}
			return (x[0] - 5) * (x[0] - 5)
		},
	} {
		a := newAnalytic(t, []float64{0}, f)
		o, err := newLBFGS(a.dev, a, 3)
		check(t, err)
		first := f([]float64{0}, zeros(1))
		steps := 0
		for ; steps < 200; steps++ {
			n, err := o.iterate(50)
			check(t, err)
			if n == 0 {
				break
			}
			if v := f(a.at(), zeros(1)); !(v <= first) || v != o.losses().Loss {
				t.Errorf("%s: at %g after it was %g; told %g", name, v, first, o.losses().Loss)
				break
			}
		}
		if name == "kink" && !(o.losses().Loss < .1) {
			t.Errorf("%s: ends at %g", name, o.losses().Loss)
		}
		if steps == 200 {
			t.Errorf("%s: no end", name)
		}
		check(t, o.close())
	}
}

// A search takes no more evaluations than it may, and then goes back to the best
// point that it has seen.
func TestLBFGSBudget(t *testing.T) {
	for most := 1; most <= 6; most++ {
		a := newAnalytic(t, []float64{-1.2, 1}, rosenbrock)
		o, err := newLBFGS(a.dev, a, 5)
		check(t, err)
		_, err = o.iterate(1)
		check(t, err)
		for range 30 {
			before := a.evaluations
			n, err := o.iterate(most)
			check(t, err)
			if got := a.evaluations - before; got != n || got > most {
				t.Fatalf("%d evaluations, told %d, of %d", got, n, most)
			}
			if v := rosenbrock(a.at(), zeros(2)); v != o.losses().Loss {
				t.Fatalf("within %d evaluations: the loss is %g, told %g", most, v, o.losses().Loss)
			}
		}
		check(t, o.close())
	}
}

// Adam's first steps by its definition.
func TestAdam(t *testing.T) {
	a := newAnalytic(t, []float64{3, -2}, func(x, grad []float64) float64 {
		grad[0], grad[1] = 2*x[0], 20*x[1]
		return x[0]*x[0] + 10*x[1]*x[1]
	})
	o, err := newAdam(a.dev, a, 0.1)
	check(t, err)
	defer func() { check(t, o.close()) }()
	x, m, v := []float64{3, -2}, zeros(2), zeros(2)
	for step := 1; step <= 5; step++ {
		n, err := o.iterate(9)
		check(t, err)
		for i, g := range []float64{2 * x[0], 20 * x[1]} {
			m[i], v[i] = .9*m[i]+.1*g, .999*v[i]+.001*g*g
			x[i] -= .1 * m[i] / (1 - math.Pow(.9, float64(step))) / (math.Sqrt(v[i]/(1-math.Pow(.999, float64(step)))) + 1e-8)
		}
		for i, got := range a.at() {
			if n != 1 || math.Abs(got-x[i]) > 1e-4 {
				t.Fatalf("step %d: coordinate %d is %g, want %g", step, i, got, x[i])
			}
		}
	}
}

func ExampleScales() {
	for _, s := range Scales(2048, 1365, 0, 500) {
		fmt.Println(s.W, s.H, s.Steps)
	}
	// Output:
	// 256 171 500
	// 512 341 250
	// 1024 682 125
	// 2048 1365 62
}
