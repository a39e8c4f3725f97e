//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/networks"
	"stylenet/internal/scenes"
	"stylenet/train"
)

// newTraining makes a folder with photos, one of them broken, a painting, the
// start of a VGG-19 and a config.yaml of a training that takes a moment.
func newTraining(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "photos"), 0o777))
	for i := range uint64(5) {
		must(writeImage(filepath.Join(dir, "photos", fmt.Sprintf("%d.png", i)), scenes.Photo(i, 64, 64), png.Encode))
	}
	must(os.WriteFile(filepath.Join(dir, "photos", "broken.jpg"), []byte("no picture"), 0o666))
	must(writeImage(filepath.Join(dir, "style.png"), scenes.Photo(7, 64, 64), png.Encode))
	net, err := networks.VGG19("relu1_1", networks.Caffe, false)
	must(err)
	set, err := net.Init(1)
	must(err)
	must(atomicfile.Write(filepath.Join(dir, "vgg.safetensors"), 0o666, func(w io.Writer) error {
		return safetensors.Encode(w, set, nil, safetensors.F32)
	}))
	must(os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(`name: tiny
data: {dir: photos, size: 32, flip: true, scale_max: 1.5}
style: {image: style.png, size: 32}
vgg: {weights: vgg.safetensors, convention: caffe}
network: {architecture: "c3s1-8,d8,R8,u8,c3s1-3", norm: batch}
loss: {content: {layers: {relu1_1: 1}}, style: {layers: {relu1_1: 1}}}
train: {batch: 2, threads: 1, steps: 20, checkpoint_every: 2, preview_every: 0, clip_norm: 1}
`), 0o666))
	t.Chdir(dir)
	return dir
}

