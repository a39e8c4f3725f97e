package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/configs"
	"stylenet/internal/devices"
	"stylenet/internal/kernels"
)

// newRootCmd builds the command line. Nothing of it is shared between calls.
func newRootCmd() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "stylenet",
		Short: "Train style-transfer networks and run them on pictures",
		Long: `stylenet trains networks that repaint photos in the style of a painting (Johnson
et al. 2016), of several, or of any, and runs them, and those of other systems, on
pictures of any size and on clips.`,
		Example: `  stylenet init                                    # write a commented stylenet.yaml
  stylenet train stylenet.yaml --out runs/starry   # learn the style
  stylenet export runs/starry -o starry.safetensors
  stylenet stylize --model starry.safetensors photo.jpg -o painted.png`,
		Version:       buildInfo().Version,
		SilenceErrors: true, // main reports them
		SilenceUsage:  true,
	},
		newInitCmd(), newDataCmd(), newWeightsCmd(), newTrainCmd(), newExportCmd(), newImportCmd(), newInspectCmd(), newStylizeCmd(), newEvalCmd(), newOptimizeCmd(), newAugmentCmd(),
		newBenchCmd(), newDemoCmd(), newDevicesCmd(), newVersionCmd(),
	)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%w", err) })
	strict(root)
	flags := root.PersistentFlags()
	flags.String("device", "auto", "what computes: auto, cpu, "+strings.Join(devices.Names(), ", "))
	flags.Int("threads", 0, "processor threads to use (0: one for each processor)")
	complete(root, "device", append([]string{"auto", "cpu"}, devices.Names()...)...)
	return root
}

// arithmetic is what the flags --exact and --precision choose; the zero value is
// their default.
type arithmetic struct {
	exact     bool
	precision string
}

func (a *arithmetic) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&a.exact, "exact", false, "no approximate kernels: slower, and equal to plain float32 arithmetic")
	flags.StringVar(&a.precision, "precision", kernels.Float32, "how feature maps are held: float32, or bf16 (faster, half the memory, close)")
	complete(cmd, "precision", kernels.Float32, kernels.BF16)
}

func (a *arithmetic) check(cmd *cobra.Command) error {
	switch {
	case a.precision != kernels.Float32 && a.precision != kernels.BF16:
		return usagef(cmd, "--precision %q: give float32 or bf16", a.precision)
	case a.exact && a.precision == kernels.BF16:
		return usagef(cmd, "--exact and --precision bf16: exact kernels compute in float32, give one of them")
	}
	return nil
}

// openDevice opens the device of the flags --device, --threads and those of a.
func openDevice(cmd *cobra.Command, a arithmetic) (kernels.Device, error) {
	name, err := cmd.Flags().GetString("device")
	if err != nil {
		return nil, err
	}
	if err := configs.CheckDevice("--device", name); err != nil {
		return nil, &usageError{err, "stylenet devices lists what this build has"}
	}
	threads, err := threadsFlag(cmd)
	if err != nil {
		return nil, err
	}
	dev, err := devices.Open(name, devices.Options{Threads: threads, Exact: a.exact, Precision: a.precision})
	if err != nil {
		return nil, &hinted{err, "stylenet devices lists what this build has"}
	}
	return dev, nil
}

// threadsFlag is the value of --threads, 0 for as many as there are processors.
func threadsFlag(cmd *cobra.Command) (int, error) {
	n, err := cmd.Flags().GetInt("threads")
	if err == nil && (n < 0 || n > configs.MaxThreads) {
		err = usagef(cmd, "--threads is %d; give 1 to %d, or 0 for one for each processor", n, configs.MaxThreads)
	}
	return n, err
}

// complete makes the shell offer values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(fmt.Sprintf("completion of --%s: %v", flag, err)) // the flag does not exist
	}
}

// completeFiles makes the shell offer files with those extensions for a flag.
func completeFiles(cmd *cobra.Command, flag string, extensions ...string) {
	if err := cmd.MarkFlagFilename(flag, extensions...); err != nil {
		panic(fmt.Sprintf("completion of --%s: %v", flag, err)) // the flag does not exist
	}
}
