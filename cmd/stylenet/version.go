package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"stylenet/internal/devices"
)

// version is set by the linker: -X main.version=v1.2.3.
var version string

// buildReport says what this binary is.
type buildReport struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Backend  string `json:"backend"` // the best of the build, which --device auto means where it works
}

func buildInfo() buildReport {
	r := buildReport{
		Version: version, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Backend: devices.Names()[0],
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if r.Version == "" {
			r.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				r.Commit = s.Value
			}
		}
	}
	if r.Version == "" {
		r.Version = "unknown"
	}
	return r
}

type versionOptions struct {
	json bool
}

func newVersionCmd() *cobra.Command {
	o := &versionOptions{}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print what this binary is",
		Long:  "Print the version, the Go that built it, and the best backend of the build, which --device auto means where it works.",
		Example: `  stylenet version
  stylenet version --json | jq -r .version`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print it as JSON")
	return cmd
}

func (o *versionOptions) run(cmd *cobra.Command) error {
	r := buildInfo()
	if o.json {
		return printJSON(cmd, r)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "stylenet %s %s %s, backend %s\n", r.Version, r.Go, r.Platform, r.Backend)
	return err
}
