package main

import (
	"errors"

	"github.com/spf13/cobra"

	"stylenet/internal/model"
	"stylenet/internal/networks"
)

// addConvention gives cmd the flag --convention, which loadModel reads.
func addConvention(cmd *cobra.Command) {
	cmd.Flags().String("convention", model.Auto, "what the network of another system takes and gives: auto (recognised), or IN:OUT or one `word` for both, of "+conventionWords()+"; OUT+tanh adds a tanh")
	words := []string{model.Auto}
	for _, c := range networks.Conventions() {
		words = append(words, string(c))
	}
	complete(cmd, "convention", words...)
}

// conventionWords lists what a network may take and give.
func conventionWords() string {
	text := ""
	for i, c := range networks.Conventions() {
		if i > 0 {
			text += ", "
		}
		text += string(c)
	}
	return text
}

// conventionHelp explains the words of --convention.
const conventionHelp = `What a network takes and gives for a picture differs between systems. It is
recognised from the file, or asked for with --convention:
  rgb-255      RGB 0 to 255
  bgr-255      BGR 0 to 255
  rgb-1        RGB 0 to 1
  rgb-signed   RGB -1 to 1
  torchvision  RGB 0 to 1 minus .485, .456, .406, divided by .229, .224, .225
  caffe        RGB 0 to 255 minus 123.68, 116.779, 103.939
  caffe-bgr    the same in BGR order
IN:OUT tells them apart. +tanh behind OUT adds the tanh of networks whose file
holds weights alone: tanh for rgb-signed, (tanh+1)/2 for rgb-1, 150·tanh for
caffe and caffe-bgr, 150·tanh + 127.5 for rgb-255 and bgr-255.`

// convention is the value of cmd's --convention, "" where it has none. It is
// checked: a wrong one is wrong usage.
func convention(cmd *cobra.Command) (string, error) {
	flag := cmd.Flag("convention")
	if flag == nil || flag.Value.String() == model.Auto {
		return "", nil
	}
	if _, err := model.ParseConvention(flag.Value.String()); err != nil {
		return "", usagef(cmd, "--%w", err)
	}
	return flag.Value.String(), nil
}

// conventionFault makes it wrong usage to ask for a convention of a file that says
// its own.
func conventionFault(cmd *cobra.Command, err error) error {
	if errors.Is(err, model.ErrConvention) {
		return usagef(cmd, "%w", err)
	}
	return err
}
