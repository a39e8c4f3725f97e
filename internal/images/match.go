package images

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// ColorStats are the mean and the covariance of a picture's colours, R, G and B
// from 0 to 255, each pixel weighted by its alpha. The zero value is that of no
// pixels.
type ColorStats struct {
	weight  float64
	mean    [3]float64
	moments [3][3]float64 // sums of products of differences from the mean
}

// Add takes the pixels of p, which may be some rows of a picture.
func (s *ColorStats) Add(p *Picture) {
	// Two passes over the rows at hand, and a merge with those before (Chan,
	// Golub and LeVeque 1979), lose nothing to cancellation.
	var rows ColorStats
	planes := p.planes()
	weight := func(int) float64 { return 1 }
	if p.Alpha != nil {
		weight = func(i int) float64 { return float64(p.Alpha[i]) }
	}
	for i := range p.W * p.H {
		k := weight(i)
		rows.weight += k
		for c := range 3 {
			rows.mean[c] += k * float64(planes[c][i])
		}
	}
	if rows.weight == 0 {
		return
	}
	for c := range 3 {
		rows.mean[c] /= rows.weight
	}
	for i := range p.W * p.H {
		k := weight(i)
		var d [3]float64
		for c := range 3 {
			d[c] = float64(planes[c][i]) - rows.mean[c]
		}
		for a := range 3 {
			for b := range a + 1 {
				rows.moments[a][b] += k * d[a] * d[b]
			}
		}
	}
	s.merge(&rows)
}

// merge takes the pixels of o, which are some.
func (s *ColorStats) merge(o *ColorStats) {
	total := s.weight + o.weight
	var d [3]float64
	for c := range 3 {
		d[c] = o.mean[c] - s.mean[c]
	}
	for a := range 3 {
		for b := range a + 1 {
			s.moments[a][b] += o.moments[a][b] + d[a]*d[b]*s.weight*o.weight/total
			s.moments[b][a] = s.moments[a][b]
		}
	}
	for c := range 3 {
		s.mean[c] += d[c] * o.weight / total
	}
	s.weight = total
}

// Mean returns the mean colour.
func (s *ColorStats) Mean() [3]float64 { return s.mean }

// Covariance returns the covariance of the colours, over all pixels.
func (s *ColorStats) Covariance() [3][3]float64 {
	c := s.moments
	for a := range c {
		for b := range c[a] {
			if s.weight > 0 {
				c[a][b] /= s.weight
			}
		}
	}
	return c
}

// ColorMap is a linear map of colours, with an offset.
type ColorMap struct {
	matrix [3][3]float32
	offset [3]float32
}

// NewColorMap returns the map that gives the colours of a picture with the
// statistics from the mean and the covariance of to: correlation alignment (Sun,
// Feng and Saenko 2016, arXiv:1511.05547), as Gatys et al. 2016
// (arXiv:1606.05897, 5.1) use it to keep the colours of a photo. Its matrix is
//
//	to^½ · from^-½
//
// with symmetric square roots of the covariances, so that no colour turns more
// than it must. Where from varies less in a direction than rounding to 8 bits
// does, it is taken to vary so much: noise is not blown up to colours. Pictures
// without a pixel that is seen are left alone. Colours that are not finite are an
// error.
func NewColorMap(from, to *ColorStats) (ColorMap, error) {
	m := ColorMap{matrix: [3][3]float32{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}
	if from.weight == 0 || to.weight == 0 {
		return m, nil
	}
	const rounding = 1. / 12 // the variance of what rounding to whole numbers changes
	white, err := symmetric(from.Covariance(), func(v float64) float64 { return 1 / math.Sqrt(max(v, rounding)) })
	if err != nil {
		return m, err
	}
	color, err := symmetric(to.Covariance(), func(v float64) float64 { return math.Sqrt(max(v, 0)) })
	if err != nil {
		return m, err
	}
	var product mat.Dense
	product.Mul(color, white)
	for a := range 3 {
		offset := to.mean[a]
		for b := range 3 {
			m.matrix[a][b] = float32(product.At(a, b))
			offset -= product.At(a, b) * from.mean[b]
		}
		m.offset[a] = float32(offset)
	}
	return m, nil
}

// symmetric applies f to the eigenvalues of a symmetric matrix.
func symmetric(m [3][3]float64, f func(float64) float64) (*mat.Dense, error) {
	s := mat.NewSymDense(3, nil)
	for a := range 3 {
		for b := range a + 1 {
			if math.IsNaN(m[a][b]) || math.IsInf(m[a][b], 0) {
				return nil, errors.New("cannot match colours that are not finite")
			}
			s.SetSym(a, b, m[a][b])
		}
	}
	var e mat.EigenSym
	if !e.Factorize(s, true) {
		return nil, fmt.Errorf("cannot match colours: their covariance %v has no eigenvalues that can be found", m)
	}
	values := e.Values(nil)
	var vectors, scaled, out mat.Dense
	e.VectorsTo(&vectors)
	scaled.Apply(func(_, column int, v float64) float64 { return v * f(values[column]) }, &vectors)
	out.Mul(&scaled, vectors.T())
	return &out, nil
}

// Apply maps the colours of p, which may be some rows of a picture. The result
// may lie outside 0..255.
func (m ColorMap) Apply(p *Picture) {
	red, green, blue := p.Plane(0), p.Plane(1), p.Plane(2)
	for i, r := range red {
		g, b := green[i], blue[i]
		red[i] = m.matrix[0][0]*r + m.matrix[0][1]*g + m.matrix[0][2]*b + m.offset[0]
		green[i] = m.matrix[1][0]*r + m.matrix[1][1]*g + m.matrix[1][2]*b + m.offset[1]
		blue[i] = m.matrix[2][0]*r + m.matrix[2][1]*g + m.matrix[2][2]*b + m.offset[2]
	}
}

// eachStrip calls f for strips of a picture from the top: few rows, so that they
// need no memory to speak of. They are valid until f returns.
func eachStrip(r Reader, f func(rows *Picture, from int)) {
	w, h := r.Size()
	n := min(max(1, 1<<16/w), h)
	strip := New(w, n)
	if !r.Opaque() {
		strip.Alpha = make([]float32, w*n)
	}
	for y := 0; y < h; y += n {
		rows := strip
		if h-y < n {
			rows = New(w, h-y)
			if strip.Alpha != nil {
				rows.Alpha = strip.Alpha[:w*rows.H]
			}
		}
		r.ReadRows(rows, y)
		f(rows, y)
	}
}
