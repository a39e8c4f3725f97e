package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"stylenet/internal/networks"
	"stylenet/internal/vgg"
)

// newWeightsCmd makes stylenet weights: VGG-19's weights are fetched, taken from
// a file at hand, or looked at.
func newWeightsCmd() *cobra.Command {
	return group(&cobra.Command{
		Use:   "weights",
		Short: "Get VGG-19's weights, which measure content and style",
		Long: `Get VGG-19's weights, whose features measure content and style in training.

Training uses the file that the config key vgg.weights names, else the one that
STYLENET_VGG19 names, else the one that fetch or import has left in the cache.
Stylizing needs no VGG-19.`,
		Example: `  stylenet weights fetch
  stylenet weights import vgg19-d01eb7cb.pth
  stylenet weights check`,
	}, newWeightsFetchCmd(), newWeightsImportCmd(), newWeightsCheckCmd())
}

type weightsFetchOptions struct {
	url, output string
	force       bool
}

func newWeightsFetchCmd() *cobra.Command {
	o := &weightsFetchOptions{}
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Download torchvision's VGG-19 (548 MB) and keep its convolutions (80 MB)",
		Long: `Download VGG-19's weights and keep the convolutions.

The name of the file must carry the beginning of its SHA-256, as torchvision's
does, and the file is checked against it. A download that breaks off goes on
where it stopped when the command is run again.`,
		Example: `  stylenet weights fetch
  stylenet weights fetch -o vgg19.safetensors`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.url, "url", vgg.TorchvisionURL, "file to download")
	cmd.Flags().BoolVar(&o.force, "force", false, "download also when the file is there")
	weightsOutput(cmd, &o.output)
	return cmd
}

func (o *weightsFetchOptions) run(cmd *cobra.Command) error {
	dest, err := weightsDest(o.output)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dest); err == nil && !o.force {
		say(cmd, "%s is there already; --force downloads it again", dest)
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bar := newProgress(cmd, -1, "VGG-19")
	progressbar.OptionShowBytes(true)(bar)
	err = vgg.Fetch(cmd.Context(), http.DefaultClient, o.url, dest, func(done, total int64) {
		if total > 0 && bar.GetMax64() != total {
			bar.ChangeMax64(total)
		}
		_ = bar.Set64(done) // a terminal that is gone does not matter
	})
	_ = bar.Finish()
	if err != nil {
		return err
	}
	say(cmd, "wrote %s", dest)
	return nil
}

type weightsImportOptions struct {
	convention, output string
}

func newWeightsImportCmd() *cobra.Command {
	o := &weightsImportOptions{}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take VGG-19's weights from a .pth or .safetensors file at hand",
		Long: `Take VGG-19's weights from a file at hand and keep the convolutions.

What input the weights expect is told from the file where that is possible: from
its metadata, from torchvision's checksum, or from the values of the authors'
weights. Elsewhere --convention says it:
  caffe        RGB 0-255 minus 123.68, 116.779, 103.939
  caffe-bgr    the same in BGR order, as the authors' weights come
  torchvision  RGB 0-1 minus .485, .456, .406, divided by .229, .224, .225`,
		Example: `  stylenet weights import vgg19-dcbb9e9d.pth
  stylenet weights import my-vgg19.safetensors --convention torchvision`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.convention, "convention", vgg.Auto, "what input the weights expect: "+strings.Join(vggConventions(), ", "))
	complete(cmd, "convention", vggConventions()...)
	weightsOutput(cmd, &o.output)
	return cmd
}

// vggConventions are the inputs that a VGG-19 may expect.
func vggConventions() []string {
	return []string{vgg.Auto, string(networks.Caffe), string(networks.CaffeBGR), string(networks.Torchvision)}
}

func (o *weightsImportOptions) run(cmd *cobra.Command, file string) error {
	if !slices.Contains(vggConventions(), o.convention) {
		return usagef(cmd, "--convention %q: give %s", o.convention, strings.Join(vggConventions(), ", "))
	}
	dest, err := weightsDest(o.output)
	if err != nil {
		return err
	}
	if err := vgg.Import(file, dest, o.convention); err != nil {
		return err
	}
	say(cmd, "wrote %s", dest)
	return nil
}

type weightsCheckOptions struct {
	json bool
}

func newWeightsCheckCmd() *cobra.Command {
	o := &weightsCheckOptions{}
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say what a file of VGG-19 weights holds, and whether it can be used",
		Long: `Say what a file of VGG-19 weights holds, and whether it can be used. Without FILE
it is the one that training would use.`,
		Example: `  stylenet weights check
  stylenet weights check vgg19.safetensors --json | jq .convention`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return o.run(cmd, args[0])
			}
			path, err := vgg.Find("")
			if err != nil {
				return err
			}
			return o.run(cmd, path)
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the report as JSON")
	return cmd
}

func (o *weightsCheckOptions) run(cmd *cobra.Command, path string) error {
	r, err := vgg.Check(path)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, r)
	}
	return printWeights(cmd.OutOrStdout(), r)
}

func printWeights(out io.Writer, r *vgg.Report) error {
	fmt.Fprintf(out, "%s (%s)\nsha256      %s\nconvention  %s (told by %s)\n\n", r.File, r.Format, r.SHA256, r.Convention, r.ConventionFrom)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tensor\tshape\tmean |w|")
	for _, t := range r.Tensors {
		fmt.Fprintf(w, "%s\t%v\t%.5f\n", t.Name, t.Shape, t.MeanAbs)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Ignored > 0 {
		fmt.Fprintf(out, "%d other tensors are not used\n", r.Ignored)
	}
	_, err := fmt.Fprintf(out, "\n%s\n", r.Verdict)
	return err
}

// weightsOutput gives cmd the flag that weightsDest reads.
func weightsOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "file to write (default: the one in the cache that training finds)")
	completeFiles(cmd, "output", "safetensors")
}

// weightsDest is output, or the file in the cache.
func weightsDest(output string) (string, error) {
	if output != "" {
		return output, nil
	}
	return vgg.DefaultPath()
}
