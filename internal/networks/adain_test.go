package networks

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"stylenet/internal/weights"
)

func TestAdaIN(t *testing.T) {
	for _, c := range []struct {
		layer              string
		multiple, channels int
		encoder, decoder   int // parameters
		decoderConvs       string
	}{
		{"relu4_1", 8, 512, 3505728, 3505219, "4_1 3_4 3_3 3_2 3_1 2_2 2_1 1_2 1_1"},
		{"relu3_1", 4, 256, 555328, 555075, "3_1 2_2 2_1 1_2 1_1"},
		{"relu2_1", 2, 128, 112576, 112451, "2_1 1_2 1_1"},
	} {
		a := AdaIN{Encoder: Caffe, Layer: c.layer}
		if got := a.Channels(); got != c.channels {
			t.Errorf("%s: %d channels, want %d", c.layer, got, c.channels)
		}
		count := func(net *Network, err error) (n int) {
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range net.Params() {
				n += weights.Elements(p.Shape)
			}
			return n
		}
		if got := count(a.EncoderNetwork()); got != c.encoder {
			t.Errorf("%s: an encoder of %d weights, want %d", c.layer, got, c.encoder)
		}
		if got := count(a.DecoderNetwork()); got != c.decoder {
			t.Errorf("%s: a decoder of %d weights, want %d", c.layer, got, c.decoder)
		}
		if got := count(a.Build()); got != c.encoder+c.decoder+2*c.channels {
			t.Errorf("%s: %d weights in all", c.layer, got)
		}
		decoder, _ := a.DecoderNetwork()
		var convs []string
		for _, l := range decoder.Layers {
			if _, ok := l.Op.(Conv); ok {
				convs = append(convs, strings.TrimPrefix(l.Name, "decoder.conv"))
			}
		}
		if got := strings.Join(convs, " "); got != c.decoderConvs {
			t.Errorf("%s: a decoder of %s, want %s", c.layer, got, c.decoderConvs)
		}
		for _, strength := range []float32{1, .5, 0} {
			net, err := a.Styled(strength)
			if err != nil {
				t.Fatal(err)
			}
			multiple, _, err := net.Multiple()
			if err != nil || multiple != c.multiple {
				t.Errorf("%s: sides are multiples of %d, %v; want %d", c.layer, multiple, err, c.multiple)
			}
			if mixes := slices.ContainsFunc(net.Layers, func(l Layer) bool { return l.Op == Add{} }); mixes != (strength != 1) {
				t.Errorf("%s at %v: features are mixed: %v", c.layer, strength, mixes)
			}
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseDesign(text); err != nil || back != a {
			t.Errorf("%s came back as %v, %v", text, back, err)
		}
	}
}

func TestAdaINRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"encoder": "caffe", "layer": "relu4_2"}`:               `an encoder ends at "relu4_2", not at`,
		`{"encoder": "jpeg", "layer": "relu4_1"}`:                `unknown VGG-19 convention "jpeg"`,
		`{"encoder": "caffe", "layer": "relu4_1", "depth": "3"}`: `unknown field "depth"`,
	} {
		design, err := ParseDesign([]byte(text))
		if err == nil {
			_, err = design.Build()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := (AdaIN{Encoder: Caffe, Layer: "x"}).DecoderNetwork(); err == nil {
		t.Error("a decoder without an encoder was made")
	}
}
