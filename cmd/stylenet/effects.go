package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"stylenet/internal/stylize"
)

// effects are the flags of commands that paint which decide what is made of the
// model's picture.
type effects struct {
	strength   float32
	keepColors string
	styleScale float64
}

func (e *effects) addEffects(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Float32Var(&e.strength, "strength", 1, "how much of the style to show: 0 (the photo) to 1")
	addKeepColors(cmd, &e.keepColors)
	flags.Float64Var(&e.styleScale, "style-scale", 1, "the strokes' size beside those that the model paints: below 1 for finer ones")
}

func addKeepColors(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "keep-colors", "", "keep the photo's colours: each pixel's, and only the style's `luminance` (what --keep-colors alone means), or match them as a whole")
	cmd.Flags().Lookup("keep-colors").NoOptDefVal = stylize.KeepLuminance
	complete(cmd, "keep-colors", stylize.KeepLuminance, stylize.KeepMatch)
}

func checkKeepColors(cmd *cobra.Command, value string) error {
	if value != "" && value != stylize.KeepMatch && value != stylize.KeepLuminance {
		return usagef(cmd, "--keep-colors=%s: give %s or %s", value, stylize.KeepLuminance, stylize.KeepMatch)
	}
	return nil
}

func (e *effects) checkEffects(cmd *cobra.Command) error {
	switch {
	case !(e.strength >= 0 && e.strength <= 1): // not a number fails too
		return usagef(cmd, "--strength %v is not between 0 and 1", e.strength)
	case !(e.styleScale >= 1./stylize.MaxScale && e.styleScale <= stylize.MaxScale):
		return usagef(cmd, "--style-scale %v is not between 1/%d and %[2]d", e.styleScale, stylize.MaxScale)
	}
	return checkKeepColors(cmd, e.keepColors)
}

// checkDetached refuses a value that stands behind a flag which takes one after =
// alone, and so would be taken for a picture.
func checkDetached(cmd *cobra.Command, args []string) error {
	for _, name := range []string{"keep-colors", "stabilize"} {
		flag := cmd.Flags().Lookup(name)
		if flag == nil || !flag.Changed || flag.NoOptDefVal == "" || flag.Value.String() != flag.NoOptDefVal {
			continue
		}
		for _, arg := range args {
			value := arg == stylize.KeepLuminance || arg == stylize.KeepMatch
			if name == "stabilize" {
				_, err := strconv.ParseFloat(arg, 32)
				value = err == nil
			}
			if _, err := os.Stat(arg); value && errors.Is(err, fs.ErrNotExist) {
				return usagef(cmd, "%s is no file: if it is the value of --%s, write --%[2]s=%[1]s", arg, name)
			}
		}
	}
	return nil
}

// painting is what the flags ask of all pictures.
func (e *effects) painting() stylize.Options {
	return stylize.Options{Strength: e.strength, KeepColors: e.keepColors, Scale: e.styleScale}
}

// said names those that are not the default, each behind a comma.
func (e *effects) said() string {
	text := ""
	if e.strength != 1 {
		text += fmt.Sprintf(", strength %v", e.strength)
	}
	if e.keepColors != "" {
		text += ", keep-colors " + e.keepColors
	}
	if e.styleScale != 1 {
		text += fmt.Sprintf(", style-scale %v", e.styleScale)
	}
	return text
}
