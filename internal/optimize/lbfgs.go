package optimize

import (
	"fmt"
	"math"

	"stylenet/internal/kernels"
)

// function is what is minimised: evaluate leaves the gradient at the variable and
// returns the terms of the value, Losses.Loss. The arrays exist from the start.
type function interface {
	evaluate() (Losses, error)
	variable() kernels.Array
	gradient() kernels.Array
}

// lbfgs minimises a function by L-BFGS (Nocedal 1980) with a line search for
// the strong Wolfe conditions.
//
// All vectors stay on the device: the last steps s and the changes of the
// gradient y among them. What the host learns in an iteration are dot products,
// a few scalars; from these it works out the direction as a weighted sum of s, y
// and the gradient, which the device then adds up (Chen, Wang and Zhou 2014,
// "Large-scale L-BFGS using MapReduce").
type lbfgs struct {
	f       function
	dev     kernels.Device // a scope of its own
	history int
	pairs   int // that were ever taken; the newest history of them are kept

	x, g       kernels.Array // the function's
	x0, g0     kernels.Array // where the search starts
	low        kernels.Array // the gradient at the best point of the search
	direction  kernels.Array
	s, y       []kernels.Array // by slot
	products   []kernels.Array // results of dots with all s, all y and the gradient
	line, side kernels.Array   // weights of a step, and of the direction

	at    Losses
	known bool        // at and the gradient are those at x
	sy    [][]float64 // s_i·y_j, by slot
	yy    [][]float64

	keepX, keepGradient, keepLow, takeLow, step, combine kernels.Kernel
	dotsGradient, dotDirection                           kernels.Kernel
	differ, multiply                                     []func() // by slot
}

// The constants of the strong Wolfe conditions (Nocedal and Wright 2006, 3.1).
const (
	sufficientDecrease = 1e-4
	curvature          = 0.9
	mostTrials         = 20 // of one search
)

func newLBFGS(dev kernels.Device, f function, history int) (_ *lbfgs, err error) {
	o := &lbfgs{f: f, dev: dev.Scope(), history: history, x: f.variable(), g: f.gradient()}
	b := &builder{dev: o.dev}
	defer func() {
		if err = b.err; err != nil {
			o.dev.Close()
		}
	}()
	shape := o.x.Shape()
	o.x0, o.g0, o.low, o.direction = b.map_(shape), b.map_(shape), b.map_(shape), b.map_(shape)
	for range history {
		// A weight of zero must find zeros, not what memory held before.
		o.s, o.y = append(o.s, b.zeros(shape)), append(o.y, b.zeros(shape))
		o.sy, o.yy = append(o.sy, make([]float64, history)), append(o.yy, make([]float64, history))
	}
	all := append(append(append([]kernels.Array(nil), o.s...), o.y...), o.g)
	for _, n := range []int{len(all), 1, 2 * history, history} {
		o.products = append(o.products, b.vector(n))
	}
	one := b.vector(1)
	b.upload(one, []float32{1})
	o.line, o.side = b.vector(2), b.vector(len(all))
	if b.err != nil {
		return nil, b.err
	}
	copyOf := func(dst, src kernels.Array) kernels.Kernel {
		return b.kernel(o.dev.Combine(dst, []kernels.Array{src}, one))
	}
	o.keepX, o.keepGradient, o.keepLow, o.takeLow = copyOf(o.x0, o.x), copyOf(o.g0, o.g), copyOf(o.low, o.g), copyOf(o.g, o.low)
	o.step = b.kernel(o.dev.Combine(o.x, []kernels.Array{o.x0, o.direction}, o.line))
	o.combine = b.kernel(o.dev.Combine(o.direction, all, o.side))
	o.dotsGradient = b.kernel(o.dev.Dots(o.products[0], o.g, all))
	o.dotDirection = b.kernel(o.dev.Dots(o.products[1], o.g, []kernels.Array{o.direction}))
	for i := range history {
		difference := []float32{1, -1}
		s := b.kernel(o.dev.Sum(o.s[i], []kernels.Array{o.x, o.x0}, difference))
		y := b.kernel(o.dev.Sum(o.y[i], []kernels.Array{o.g, o.g0}, difference))
		ofY := b.kernel(o.dev.Dots(o.products[2], o.y[i], all[:2*history]))
		ofS := b.kernel(o.dev.Dots(o.products[3], o.s[i], o.y))
		o.differ = append(o.differ, func() { s(); y() })
		o.multiply = append(o.multiply, func() { ofY(); ofS() })
	}
	return o, nil
}

// iterate does one step along a new direction, with at most that many
// evaluations. It returns how many it took: none where the function cannot be
// lowered any more.
func (o *lbfgs) iterate(most int) (evaluations int, err error) {
	if !o.known {
		if o.at, err = o.f.evaluate(); err != nil {
			return 1, err
		}
		o.known = true
		return 1, nil
	}
	slope, err := o.choose()
	if err != nil {
		return 0, err
	}
	if slope == 0 {
		return 0, nil
	}
	o.keepX()
	o.keepGradient()
	search := search{o: o, loss: o.at.Loss, slope: slope, most: min(most, mostTrials)}
	t, newSlope, err := search.run()
	switch {
	case err != nil:
		return search.trials, err
	case t == 0 && search.trials == most:
		return search.trials, nil
	case t == 0 && o.pairs > 0:
		// The history may be to blame: begin anew, with the steepest descent.
		o.pairs = 0
		return search.trials, nil
	case t == 0:
		return 0, nil
	}
	// s·y; the Wolfe conditions make it positive, a search that was cut short
	// may not.
	if t*(newSlope-slope) > 1e-10*math.Abs(t*slope) {
		o.differ[o.pairs%o.history]()
		return search.trials, o.learn()
	}
	return search.trials, nil
}