// program runs this test binary as stylenet.
func program(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("stylenet", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

func mustRun(t *testing.T, args ...string) {
	t.Helper()
	cmd, stderr := program(args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr)
	}
}

// sameRuns compares all that may not depend on stops.
func sameRuns(t *testing.T, got, want string) {
	t.Helper()
	latest := func(dir string) string {
		b, err := os.ReadFile(filepath.Join(dir, "checkpoints", "latest"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	if g, w := latest(got), latest(want); g != w {
		t.Fatalf("%s ends with %s, %s with %s", got, g, want, w)
	}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		g, err := os.ReadFile(filepath.Join(got, "checkpoints", latest(got), name))
		w, err2 := os.ReadFile(filepath.Join(want, "checkpoints", latest(want), name))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(g, w) {
			t.Errorf("%s: %s differs from that of %s", got, name, want)
		}
	}
	if g, w := metricsOf(t, got), metricsOf(t, want); g != w {
		t.Errorf("the log of %s is\n%s\nthat of %s is\n%s", got, g, want, w)
	}
}

func metricsOf(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all strings.Builder
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m train.Metrics
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		m.ImagesPerSecond = 0
		fmt.Fprintf(&all, "%+v\n", m)
	}
	return all.String()
}

// A run that is killed again and again ends as one that is not.
func TestTrainSurvivesKill(t *testing.T) {
	newTraining(t)
	mustRun(t, "train", "config.yaml", "--out", "straight")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	for round := 0; round < 6 || killed == 0 && round < 60; round++ {
		args := []string{"train", "--json", "--resume", "run"}
		if _, err := os.Stat("run/config.yaml"); err != nil {
			args = []string{"train", "--json", "config.yaml", "--out", "run"}
		}
		cmd, stderr := program(args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Some at any time, some after a step, so that the run gets on.
		after := random.IntN(5)
		kill := func(most time.Duration) {
			time.AfterFunc(time.Duration(random.Int64N(int64(most))), func() { _ = cmd.Process.Kill() })
		}
		if round%3 == 0 {
			kill(200 * time.Millisecond)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); after-- {
			if after == 0 && round%3 != 0 {
				kill(30 * time.Millisecond)
			}
		}
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			killed++
		} else if !cmd.ProcessState.Success() {
			t.Fatalf("%v: %v\n%s", args, cmd.ProcessState, stderr)
		} else if killed == 0 { // it was too quick: begin anew
			if err := os.RemoveAll("run"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if killed == 0 {
		t.Fatal("the run was never killed")
	}
	if _, err := os.Stat("run/config.yaml"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "train", "--resume", "run")
	t.Logf("killed %d times", killed)
	sameRuns(t, "run", "straight")
}

func TestTrainStopsAtASignal(t *testing.T) {
	newTraining(t)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir := fmt.Sprintf("run%d", signal)
		cmd, stderr := program("train", "config.yaml", "--out", dir, "--json", "--set", "train.steps=100000", "--set", "train.checkpoint_every=0")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var last train.Metrics
		for lines := bufio.NewScanner(out); lines.Scan(); {
			d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			d.DisallowUnknownFields()
			step := last.Step
			if err := d.Decode(&last); err != nil || last.Step != step+1 || !(last.Loss > 0 && last.LearningRate == 1e-3 && last.ImagesPerSecond > 0) {
				t.Fatalf("%v in %s", err, lines.Text())
			}
			if last.Step == 3 { // by now all files were met
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%v: exit code %d\n%s", signal, code, stderr)
		}
		for _, want := range []string{
			"warning: 1 of 6 photos could not be used and were skipped:\n  broken.jpg: not a picture",
			fmt.Sprintf("error: interrupted at step %d of 100000; the run is saved: ", last.Step),
			"hint: go on with it: stylenet train --resume " + dir + "\n",
		} {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%v: printed\n%s\nwithout %s", signal, stderr, want)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "checkpoints", fmt.Sprintf("step-%08d", last.Step), "MANIFEST.json")); err != nil {
			t.Error(err)
		}
		steps := fmt.Sprintf("train.steps=%d", last.Step+2)
		mustRun(t, "train", "--resume", dir, "--set", steps)
		mustRun(t, "train", "config.yaml", "--out", dir+"straight", "--set", steps, "--set", "train.checkpoint_every=0")
		sameRuns(t, dir, dir+"straight")
	}
}

// A disk that is full ends a run with a clear error; once there is room the run
// goes on as if nothing had been.
func TestTrainOnAFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs tmpfs and mount namespaces")
	}
	newTraining(t)
	const steps = "train.steps=12"
	mustRun(t, "train", "config.yaml", "--out", "straight", "--set", steps, "--set", "train.keep_checkpoints=9")
	const mount = "mkdir -p small && mount -t tmpfs -o size=420k tmpfs small"
	for _, flags := range []string{"-m", "-rm"} { // as root, or in a user namespace
		if exec.Command("unshare", flags, "sh", "-c", mount).Run() != nil {
			continue
		}
		cmd := exec.Command("unshare", flags, "sh", "-c", mount+` && head -c 230k /dev/zero >small/ballast || exit 90
			stylenet train config.yaml --out small/run --set `+steps+` --set train.keep_checkpoints=9
			code=$?
			rm small/ballast
			stylenet train --resume small/run && cp -R small/run run || exit 91
			exit $code`)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 1 {
			t.Fatalf("exit code %d\n%s", code, &stderr)
		}
		if !strings.Contains(stderr.String(), "error: checkpoint ") || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("printed\n%s", &stderr)
		}
		sameRuns(t, "run", "straight")
		return
	}
	t.Skip("cannot mount a small tmpfs here")
}

func TestTrainErrors(t *testing.T) {
	newTraining(t)
	mustRun(t, "train", "config.yaml", "--out", "run", "--set", "train.steps=1")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"config.yaml --out run", 1, "error: run holds a run already\nhint: go on with it: stylenet train --resume run; or choose another --out\n"},
		{"--resume photos", 1, "error: photos holds no run to resume: there is no config.yaml in it\n"},
		{"--resume run config.yaml", 2, "error: --resume goes on with a run and takes no CONFIG or --out\nhint: see stylenet train --help\n"},
		{"", 2, "error: give a CONFIG to start a run, or --resume RUN to go on with one\nhint: see stylenet train --help\n"},
		{"nothing.yaml", 1, "error: read config: open nothing.yaml: no such file or directory, and no preset has that name"},
		{"config.yaml --out new --set train.lr=1e30", 1, "error: step 2: the loss is "},
		{"config.yaml --out other --device reference --set train.size=3", 2, `error: --set train.size`},
		{"config.yaml --out other --device tpu", 2, `error: --device must be auto, `},
		{"--resume run --set train.lr=-1", 2, `error: --set train.lr must be above 0, got -1`},
		{"config.yaml --out other/deep --set data.dir=none", 1, "error: data.dir: stat "},
		{"config.yaml --out other/deep --set vgg.weights=none", 1, "error: VGG-19 weights named by vgg.weights: "},
	} {
		root := newRootCmd()
		root.SetArgs(append([]string{"train"}, strings.Fields(c.args)...))
		var b bytes.Buffer
		root.SetErr(&b)
		root.SetOut(&b)
		err := root.ExecuteContext(t.Context())
		if code := report(&b, err); code != c.code || !strings.Contains(b.String(), c.want) {
			t.Errorf("train %s: code %d and %q, want %d and %q", c.args, code, b.String(), c.code, c.want)
		}
		if _, err := os.Lstat("other"); !os.IsNotExist(err) {
			t.Errorf("train %s: leaves something: %v", c.args, err)
		}
		if strings.Contains(c.args, "1e30") && !strings.Contains(b.String(), "\nhint: resume it with a lower train.lr") {
			t.Errorf("train %s: %q has no hint", c.args, b.String())
		}
	}
}
