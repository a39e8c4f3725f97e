package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/export"
	"stylenet/internal/model"
)

// mixing is the flag of commands that run, or write, a mix of a network of many
// styles, or several.
type mixing struct {
	several bool // set before addFlags
	mixes   []string
}

func (o *mixing) addFlags(cmd *cobra.Command) {
	usage := "for a model of many styles: `STYLE`, or STYLE=WEIGHT,STYLE=WEIGHT; weights count against each other"
	if o.several {
		usage += "; may be repeated"
	}
	cmd.Flags().StringArrayVar(&o.mixes, "style-mix", nil, usage)
}

func (o *mixing) check(cmd *cobra.Command) error {
	for i, text := range o.mixes {
		if _, err := model.ParseMix(text); err != nil {
			return usagef(cmd, "--style-mix: %w", err)
		}
		if slices.Contains(o.mixes[:i], text) {
			return usagef(cmd, "--style-mix %s is given twice", text)
		}
	}
	if !o.several && len(o.mixes) > 1 {
		return usagef(cmd, "--style-mix is given %d times: give one mix", len(o.mixes))
	}
	return nil
}

// mix makes a model of many styles one of the mix that the flag names, the first
// one of several.
func (o *mixing) mix(m *export.Model, path string) (*export.Model, error) {
	return mixOf(m, path, o.first())
}

// first is the only mix, or "" where none is named.
func (o *mixing) first() string {
	if len(o.mixes) == 0 {
		return ""
	}
	return o.mixes[0]
}

// of is the flag for a model that it is for, or not.
func (o mixing) of(concerned bool) *mixing {
	if !concerned {
		o.mixes = nil
	}
	return &o
}

func noMix(path string) error {
	return fmt.Errorf("%s takes its style from a picture: --style-mix is for a model of kind multistyle", path)
}

// each calls add for every mix, with the name of a model that is mixed so.
func (o *mixing) each(model string, add func(name, mix string)) {
	if len(o.mixes) < 2 {
		add(model, o.first())
		return
	}
	for _, mix := range o.mixes {
		add(model+"-"+mixName(mix), mix)
	}
}

// mixOf makes a model of many styles one of a mix, such as "a=0.3,b=0.7". A model
// of one style, with a name or without, needs none.
func mixOf(m *export.Model, path, mix string) (*export.Model, error) {
	var shares []export.Share
	if mix != "" {
		var err error
		if shares, err = model.ParseMix(mix); err != nil {
			return nil, err
		}
	}
	mixed, err := m.Mix(shares)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return mixed, nil
}

// mixName is a mix in the name of a file: a0.3-b0.7.
func mixName(mix string) string {
	return strings.NewReplacer("=", "", ",", "-", " ", "").Replace(mix)
}