// choose sets the direction and returns the function's slope along it, 0 where
// the gradient is zero.
func (o *lbfgs) choose() (float64, error) {
	o.dotsGradient()
	dots, err := o.download(0)
	if err != nil {
		return 0, err
	}
	m := o.history
	sg, yg, gg := dots[:m], dots[m:2*m], dots[2*m]
	if gg == 0 {
		return 0, nil
	}
	weights, slope := o.weights(sg, yg, gg)
	if !(slope < 0) && o.pairs > 0 { // rounding: begin anew
		o.pairs = 0
		weights, slope = o.weights(sg, yg, gg)
	}
	if !(slope < 0) || math.IsInf(slope, 0) {
		return 0, fmt.Errorf("the slope of the loss is %g: lower the weights", slope)
	}
	if err := o.upload(o.side, weights); err != nil {
		return 0, err
	}
	o.combine()
	return slope, nil
}

// weights works out the two loops of L-BFGS (Nocedal and Wright 2006, algorithm
// 7.4) on dot products alone: the weights of s, y and the gradient in the
// direction, and the slope along it.
func (o *lbfgs) weights(sg, yg []float64, gg float64) (weights []float64, slope float64) {
	m := o.history
	weights = make([]float64, 2*m+1)
	ofS, ofY, ofG := weights[:m], weights[m:2*m], &weights[2*m]
	*ofG = 1
	newest := min(o.pairs, m)
	slot := func(age int) int { return (o.pairs - 1 - age) % m }
	alpha := make([]float64, m)
	for age := range newest {
		i := slot(age)
		dot := sg[i]
		for younger := range age {
			j := slot(younger)
			dot += ofY[j] * o.sy[i][j]
		}
		alpha[i] = dot / o.sy[i][i]
		ofY[i] = -alpha[i]
	}
	if newest == 0 {
		// A first step of one brightness of 255, in the root mean square.
		*ofG = math.Sqrt(float64(o.x.Shape().Elements()) / gg)
	} else {
		scale := o.sy[slot(0)][slot(0)] / o.yy[slot(0)][slot(0)]
		*ofG = scale
		for j := range ofY {
			ofY[j] *= scale
		}
	}
	for age := newest - 1; age >= 0; age-- {
		i := slot(age)
		dot := *ofG * yg[i]
		for a := range newest {
			j := slot(a)
			dot += ofY[j]*o.yy[i][j] + ofS[j]*o.sy[j][i]
		}
		ofS[i] += alpha[i] - dot/o.sy[i][i]
	}
	slope = 0
	for i := range weights {
		weights[i] = -weights[i]
	}
	for i := range m {
		slope += ofS[i]*sg[i] + ofY[i]*yg[i]
	}
	return weights, slope + *ofG*gg
}

// learn takes the next pair, whose s and y are set, into the history in place of
// the oldest.
func (o *lbfgs) learn() error {
	m := o.history
	k := o.pairs % m
	o.multiply[k]()
	ofY, err := o.download(2)
	if err != nil {
		return err
	}
	ofS, err := o.download(3)
	if err != nil {
		return err
	}
	if !(ofY[k] > 0) || !(ofY[m+k] > 0) {
		o.pairs = 0 // nothing was learned, and the oldest pair is overwritten
		return nil
	}
	for i := range m {
		o.sy[i][k], o.sy[k][i] = ofY[i], ofS[i]
		o.yy[i][k], o.yy[k][i] = ofY[m+i], ofY[m+i]
	}
	o.sy[k][k] = ofY[k]
	o.pairs++
	return nil
}

// trial goes to x0 + t·direction and returns the loss and its slope there.
func (o *lbfgs) trial(t float64) (point, error) {
	if err := o.upload(o.line, []float64{1, t}); err != nil {
		return point{}, err
	}
	o.step()
	loss, err := o.f.evaluate()
	if err != nil {
		return point{}, err
	}
	o.dotDirection()
	dots, err := o.download(1)
	if err != nil {
		return point{}, err
	}
	return point{t, loss, dots[0]}, nil
}

func (o *lbfgs) download(i int) ([]float64, error) {
	values := make([]float32, o.products[i].Shape().Elements())
	if err := o.dev.Download(values, o.products[i]); err != nil {
		return nil, err
	}
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide, nil
}

func (o *lbfgs) upload(a kernels.Array, values []float64) error {
	narrow := make([]float32, len(values))
	for i, v := range values {
		narrow[i] = float32(v)
	}
	return o.dev.Upload(a, narrow)
}

func (o *lbfgs) losses() Losses { return o.at }

func (o *lbfgs) close() error { return o.dev.Close() }
