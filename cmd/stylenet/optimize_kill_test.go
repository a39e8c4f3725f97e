//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A run that is killed, or interrupted, and goes on ends with the same bytes as
// one that is not.
func TestOptimizeSurvivesKill(t *testing.T) {
	newTraining(t)
	args := []string{
		"optimize", "--content", "photos/1.png", "--style", "style.png", "--size", "64", "--scales", "2", "--steps", "12", "--history", "4",
		"--set", "vgg={weights: vgg.safetensors, convention: caffe}", "--content-layers", "relu1_1", "--style-layers", "relu1_1",
		"--checkpoint-every", "2", "--threads", "1", "--json",
	}
	mustRun(t, append(args, "-o", "straight.png")...)
	want, err := os.ReadFile("straight.png")
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
		stopped, last := 0, ""
		out := "out.png"
		for round := 0; ; round++ {
			if round == 40 {
				t.Fatalf("%v: no end\n%s", signal, last)
			}
			command := append(args, "-o", out)
			if entries, err := filepath.Glob(out + ".state/step-*"); err == nil && len(entries) > 0 {
				command = []string{"optimize", "--resume", out, "--json"}
			}
			cmd, stderr := program(command...)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// After a few steps, some of which saved a state.
			d := json.NewDecoder(stdout)
			for n := 0; ; n++ {
				var line optimizeReport
				if d.Decode(&line) != nil {
					break
				}
				if n == 3+round%2 {
					time.Sleep(time.Duration(round%3) * time.Millisecond)
					_ = cmd.Process.Signal(signal)
				}
			}
			_ = cmd.Wait()
			last = fmt.Sprint(stderr)
			if cmd.ProcessState.Success() {
				break
			}
			stopped++
			if signal == os.Interrupt && !strings.Contains(fmt.Sprint(stderr), "error: interrupted; the state is saved: ") {
				t.Fatalf("interrupted, it printed\n%s", stderr)
			}
		}
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("stopped %d times by %v, the result differs", stopped, signal)
		}
		if stopped < 2 {
			t.Errorf("stopped %d times by %v", stopped, signal)
		}
		if _, err := os.Stat(out + ".state"); !os.IsNotExist(err) {
			t.Errorf("the state is left: %v", err)
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
}
