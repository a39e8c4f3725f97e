package data

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"stylenet/internal/images"
)

// DefaultMinSide is the short side, in pixels, below which a picture is too
// small to learn from.
const DefaultMinSide = 32

// CheckOptions are the choices of Check. The zero value is the default.
type CheckOptions struct {
	MinSide   int   // pixels; 0 means DefaultMinSide
	MaxPixels int64 // 0 means images.DefaultMaxPixels
	Workers   int   // 0 means DefaultWorkers()

	// Progress, where set, is called after every file, never twice at once.
	Progress func(done, total int)
}

// Report says what a folder of pictures holds.
type Report struct {
	Dir      string         `json:"dir"`
	Files    int            `json:"files"`     // that look like pictures
	Usable   int            `json:"usable"`    // whole and large enough
	Ignored  int            `json:"ignored"`   // files that are not pictures
	Formats  map[string]int `json:"formats"`   // of whole pictures, by content
	Short    Distribution   `json:"short"`     // short sides of whole pictures, pixels
	Long     Distribution   `json:"long"`      // long sides
	Broken   []Skipped      `json:"broken"`    // in the order of List
	TooSmall []Skipped      `json:"too_small"` // in the order of List
}

// Distribution sums up a set of lengths. It is zero for an empty set.
type Distribution struct {
	Min    int `json:"min"`
	Median int `json:"median"` // of an even count, the upper of the middle two
	Max    int `json:"max"`
}

// Skipped is a file that training does not use, and why.
type Skipped struct {
	Path   string `json:"path"` // relative to the folder, slash-separated
	Reason string `json:"reason"`
}

// Check decodes every picture under dir. Broken files are part of the report;
// an error means that the folder could not be listed or that ctx ended.
func Check(ctx context.Context, dir string, opts CheckOptions) (*Report, error) {
	files, others, err := list(dir)
	if err != nil {
		return nil, err
	}
	if opts.MinSide <= 0 {
		opts.MinSide = DefaultMinSide
	}
	if opts.Workers <= 0 {
		opts.Workers = DefaultWorkers()
	}

	type result struct {
		format  string
		w, h    int
		problem string
	}
	results := make([]result, len(files))
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards next, done and the calls of Progress
		next  int
		done  int
		limit = images.Decoder{MaxPixels: opts.MaxPixels}
	)
	for range min(opts.Workers, len(files)) {
		wg.Go(func() {
			var buf bytes.Buffer
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(files) || ctx.Err() != nil {
					return
				}
				name := filepath.Join(dir, filepath.FromSlash(files[i]))
				if s, err := limit.OpenSource(name, &buf); err != nil {
					results[i].problem = reason(name, err)
				} else {
					results[i].format = s.Format()
					results[i].w, results[i].h = s.Size()
				}
				mu.Lock()
				done++
				if opts.Progress != nil {
					opts.Progress(done, len(files))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("check %s: %w", dir, err)
	}

	r := &Report{Dir: dir, Files: len(files), Ignored: others, Formats: map[string]int{}, Broken: []Skipped{}, TooSmall: []Skipped{}}
	var short, long []int
	for i, res := range results {
		if res.problem != "" {
			r.Broken = append(r.Broken, Skipped{files[i], res.problem})
			continue
		}
		r.Formats[res.format]++
		short, long = append(short, min(res.w, res.h)), append(long, max(res.w, res.h))
		if why := tooSmall(res.w, res.h, opts.MinSide); why != "" {
			r.TooSmall = append(r.TooSmall, Skipped{files[i], why})
			continue
		}
		r.Usable++
	}
	r.Short, r.Long = distribution(short), distribution(long)
	return r, nil
}

// tooSmall returns why a picture of w×h is not used, or "".
func tooSmall(w, h, minSide int) string {
	if min(w, h) >= minSide {
		return ""
	}
	return fmt.Sprintf("%d×%d pixels are too small: the short side must be at least %d", w, h, minSide)
}

func distribution(v []int) Distribution {
	if len(v) == 0 {
		return Distribution{}
	}
	slices.Sort(v)
	return Distribution{Min: v[0], Median: v[len(v)/2], Max: v[len(v)-1]}
}
