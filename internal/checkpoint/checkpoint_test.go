package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stylenet/internal/atomicfile"
	"stylenet/internal/weights"
)

// sample returns a small snapshot whose every part depends on step and tag.
func sample(t testing.TB, step int, tag string) *Snapshot {
	t.Helper()
	x := float32(step) + float32(len(tag))/8
	set := func(names ...string) *weights.Set {
		s := &weights.Set{}
		for i, name := range names {
			data := []float32{x, -x, float32(i), float32(math.Copysign(0, -1)), 1e-45, float32(math.Inf(1))}
			if err := s.Add(name, []int{2, 3}, data); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	return &Snapshot{
		Step:           step,
		Seed:           1<<64 - 1,
		ElapsedSeconds: 0.1 + float64(step),
		MetricsBytes:   int64(step) * 100,
		Version:        "v0.1",
		Config:         "name: <" + tag + "> & é\n\u2028train:\n  lr: 1e-3\n",
		State:          json.RawMessage(`{"cursor":[18446744073709551615,"<a>"],"tag":"` + tag + `"}`),
		Model:          set("z.weight", "a.weight"),
		Metadata:       map[string]string{"architecture": "c9s1-32", "tag": tag},
		Optimizer:      set("z.weight.m", "z.weight.v"),
	}
}

// diff compares two snapshots; numbers by their bits.
func diff(want, got *Snapshot) string {
	bits := cmp.Transformer("bits", func(s *weights.Set) (lines []string) {
		for _, t := range s.Tensors() {
			line := fmt.Append(nil, t.Name, t.Shape)
			for _, f := range t.Data {
				line = fmt.Appendf(line, " %08x", math.Float32bits(f))
			}
			lines = append(lines, string(line))
		}
		return lines
	})
	return cmp.Diff(want, got, bits)
}

func mustWrite(t testing.TB, dir string, s *Snapshot, keep int) {
	t.Helper()
	if err := Write(dir, s, keep); err != nil {
		t.Fatal(err)
	}
}

// mustLatest checks what Latest returns, and its warnings by their text with
// dir cut off.
func mustLatest(t testing.TB, dir string, want *Snapshot, warnings ...string) {
	t.Helper()
	got, warned, err := Latest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(want, got); d != "" {
		t.Errorf("latest (-want +got):\n%s", d)
	}
	var texts []string
	for _, w := range warned {
		texts = append(texts, strings.TrimPrefix(w.String(), dir+string(filepath.Separator)))
	}
	if d := cmp.Diff(warnings, texts); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "checkpoints")
	s := sample(t, 1000, "a")
	mustWrite(t, dir, s, 3)
	mustLatest(t, dir, s)

	if got, want := names(t, dir), []string{"latest", "step-00001000"}; !slices.Equal(got, want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "latest")); err != nil || string(b) != "step-00001000\n" {
		t.Errorf("latest holds %q, %v", b, err)
	}
	step := filepath.Join(dir, "step-00001000")
	want := []string{"MANIFEST.json", "model.safetensors", "optimizer.safetensors", "state.json"}
	if got := names(t, step); !slices.Equal(got, want) {
		t.Errorf("%s holds %v, want %v", step, got, want)
	}

	var m struct {
		Format int
		Files  []struct {
			Name   string
			Size   int
			SHA256 string
		}
	}
	b, err := os.ReadFile(filepath.Join(step, "MANIFEST.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.Format != 1 || len(m.Files) != 3 {
		t.Errorf("manifest %+v", m)
	}
	for _, f := range m.Files {
		b, err := os.ReadFile(filepath.Join(step, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); f.Size != len(b) || f.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("manifest says %+v of %d bytes with sum %x", f, len(b), sum)
		}
	}

	// The names in state.json are read by other tools.
	var state map[string]any
	b, err = os.ReadFile(filepath.Join(step, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(state))
	wantKeys := []string{"config", "elapsed_seconds", "metrics_bytes", "seed", "state", "step", "stylenet_version"}
	if !slices.Equal(keys, wantKeys) {
		t.Errorf("state.json has %v, want %v", keys, wantKeys)
	}
}

func TestRoundTripOfLittle(t *testing.T) {
	dir := t.TempDir()
	s := &Snapshot{Model: &weights.Set{}, Optimizer: &weights.Set{}}
	mustWrite(t, dir, s, 1)
	mustLatest(t, dir, s)
}

func TestEqualSnapshotsGiveEqualBytes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	mustWrite(t, a, sample(t, 7, "x"), 1)
	mustWrite(t, b, sample(t, 7, "x"), 1)
	for _, name := range append(dataFiles[:], manifestFile) {
		x, err := os.ReadFile(filepath.Join(a, "step-00000007", name))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(filepath.Join(b, "step-00000007", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := []struct {
		name string
		keep int
		edit func(*Snapshot)
		want string
	}{
		{"keep", 0, func(*Snapshot) {}, "checkpoint of step 5: cannot keep 0 checkpoints: keep 1 or more"},
		{"step", 1, func(s *Snapshot) { s.Step = -1 }, "checkpoint of step -1: the step is negative"},
		{"model", 1, func(s *Snapshot) { s.Model = nil }, "checkpoint of step 5: the model or the optimizer is missing"},
		{"optimizer", 1, func(s *Snapshot) { s.Optimizer = nil }, "checkpoint of step 5: the model or the optimizer is missing"},
		{"config", 1, func(s *Snapshot) { s.Config = "\xff" }, "checkpoint of step 5: the config or the version is not UTF-8"},
		{"state", 1, func(s *Snapshot) { s.State = json.RawMessage("{") }, "checkpoint of step 5: state.json: "},
		{"elapsed", 1, func(s *Snapshot) { s.ElapsedSeconds = math.NaN() }, "checkpoint of step 5: state.json: json: unsupported value: NaN"},
		{"metadata", 1, func(s *Snapshot) { s.Metadata["x"] = "\xff" }, "step-00000005: safetensors: metadata \"x\" is not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := sample(t, 5, "a")
			tt.edit(s)
			err := Write(dir, s, tt.keep)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if left := names(t, dir); left != nil {
				t.Errorf("it left %v", left)
			}
		})
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	steps := func() (steps []int) {
		for _, name := range names(t, dir) {
			if step, suffix, ok := parseName(name); ok && suffix == "" {
				steps = append(steps, step)
			}
		}
		return steps
	}
	check := func(what string, want ...int) {
		t.Helper()
		if got := steps(); !slices.Equal(got, want) {
			t.Errorf("%s: steps %v, want %v", what, got, want)
		}
	}
	for _, step := range []int{10, 20, 30, 40} {
		mustWrite(t, dir, sample(t, step, "a"), 3)
	}
	check("keep 3", 20, 30, 40)

	// A checkpoint that is not whole counts for nothing while it is recent.
	if err := os.Remove(filepath.Join(dir, "step-00000040", stateFile)); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir, sample(t, 50, "a"), 3)
	check("40 is damaged", 20, 30, 40, 50)
	mustWrite(t, dir, sample(t, 60, "a"), 2)
	check("keep 2", 50, 60)
	mustWrite(t, dir, sample(t, 70, "a"), 2)
	check("keep 2 again", 60, 70)

	// The run went back to 60 and on to 65: 70 is of a future that it left.
	mustWrite(t, dir, sample(t, 65, "b"), 3)
	check("back to 65", 60, 65, 70)
	mustLatest(t, dir, sample(t, 65, "b"))
	mustWrite(t, dir, sample(t, 66, "b"), 3)
	check("on to 66", 60, 65, 66)

	mustWrite(t, dir, sample(t, 1, "c"), 1)
	check("keep 1", 1)
	mustLatest(t, dir, sample(t, 1, "c"))

	mustWrite(t, dir, sample(t, 123456789, "c"), 2)
	check("nine digits", 1, 123456789)
	mustLatest(t, dir, sample(t, 123456789, "c"))
}

func TestPruneLeavesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	other := []string{"best", "notes.txt", "step-1", "step-00000001.backup", "step-00000002.partial.old", "step-x"}
	for _, name := range other {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, dir, sample(t, 1, "a"), 1)
	mustWrite(t, dir, sample(t, 2, "a"), 1)
	want := append(other, "step-00000002", "latest")
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("directory holds %v, want %v", got, want)
	}
	mustLatest(t, dir, sample(t, 2, "a"))
}

func TestNone(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		_, _, err := Latest(dir)
		if !errors.Is(err, ErrNone) || err.Error() != dir+": no checkpoint" {
			t.Errorf("got %v", err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Latest(file); err == nil || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in place of the directory: %v", err)
	}
}

// crash is a fault injector: the step number at fails and, if it is a crash,
// all that follow.
type crash struct {
	at    int
	crash bool // or one error only

	count    int
	steps    []string
	unsynced map[string]bool
}

var errInjected = errors.New("injected fault")

func (c *crash) before(step, path string) error {
	n := c.count
	c.count++
	c.steps = append(c.steps, step+" "+filepath.Base(path))
	if n < c.at || n > c.at && !c.crash {
		switch step {
		case "create":
			if c.unsynced == nil {
				c.unsynced = map[string]bool{}
			}
			c.unsynced[path] = true
		case "sync":
			delete(c.unsynced, path)
		}
		return nil
	}
	if n == c.at && c.crash {
		// A power cut may keep any part of what was not synced.
		for path := range c.unsynced {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := os.Truncate(path, info.Size()*2/3); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%s %s: %w", step, path, errInjected)
}

// TestFailAtEachStep fails and crashes a write at each of its steps. After
// each, the old or the new checkpoint is there whole, and writing goes on.
func TestFailAtEachStep(t *testing.T) {
	scenarios := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		old     *Snapshot // what Latest returns before the write
		new     *Snapshot
		keep    int
	}{
		{"first", func(*testing.T, string) {}, nil, sample(t, 1, "new"), 1},
		{"next, pruned", func(t *testing.T, dir string) {
			mustWrite(t, dir, sample(t, 1, "older"), 2)
			mustWrite(t, dir, sample(t, 2, "old"), 2)
		}, sample(t, 2, "old"), sample(t, 3, "new"), 1},
		{"same step", func(t *testing.T, dir string) {
			mustWrite(t, dir, sample(t, 2, "old"), 1)
		}, sample(t, 2, "old"), sample(t, 2, "new"), 1},
		{"back in time", func(t *testing.T, dir string) {
			mustWrite(t, dir, sample(t, 1, "older"), 2)
			mustWrite(t, dir, sample(t, 2, "old"), 2)
		}, sample(t, 2, "old"), sample(t, 1, "new"), 1},
		{"leftovers", func(t *testing.T, dir string) {
			mustWrite(t, dir, sample(t, 4, "old"), 2)
			for _, name := range []string{"step-00000003.trash", "step-00000005.partial"} {
				if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(dir, "step-00000004"))); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(filepath.Join(dir, "step-00000004"), filepath.Join(dir, "step-00000004.replaced")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, ".stylenet-tmp-X"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}, sample(t, 4, "old"), sample(t, 5, "new"), 1},
	}
	for _, sc := range scenarios {
		for _, mode := range []string{"error", "crash"} {
			t.Run(sc.name+"/"+mode, func(t *testing.T) {
				t.Parallel() // they wait for the disk
				prepared := t.TempDir()
				sc.prepare(t, prepared)
				for k := 0; ; k++ {
					dir := copyOf(t, prepared)
					c := &crash{at: k, crash: mode == "crash"}
					err := disk{c.before}.write(dir, sc.new, sc.keep)
					if c.count <= k { // the write has no step k
						if err != nil {
							t.Fatal(err)
						}
						if k < 19 {
							t.Errorf("only %d steps: %q", k, c.steps)
						}
						break
					}
					if !errors.Is(err, errInjected) {
						t.Fatalf("step %d, %s: got error %v", k, c.steps[k], err)
					}
					checkAfterFault(t, dir, sc.old, sc.new, c)

					next := sample(t, 9, "next")
					mustWrite(t, dir, next, 1)
					mustLatest(t, dir, next)
					if got, want := names(t, dir), []string{"latest", "step-00000009"}; !slices.Equal(got, want) {
						t.Fatalf("step %d, %s: the next write left %v, want %v", k, c.steps[k], got, want)
					}
				}
			})
		}
	}
}

func checkAfterFault(t *testing.T, dir string, older, newer *Snapshot, c *crash) {
	t.Helper()
	at := fmt.Sprintf("step %d, %s", c.at, c.steps[c.at])
	got, warnings, err := Latest(dir)
	switch {
	case older == nil && errors.Is(err, ErrNone):
	case err != nil:
		t.Fatalf("%s: %v", at, err)
	case older != nil && diff(older, got) == "":
	case diff(newer, got) == "":
	default:
		t.Fatalf("%s: neither the old nor the new snapshot, but %s of step %d", at, got.State, got.Step)
	}
	for _, w := range warnings {
		// Between the parts of a replacement latest may name what is aside,
		// but nothing may be damaged.
		t.Errorf("%s: warning %v", at, w)
	}
	for _, name := range names(t, dir) {
		_, suffix, ok := parseName(name)
		if ok && suffix == "" {
			if _, err := Read(filepath.Join(dir, name)); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
		// After a mere error the write cleans up, unless that is what failed.
		temporary := suffix == partialSuffix || atomicfile.IsTemp(name)
		cleaning := strings.HasPrefix(c.steps[c.at], "remove ") ||
			!slices.ContainsFunc(c.steps, func(s string) bool { return strings.HasPrefix(s, "mkdir ") })
		if temporary && !c.crash && !cleaning {
			t.Errorf("%s: %s is left", at, name)
		}
	}
}

// TestReplacedComesBack: a checkpoint that was moved aside gets its name back
// when the new one does not come.
func TestReplacedComesBack(t *testing.T) {
	old := sample(t, 1, "old")
	check := func(t *testing.T, dir string, want ...string) {
		t.Helper()
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("directory holds %v, want %v", got, want)
		}
		s, err := Read(filepath.Join(dir, dirName(1)))
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(old, s); d != "" {
			t.Error(d)
		}
	}
	t.Run("at once", func(t *testing.T) {
		dir := t.TempDir()
		mustWrite(t, dir, old, 1)
		err := disk{func(step, path string) error {
			if step == "rename" && strings.HasSuffix(path, partialSuffix) {
				return errInjected
			}
			return nil
		}}.write(dir, sample(t, 1, "new"), 1)
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		check(t, dir, "latest", "step-00000001")
	})
	t.Run("at the next write", func(t *testing.T) {
		dir := t.TempDir()
		mustWrite(t, dir, old, 1)
		final := filepath.Join(dir, dirName(1))
		if err := os.Rename(final, final+replacedSuffix); err != nil {
			t.Fatal(err)
		}
		mustLatest(t, dir, old)
		mustWrite(t, dir, sample(t, 2, "next"), 2)
		check(t, dir, "latest", "step-00000001", "step-00000002")
	})
}

// TestStepOrder holds the order that makes a power cut harmless: files are
// synced before their directory, that before the rename, that before the old
// one goes, and the rename before latest moves.
func TestStepOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	mustWrite(t, dir, sample(t, 1, "older"), 2)
	mustWrite(t, dir, sample(t, 2, "old"), 2)
	c := &crash{at: math.MaxInt}
	if err := (disk{c.before}).write(dir, sample(t, 2, "new"), 1); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"mkdir step-00000002.partial",
		"create model.safetensors", "write model.safetensors", "sync model.safetensors",
		"create optimizer.safetensors", "write optimizer.safetensors", "sync optimizer.safetensors",
		"create state.json", "write state.json", "sync state.json",
		"create MANIFEST.json", "write MANIFEST.json", "sync MANIFEST.json",
		"syncdir step-00000002.partial",
		"rename step-00000002",
		"rename step-00000002.partial",
		"syncdir checkpoints",
		"rename step-00000002.replaced", "remove step-00000002.trash",
		"syncdir checkpoints", "syncdir " + filepath.Base(filepath.Dir(dir)),
		"write latest",
		"rename step-00000001", "remove step-00000001.trash",
	}
	if d := cmp.Diff(want, c.steps); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
}

// TestErrorNamesPath is what a user sees of a full disk.
func TestErrorNamesPath(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, sample(t, 1, "old"), 2)
	full := errors.New("no space left on device")
	err := disk{func(step, path string) error {
		if step == "write" && filepath.Base(path) == optimizerFile {
			return &fs.PathError{Op: "write", Path: path, Err: full}
		}
		return nil
	}}.write(dir, sample(t, 2, "new"), 1)
	if !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"checkpoint " + filepath.Join(dir, "step-00000002") + ": ",
		filepath.Join(dir, "step-00000002.partial", "optimizer.safetensors") + ": no space left on device",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if got, want := names(t, dir), []string{"latest", "step-00000001"}; !slices.Equal(got, want) {
		t.Errorf("directory holds %v, want %v", got, want)
	}
	mustLatest(t, dir, sample(t, 1, "old"))
}

// TestReadWhilePruned reads without pause while another goroutine writes and
// keeps one checkpoint only.
func TestReadWhilePruned(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, sample(t, 0, "a"), 1)
	done := make(chan error)
	go func() {
		var err error
		for step := 1; step < 60 && err == nil; step++ {
			err = Write(dir, sample(t, step/2, "a"), 1)
		}
		done <- err
	}()
	reads, last := 0, 0
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if reads == 0 || last == 0 {
				t.Errorf("%d reads, last of step %d", reads, last)
			}
			return
		default:
			s, _, err := Latest(dir)
			if err != nil {
				t.Fatalf("read %d: %v", reads, err)
			}
			if s.Step < last {
				t.Fatalf("read %d went from step %d back to %d", reads, last, s.Step)
			}
			if d := diff(sample(t, s.Step, "a"), s); d != "" {
				t.Fatal(d)
			}
			reads, last = reads+1, s.Step
		}
	}
}
