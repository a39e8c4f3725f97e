package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"stylenet/internal/devices"
)

type devicesOptions struct {
	json bool
}

// deviceReport is what is known of one backend.
type deviceReport struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Threads     int    `json:"threads,omitempty"`
	Missing     string `json:"missing,omitempty"` // why it cannot be used, and what to do
}

func newDevicesCmd() *cobra.Command {
	o := &devicesOptions{}
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List what this build can compute with",
		Long: `List what this build can compute with, the best first, and what is missing.
--device takes the names; auto and cpu stand for the first.`,
		Example: `  stylenet devices
  stylenet devices --json | jq -r '.[].name'`,
		Args: args(cobra.NoArgs),
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
		} else {
			fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s, %d threads\n", r.Name, r.Description, r.Threads)
		}
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
		r := deviceReport{Name: name, Description: info.Description, Threads: info.Threads}
		if err := dev.Close(); err != nil {
			r.Missing = err.Error()
		}
		reports = append(reports, r)
	}
	if !slices.Contains(devices.Names(), "onednn") {
		reports = append(reports, deviceReport{Name: "onednn", Missing: "this build has plain Go kernels alone, which are many times slower; with a C compiler and libdnnl-dev, CGO_ENABLED=1 go build -tags onednn ./cmd/stylenet has it"})
	}
	return reports
}
