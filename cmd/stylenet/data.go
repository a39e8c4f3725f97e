package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/data"
)

type dataCheckOptions struct {
	json bool
}

func newDataCmd() *cobra.Command {
	return group(&cobra.Command{
		Use:   "data",
		Short: "Look at folders of training photos, and prepare them",
		Long:  "Look at folders of training photos, and prepare them for fast training.",
		Example: `  stylenet data check photos
  stylenet data prepare --photos photos -o photos.sndata`,
	}, newDataCheckCmd(), newDataPrepareCmd())
}

func newDataCheckCmd() *cobra.Command {
	o := &dataCheckOptions{}
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Count the photos of a folder and find the broken ones",
		Long: `Decode every picture under DIR and say how many training can use, how large
they are, and which are broken or too small. Training skips those.

It fails if not a single picture can be used.`,
		Example: `  stylenet data check photos
  stylenet data check photos --json | jq -r '.broken[].path'`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the report as JSON")
	return cmd
}

func (o *dataCheckOptions) run(cmd *cobra.Command, dir string) error {
	threads, err := threadsFlag(cmd)
	if err != nil {
		return err
	}
	bar := newProgress(cmd, -1, "checking")
	r, err := data.Check(cmd.Context(), dir, data.CheckOptions{Workers: threads, Progress: func(done, total int) {
		bar.ChangeMax(total)
		_ = bar.Set(done) // a terminal that is gone does not matter
	}})
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(cmd, r)
	} else {
		printReport(cmd.OutOrStdout(), r)
	}
	if err == nil && r.Usable == 0 {
		err = fmt.Errorf("%s holds no picture that training can use", dir)
	}
	return err
}

func printReport(w io.Writer, r *data.Report) {
	fmt.Fprintf(w, "%s: %d of %d pictures are usable, %d other files\n", r.Dir, r.Usable, r.Files, r.Ignored)
	if len(r.Formats) > 0 {
		var formats []string
		for _, name := range slices.Sorted(maps.Keys(r.Formats)) {
			formats = append(formats, fmt.Sprintf("%d %s", r.Formats[name], name))
		}
		fmt.Fprintf(w, "formats: %s\n", strings.Join(formats, ", "))
		fmt.Fprintf(w, "short sides: %d to %d pixels, median %d\n", r.Short.Min, r.Short.Max, r.Short.Median)
		fmt.Fprintf(w, "long sides: %d to %d pixels, median %d\n", r.Long.Min, r.Long.Max, r.Long.Median)
	}
	for _, list := range []struct {
		name  string
		files []data.Skipped
	}{{"broken", r.Broken}, {"too small", r.TooSmall}} {
		if len(list.files) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s: %d\n", list.name, len(list.files))
		for _, s := range list.files {
			fmt.Fprintf(w, "  %s: %s\n", s.Path, s.Reason)
		}
	}
}
