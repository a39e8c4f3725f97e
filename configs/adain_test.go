package configs

import (
	"strings"
	"testing"
)

const anyStyle = "kind: adain\ndata: {dir: photos}\nstyle: {dir: styles}\n"

// A config of kind adain gets the defaults of that kind, whichever layer names it.
func TestAdaINDefaults(t *testing.T) {
	for file, sets := range map[string][]string{
		anyStyle:                nil,
		"data: {dir: photos}\n": {"kind=adain", "style.dir=styles"},
	} {
		c, err := load("run.yaml", []byte(file), sets)
		if err != nil {
			t.Fatal(err)
		}
		if c.Train.LR != 1e-4 || c.Train.Schedule != "inverse" || c.Train.Decay != 5e-5 || c.Loss.Style.Weight != 10 || c.Loss.TotalVariation != 0 ||
			strings.Join(c.Loss.Content.Layers.Names(), " ") != "relu4_1" || len(c.Loss.Style.Layers) != 4 {
			t.Errorf("%+v", c)
		}
		assertRoundTrip(t, c)
	}
}

func TestAdaINFaults(t *testing.T) {
	for _, tt := range []struct{ file, set, want string }{
		{"kind: adain\ndata: {dir: photos}\n", "", "run.yaml: style.dir is missing: name the folder of pictures to learn styles from"},
		{anyStyle, "style.image=a.jpg", "--set style.image has no meaning for kind adain"},
		{anyStyle + "network: {norm: batch}\n", "", "run.yaml:4: network.norm has no meaning for kind adain"},
		{anyStyle, "network.encoder=relu4_2", `--set network.encoder must be relu2_1, relu3_1 or relu4_1, got "relu4_2"`},
		{anyStyle, "network.encoder=relu3_1", "loss.content.layers must be {relu3_1: 1}, network.encoder, where the style is put in, got relu4_1"},
		{anyStyle, "network.encoder=relu3_1", "loss.style.layers.relu4_1 lies behind network.encoder, relu3_1"},
		{anyStyle, "loss.content.layers={relu3_1: 1, relu4_1: 1}", "--set loss.content.layers must be {relu4_1: 1}"},
		{anyStyle, "loss.convention=torchvision", "--set loss.convention has no meaning for kind adain"},
		{anyStyle, "loss.style.weight=0", "--set loss.style.weight must be above 0: without it no style is learned"},
		{anyStyle, "data.size=36", "--set data.size must be a multiple of 8, as which the decoder gives sizes back, got 36"},
		{anyStyle, "train.decay=-1", "--set train.decay must be at least 0, got -1"},
		{"data: {dir: photos}\nstyle: {image: a.jpg}\n", "style.dir=d", "--set style.dir has no meaning for kind johnson: remove it, or set kind to adain"},
	} {
		var sets []string
		if tt.set != "" {
			sets = []string{tt.set}
		}
		if _, err := load("run.yaml", []byte(tt.file), sets); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.set, err, tt.want)
		}
	}
	if _, err := load("run.yaml", []byte(anyStyle), []string{"loss.content={weight: 0, layers: {}}"}); err != nil {
		t.Errorf("without content: %v", err)
	}
}
