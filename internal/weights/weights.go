// Package weights holds ordered, named float32 tensors: the currency that
// networks, model files, checkpoints and devices exchange.
//
// It owns the order and the names. It refuses arithmetic, files and devices.
package weights

import (
	"fmt"
	"slices"
)

// Tensor is a dense row-major float32 tensor. A scalar has an empty shape and
// one element.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Elements returns the number of elements that a shape holds.
func Elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Set is an ordered list of tensors with unique names. The zero value is an
// empty set, ready for use.
type Set struct {
	tensors []*Tensor
	index   map[string]int
}

// Add appends a tensor. The set keeps data, it does not copy it. It fails on
// an empty or known name, a negative dimension, and a shape that does not fit
// the data.
func (s *Set) Add(name string, shape []int, data []float32) error {
	if name == "" {
		return fmt.Errorf("tensor %d has no name", len(s.tensors))
	}
	if _, ok := s.index[name]; ok {
		return fmt.Errorf("tensor %q appears twice", name)
	}
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("tensor %q has a negative dimension in %v", name, shape)
		}
	}
	if Elements(shape) != len(data) {
		return fmt.Errorf("tensor %q has shape %v (%d elements) but %d values", name, shape, Elements(shape), len(data))
	}
	if s.index == nil {
		s.index = make(map[string]int)
	}
	s.index[name] = len(s.tensors)
	s.tensors = append(s.tensors, &Tensor{Name: name, Shape: slices.Clone(shape), Data: data})
	return nil
}

// Get returns the tensor of that name, or nil.
func (s *Set) Get(name string) *Tensor {
	if i, ok := s.index[name]; ok {
		return s.tensors[i]
	}
	return nil
}

// Tensors returns the tensors in the order in which they were added. The
// slice belongs to the set.
func (s *Set) Tensors() []*Tensor { return s.tensors }

// Len returns the number of tensors.
func (s *Set) Len() int { return len(s.tensors) }

// Elements returns the number of values in all tensors.
func (s *Set) Elements() int {
	n := 0
	for _, t := range s.tensors {
		n += len(t.Data)
	}
	return n
}

// Clone returns a deep copy.
func (s *Set) Clone() *Set {
	c := &Set{}
	for _, t := range s.tensors {
		if err := c.Add(t.Name, t.Shape, slices.Clone(t.Data)); err != nil {
			panic(err) // s holds only what Add accepted
		}
	}
	return c
}
