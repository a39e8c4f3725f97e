// Package checkpoint keeps atomic, checksummed, resumable snapshots of a
// training run, and the lock that keeps a second trainer out of it.
//
// A checkpoint is a directory:
//
//	RUN/checkpoints/
//	  latest                    text: the directory of the newest checkpoint
//	  step-00001000/
//	    model.safetensors       the network, with the caller's metadata
//	    optimizer.safetensors   the optimiser's moments
//	    state.json              step, seed, config, progress, the caller's state
//	    MANIFEST.json           size and SHA-256 of the three files
//
// It is written beside its final place under another name, synced, renamed,
// and only then named by latest. After a crash at any point each checkpoint is
// therefore complete or absent. Other names in the directory exist only during
// a write or after a crash:
//
//	step-00001000.partial    being written
//	step-00001000.replaced   the old one while a new one of the same step takes its place
//	step-00001000.trash      being removed
//
// The package owns the layout, the checksums, the order of trust and the
// pruning. It refuses to know what the tensors and the caller's state mean.
package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"stylenet/internal/atomicfile"
	"stylenet/internal/weights"
)

// Snapshot is all that a run needs to go on exactly where it stood.
type Snapshot struct {
	// Step counts the training steps that are done.
	Step int `json:"step"`
	// Seed is the run's seed.
	Seed uint64 `json:"seed"`
	// ElapsedSeconds is the training time so far, over all resumes.
	ElapsedSeconds float64 `json:"elapsed_seconds"`
	// MetricsBytes is the length of metrics.jsonl at this step. A resume cuts
	// the log to it, so that no step is logged twice.
	MetricsBytes int64 `json:"metrics_bytes"`
	// Version is the stylenet that wrote the snapshot.
	Version string `json:"stylenet_version"`
	// Config is the resolved configuration as YAML, UTF-8.
	Config string `json:"config"`
	// State is the caller's own state as JSON: the data cursor, random states,
	// the loss scale. It comes back without insignificant space.
	State json.RawMessage `json:"state,omitempty"`

	// Model holds the network's parameters, in float32 bit for bit.
	Model *weights.Set `json:"-"`
	// Metadata is the metadata of model.safetensors.
	Metadata map[string]string `json:"-"`
	// Optimizer holds the optimiser's moments, bit for bit. It may be empty.
	Optimizer *weights.Set `json:"-"`
}

// ErrNone is what Latest returns, wrapped, for a directory without any
// checkpoint.
var ErrNone = errors.New("no checkpoint")

// Warning tells of a fault that Latest worked around.
type Warning struct {
	Path string // the file at fault
	Err  error  // what is wrong with it
}

func (w Warning) String() string { return w.Path + ": " + w.Err.Error() }

const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	manifestFile  = "MANIFEST.json"
	latestFile    = "latest"

	partialSuffix  = ".partial"
	replacedSuffix = ".replaced"
	trashSuffix    = ".trash"
)

// dataFiles are the files that a manifest lists, in its order.
var dataFiles = [...]string{modelFile, optimizerFile, stateFile}

func dirName(step int) string { return fmt.Sprintf("step-%08d", step) }

// parseName splits the name of a checkpoint's directory into its step and its
// suffix, such as ".partial" or "". ok is false for names of anything else.
func parseName(name string) (step int, suffix string, ok bool) {
	base, suffix, found := strings.Cut(name, ".")
	if found {
		suffix = "." + suffix
	}
	step, err := strconv.Atoi(strings.TrimPrefix(base, "step-"))
	if err != nil || step < 0 || dirName(step) != base {
		return 0, "", false
	}
	return step, suffix, true
}

// Owns reports whether an entry of a directory is one that Write or Lock makes
// there, complete or not.
func Owns(name string) bool {
	_, _, ok := parseName(name)
	return ok || name == latestFile || name == lockFile || atomicfile.IsTemp(name)
}

// Remove removes from a directory what Write makes there, and the directory where
// nothing else is in it. Only the holder of the lock may do so.
func Remove(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil // there is nothing to remove
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := e.Name()
		if _, _, step := parseName(name); step {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
		} else if Owns(name) && name != lockFile { // files, and no directory of another program
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	atomicfile.RemoveEmpty(dir)
	return err
}

// HoldsSteps reports whether a directory, which need not exist, holds a checkpoint
// of a step after 0, complete or not.
func HoldsSteps(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		step, suffix, ok := parseName(e.Name())
		return ok && step > 0 && (suffix == "" || suffix == replacedSuffix)
	}), err
}

// list returns the names of the checkpoints in dir, complete or not, most
// trusted first, and a warning if the file latest is no help.
//
// The order starts at the checkpoint that latest names and goes back in time.
// Later steps come last: they belong to a future that the run left when it was
// resumed from an earlier checkpoint, or to a write that did not finish.
func list(dir string) ([]string, []Warning, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	type checkpoint struct {
		name     string
		step     int
		replaced bool
	}
	var found []checkpoint
	for _, e := range entries {
		step, suffix, ok := parseName(e.Name())
		if ok && (suffix == "" || suffix == replacedSuffix) {
			found = append(found, checkpoint{e.Name(), step, suffix != ""})
		}
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}

	var warnings []Warning
	latest, err := readLatest(dir)
	exists := slices.ContainsFunc(found, func(c checkpoint) bool { return c.step == latest })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		latest = math.MaxInt // a crash just before the first latest was written
	case err != nil:
		warnings = append(warnings, Warning{filepath.Join(dir, latestFile), err})
		latest = math.MaxInt
	case !exists:
		warnings = append(warnings, Warning{filepath.Join(dir, latestFile), fmt.Errorf("it names %s, which does not exist", dirName(latest))})
	}

	slices.SortFunc(found, func(a, b checkpoint) int {
		return cmp.Or(
			boolCompare(a.step > latest, b.step > latest),
			cmp.Compare(b.step, a.step),
			boolCompare(a.replaced, b.replaced),
		)
	})
	names := make([]string, len(found))
	for i, c := range found {
		names[i] = c.name
	}
	return names, warnings, nil
}

// boolCompare orders false before true.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// readLatest returns the step that the file latest names.
func readLatest(dir string) (int, error) {
	b, err := readFile(filepath.Join(dir, latestFile), maxLatest)
	if err != nil {
		return 0, err
	}
	step, suffix, ok := parseName(strings.TrimSuffix(string(b), "\n"))
	if !ok || suffix != "" {
		return 0, fmt.Errorf("it holds %q, not the name of a checkpoint", b)
	}
	return step, nil
}
