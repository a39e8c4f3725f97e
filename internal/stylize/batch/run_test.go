package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func numbers(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// staged runs 20 items whose stages take 1 s each, and counts.
type staged struct {
	mu                      sync.Mutex
	inWork, most, computing int
	done                    []string
	fail                    map[int]string // the stage that fails
}

func (s *staged) stage(name string) func(int) error {
	return func(i int) error {
		time.Sleep(time.Second)
		if s.fail[i] == name {
			return fmt.Errorf("%s %d", name, i)
		}
		return nil
	}
}

func (s *staged) stages(jobs int) Stages[int] {
	return Stages[int]{
		Jobs: jobs,
		Read: func(i int) error {
			s.mu.Lock()
			s.inWork++
			s.most = max(s.most, s.inWork)
			s.mu.Unlock()
			return s.stage("read")(i)
		},
		Compute: func(i int) error {
			s.mu.Lock()
			s.computing++
			if s.computing > 1 {
				s.done = append(s.done, "two at once")
			}
			s.mu.Unlock()
			defer func() {
				s.mu.Lock()
				s.computing--
				s.mu.Unlock()
			}()
			return s.stage("compute")(i)
		},
		Write: s.stage("write"),
		Done: func(i int, err error) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.inWork--
			if err != nil {
				s.done = append(s.done, err.Error())
			} else {
				s.done = append(s.done, fmt.Sprint(i))
			}
			return nil
		},
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		jobs    int
		seconds time.Duration // of 20 items
	}{{1, 60}, {2, 41}, {3, 22}, {8, 22}} {
		synctest.Test(t, func(t *testing.T) {
			s := &staged{fail: map[int]string{}}
			start := time.Now()
			if err := s.stages(c.jobs).Run(t.Context(), numbers(20)); err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 20 {
				want = append(want, fmt.Sprint(i))
			}
			if !slices.Equal(s.done, want) {
				t.Errorf("%d jobs: done %q", c.jobs, s.done)
			}
			if s.most > c.jobs {
				t.Errorf("%d jobs: %d in work", c.jobs, s.most)
			}
			if took := time.Since(start); took > c.seconds*time.Second {
				t.Errorf("%d jobs: it took %v", c.jobs, took)
			}
		})
	}
}

func TestRunGoesOnWhereOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &staged{fail: map[int]string{1: "read", 3: "compute", 4: "write"}}
		if err := s.stages(3).Run(t.Context(), numbers(6)); err != nil {
			t.Fatal(err)
		}
		if want := []string{"0", "read 1", "2", "compute 3", "write 4", "5"}; !slices.Equal(s.done, want) {
			t.Errorf("done %q, want %q", s.done, want)
		}
	})
}

func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer stop()
		s := &staged{}
		if err := s.stages(4).Run(ctx, numbers(1000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// What was being computed is written.
		if n := len(s.done); n != 10 && n != 9 || s.done[n-1] != fmt.Sprint(n-1) {
			t.Errorf("done %q", s.done)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &staged{}
		gone := errors.New("nobody listens")
		stages := s.stages(4)
		stages.Done = func(i int, err error) error {
			if i == 2 {
				return gone
			}
			return nil
		}
		if err := stages.Run(t.Context(), numbers(1000)); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &staged{}
		lost := errors.New("the folder is gone")
		items := func(yield func(int, error) bool) { _ = yield(0, nil) && yield(0, lost) }
		if err := s.stages(4).Run(t.Context(), items); !errors.Is(err, lost) {
			t.Errorf("got %v", err)
		}
	})
}

// The items in work weigh no more than the limit, but for one that is alone.
func TestRunWeighs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		weights := []int64{10, 10, 10, 90, 10, 50, 50, 50, 500, 1, 1, 1}
		var weight, heaviest atomic.Int64
		note := func(i int) error {
			if now := weight.Add(weights[i]); now > 100 && now != 500 {
				t.Errorf("at item %d there are %d in work", i, now)
			} else {
				heaviest.Store(max(heaviest.Load(), now))
			}
			time.Sleep(time.Second)
			return nil
		}
		pass := func(int) error { time.Sleep(time.Second); return nil }
		stages := Stages[int]{
			Jobs: 4, Limit: 100, Weigh: func(i int) int64 { return weights[i] },
			Read: note, Compute: pass, Write: pass,
			Done: func(i int, err error) error { weight.Add(-weights[i]); return err },
		}
		if err := stages.Run(t.Context(), numbers(len(weights))); err != nil {
			t.Fatal(err)
		}
		if heaviest.Load() != 500 {
			t.Errorf("the heaviest was %d", heaviest.Load())
		}
	})
}
