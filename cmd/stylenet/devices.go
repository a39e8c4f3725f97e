package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/internal/devices"
	"stylenet/internal/kernels"
)

type devicesOptions struct {
	json bool
}

// deviceReport is what is known of one backend.
type deviceReport struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"` // with the instructions that its kernels use
	Threads     int      `json:"threads,omitempty"`
	Precisions  []string `json:"precisions,omitempty"`
	WithoutBF16 string   `json:"without_bf16,omitempty"` // why it has no bf16
	Missing     string   `json:"missing,omitempty"`      // why it cannot be used, and what to do
}

func newDevicesCmd() *cobra.Command {
	o := &devicesOptions{}
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List what this build can compute with",
		Long: `List what this build can compute with, the best first: the instructions that its
kernels use, the precisions that it has, and what is missing. --device takes the
names, --precision the precisions; auto and cpu stand for the first device.`,
		Example: `  stylenet devices
  stylenet devices --json | jq -r '.[].name'`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the list as JSON")
	return cmd
}

func (o *devicesOptions) run(cmd *cobra.Command) error {
	reports := listDevices()
	if o.json {
		return printJSON(cmd, reports)
	}
	for _, r := range reports {
		if r.Missing != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%-10s not available: %s\n", r.Name, r.Missing)
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s, %d threads\n", r.Name, r.Description, r.Threads)
		fmt.Fprintf(cmd.OutOrStdout(), "%-10s precision %s", "", strings.Join(r.Precisions, ", "))
		if r.WithoutBF16 != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "; no bf16: %s", r.WithoutBF16)
		}
		fmt.Fprintln(cmd.OutOrStdout())
	}
	return nil
}

func listDevices() []deviceReport {
	var reports []deviceReport
	for _, name := range devices.Names() {
		dev, err := devices.Open(name, devices.Options{})
		if err != nil {
			reports = append(reports, deviceReport{Name: name, Missing: err.Error()})
			continue
		}
		info := dev.Info()
		r := deviceReport{Name: name, Description: info.Description, Threads: info.Threads, Precisions: []string{info.Precision}}
		if err := dev.Close(); err != nil {
			r.Missing = err.Error()
		}
		if half, err := devices.Open(name, devices.Options{Precision: kernels.BF16}); err != nil {
			r.WithoutBF16 = err.Error()
		} else if err := half.Close(); err != nil {
			r.WithoutBF16 = err.Error()
		} else {
			r.Precisions = append(r.Precisions, kernels.BF16)
		}
		reports = append(reports, r)
	}
	if !slices.Contains(devices.Names(), "onednn") {
		reports = append(reports, deviceReport{Name: "onednn", Missing: "this build has plain Go kernels alone, which are many times slower: Go compiles no vector instructions; with a C compiler and libdnnl-dev, CGO_ENABLED=1 go build -tags onednn ./cmd/stylenet has it"})
	}
	return reports
}
