package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"stylenet/export"
	"stylenet/internal/model"
)

// mixing is the flag of commands that run, or write, one mix of a network of many
// styles.
type mixing struct{ styleMix string }

func (o *mixing) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.styleMix, "style-mix", "", "for a model of many styles: `STYLE`, or STYLE=WEIGHT,STYLE=WEIGHT; weights count against each other")
}

func (o *mixing) check(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("style-mix") {
		return nil
	}
	if _, err := model.ParseMix(o.styleMix); err != nil {
		return usagef(cmd, "--style-mix: %w", err)
	}
	return nil
}

// mix makes a model of many styles one of the mix that the flag names. A model of
// one style, with a name or without, needs none.
func (o *mixing) mix(m *export.Model, path string) (*export.Model, error) {
	var shares []export.Share
	if o.styleMix != "" {
		shares, _ = model.ParseMix(o.styleMix) // check has parsed it
	}
	mixed, err := m.Mix(shares)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return mixed, nil
}
