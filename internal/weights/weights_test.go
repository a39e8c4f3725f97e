package weights

import (
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	var s Set
	for _, name := range []string{"b", "a"} {
		if err := s.Add(name, []int{2, 1}, []float32{1, 2}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add("scalar", nil, []float32{3}); err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || s.Elements() != 5 || s.Tensors()[0].Name != "b" || s.Get("a").Data[1] != 2 || s.Get("none") != nil {
		t.Errorf("wrong set: %d tensors, %d values", s.Len(), s.Elements())
	}
	c := s.Clone()
	c.Get("a").Data[0] = 9
	if s.Get("a").Data[0] != 1 || c.Tensors()[1].Name != "a" {
		t.Error("a clone shares values or loses the order")
	}
	for want, err := range map[string]error{
		"has no name":        s.Add("", nil, []float32{1}),
		`"a" appears twice`:  s.Add("a", nil, []float32{1}),
		"negative dimension": s.Add("c", []int{-1, -1}, []float32{1}),
		"(6 elements) but 5": s.Add("d", []int{2, 3}, make([]float32, 5)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if s.Len() != 3 {
		t.Error("a refused tensor was added")
	}
}
