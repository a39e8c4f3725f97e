// Package inferencetest runs a network once, for tests that compare its result with
// what another system made of the same picture.
//
// It owns the steps from weights to values. It refuses to judge them.
package inferencetest

import (
	"testing"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
)

// Run is what the network makes of a picture on a device: planes of h×w values in,
// planes of whatever size the last layer has out. It fails the test where the network
// cannot be run.
func Run(t testing.TB, dev kernels.Device, net *networks.Network, set *weights.Set, picture []float32, h, w int) []float32 {
	t.Helper()
	arrays, err := inference.Upload(dev, net, set)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := inference.Compile(dev, net, arrays, 1, h, w)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if err := plan.Device().Upload(plan.Input(), picture); err != nil {
		t.Fatal(err)
	}
	plan.Run()
	s := plan.Output(0).Shape()
	out := make([]float32, s.N*s.C*s.H*s.W)
	if err := plan.Device().Download(out, plan.Output(0)); err != nil {
		t.Fatal(err)
	}
	return out
}
