package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"stylenet/export"
	"stylenet/internal/formats/onnx"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/sanity"
)

type inspectOptions struct {
	layers  bool
	noCheck bool
	json    bool
}

// inspectReport is what --json prints.
type inspectReport struct {
	File         string            `json:"file"`
	Bytes        int64             `json:"bytes,omitempty"` // of a single file
	Format       string            `json:"format"`
	Producer     string            `json:"producer,omitempty"`
	Kind         string            `json:"kind"`
	Architecture string            `json:"architecture"`
	Kinds        map[string]int    `json:"layers"` // how many of each kind
	Parameters   int               `json:"parameters"`
	Tensors      int               `json:"tensors"`
	Input        *onnx.Port        `json:"input,omitempty"` // as the file declares it
	Output       *onnx.Port        `json:"output,omitempty"`
	Multiple     int               `json:"multiple"` // sides are rounded up to this, inside
	Least        int               `json:"least"`    // and are at least this, inside
	Styles       []string          `json:"styles,omitempty"`
	Convention   string            `json:"convention"`
	Why          string            `json:"why"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Notes        []string          `json:"notes,omitempty"`
	Check        *sanity.Report    `json:"check,omitempty"`
	Instead      []string          `json:"instead,omitempty"` // conventions without a warning
	Network      []networks.Layer  `json:"network,omitempty"` // with --layers
}

func newInspectCmd() *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what a model file holds, and whether it works",
		Long: `Say what a model file, a run or a checkpoint holds: its format and who wrote it,
the network and its size, what the network takes and gives for a picture and why
that is believed, and what else the file says.

The network is also run on a grey and on a drawn picture (128×128). What no style
network gives that is run as it was trained, such as black, one colour or values
far outside 0 to 255, is a warning, and then the other conventions are tried.

` + conventionHelp,
		Example: `  stylenet inspect candy.onnx
  stylenet inspect mine.pth --convention torchvision
  stylenet inspect runs/starry --json | jq .check`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	cmd.Flags().BoolVar(&o.layers, "layers", false, "list the layers")
	cmd.Flags().BoolVar(&o.noCheck, "no-check", false, "do not run the network")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the report as JSON")
	addConvention(cmd)
	return cmd
}

func (o *inspectOptions) run(cmd *cobra.Command, path string) error {
	opened, err := o.open(cmd, path)
	if err != nil {
		return err
	}
	r, err := describe(path, opened)
	if err != nil {
		return err
	}
	if !o.noCheck {
		if err := o.check(cmd, path, opened, r); err != nil {
			return err
		}
	}
	if o.layers {
		net, err := opened.Model.Network.Build()
		if err != nil {
			return err
		}
		r.Network = net.Layers
	}
	if o.json {
		return printJSON(cmd, r)
	}
	return r.print(cmd.OutOrStdout())
}

// open reads a model file, or the model of a run or checkpoint, of which only the
// model is known.
func (o *inspectOptions) open(cmd *cobra.Command, path string) (*model.Opened, error) {
	if !export.IsModel(path) {
		m, err := loadModel(cmd, path)
		if err != nil {
			return nil, err
		}
		return model.OfRun(m), nil
	}
	asked, err := convention(cmd)
	if err != nil {
		return nil, err
	}
	opened, err := model.ReadAs(path, asked)
	return opened, conventionFault(cmd, err)
}

// describe fills a report with what was opened.
func describe(path string, opened *model.Opened) (*inspectReport, error) {
	m := opened.Model
	net, err := m.Network.Build()
	if err != nil {
		return nil, err
	}
	r := &inspectReport{
		File: path, Format: opened.File.Format, Kind: opened.Kind,
		Architecture: m.Network.String(), Kinds: map[string]int{}, Parameters: m.Weights.Elements(), Tensors: m.Weights.Len(),
		Styles: m.Styles(), Convention: opened.Convention.String(), Why: opened.Why, Metadata: map[string]string{},
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		r.Bytes = info.Size()
	}
	if r.Multiple, r.Least, err = net.Multiple(); err != nil {
		return nil, err
	}
	for _, l := range net.Layers {
		r.Kinds[networks.Kind(l.Op)]++
	}
	for key, value := range opened.File.Metadata {
		r.Metadata[key] = value
	}
	if info := opened.File.ONNX; info != nil {
		r.Format = fmt.Sprintf("%s, opset %d, IR %d", opened.File.Format, info.Opset, info.IR)
		r.Producer, r.Notes, r.Input, r.Output = info.Producer, info.Notes, &info.Input, &info.Output
		if info.Doc != "" {
			r.Metadata["description"] = info.Doc
		}
	}
	if m.Version != "" && r.Producer == "" {
		r.Producer = "stylenet " + m.Version
	}
	return r, nil
}

// check runs the network, and where that looks wrong tries the other conventions.
func (o *inspectOptions) check(cmd *cobra.Command, path string, opened *model.Opened, r *inspectReport) (err error) {
	dev, err := openDevice(cmd, arithmetic{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if r.Check, err = sanity.Check(dev, opened.Model); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(r.Check.Warnings) == 0 || opened.Kind == model.KindStylenet {
		return nil
	}
	for _, c := range networks.Conventions() {
		other := model.Convention{In: c, Out: c}
		if other == opened.Convention {
			continue
		}
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		tried, err := model.Read(path, &other)
		if err != nil {
			return err
		}
		checked, err := sanity.Check(dev, tried.Model)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if checked.Skipped == "" && len(checked.Warnings) == 0 {
			r.Instead = append(r.Instead, other.String())
		}
	}
	return nil
}

// print writes the report for people.
func (r *inspectReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) {
		// What a file says may not break the table, or the terminal.
		fmt.Fprintf(w, "%s\t%s\n", printable(key), printable(fmt.Sprintf(format, args...)))
	}
	line("file", "%s", r.File)
	if r.Bytes > 0 {
		line("bytes", "%d", r.Bytes)
	}
	line("format", "%s", r.Format)
	if r.Producer != "" {
		line("producer", "%s", r.Producer)
	}
	line("kind", "%s", r.Kind)
	line("architecture", "%s", r.Architecture)
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(r.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", r.Kinds[k], k))
	}
	line("layers", "%s", strings.Join(kinds, ", "))
	line("parameters", "%d in %d tensors", r.Parameters, r.Tensors)
	for _, p := range []struct {
		key string
		*onnx.Port
	}{{"input", r.Input}, {"output", r.Output}} {
		if p.Port != nil {
			line(p.key, "%s: %s %s (%s)", p.Name, p.Type, p.Shape, p.Layout)
		}
	}
	line("sizes", "any; inside, sides are rounded up to a multiple of %d, at least %d", r.Multiple, r.Least)
	if len(r.Styles) > 0 {
		line("styles", "%s", strings.Join(r.Styles, ", "))
	}
	line("convention", "%s: %s", r.Convention, r.Why)
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		if key == "stylenet.network" {
			continue // the architecture
		}
		line("metadata", "%s: %s", key, r.Metadata[key])
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	if r.Check != nil {
		r.printCheck(line)
	}
	for i, l := range r.Network {
		line(fmt.Sprint(i), "%s: %s %+v of %v", l.Name, networks.Kind(l.Op), l.Op, l.Inputs)
	}
	return w.Flush()
}

func (r *inspectReport) printCheck(line func(key, format string, args ...any)) {
	if r.Check.Skipped != "" {
		line("check", "not run: %s", r.Check.Skipped)
		return
	}
	for _, p := range r.Check.Pictures {
		line("check", "of a %s picture: %.4g to %.4g, mean %.0f %.0f %.0f, deviation %.0f", p.Of, p.Low, p.High, near(p.Mean[0]), near(p.Mean[1]), near(p.Mean[2]), near(p.Deviation))
	}
	for _, warning := range r.Check.Warnings {
		line("warning", "%s", warning)
	}
	if len(r.Instead) > 0 {
		line("hint", "without a warning: --convention %s", strings.Join(r.Instead, ", or "))
	}
}

// near rounds, without a negative zero.
func near(x float64) float64 { return math.Round(x) + 0 }

// printable replaces control characters, of terminals too, and bounds the length.
func printable(text string) string {
	const most = 1000
	runes := []rune(strings.ToValidUTF8(text, "?"))
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	for i, c := range runes {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			runes[i] = ' '
		}
	}
	return string(runes)
}
