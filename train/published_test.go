package train

import (
	"os"
	"path/filepath"
	"testing"

	"stylenet/configs"
	"stylenet/data"
	"stylenet/internal/devices"
	"stylenet/internal/inference"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/testassets"
	"stylenet/internal/vgg"
	"stylenet/losses"
)

// The network that PyTorch trained with the parity recipe must measure here
// about as it did there: docs/parity.md. At 1000 steps PyTorch's evaluations of
// it on photos of its own choice swing around 745,000 by 10%.
func TestLossesOfPyTorchsNetwork(t *testing.T) {
	pth := testassets.Path(t, "models/pytorch-starry.pth")
	weightsFile := testassets.Path(t, "vgg19/vgg19-features.safetensors")
	photos := testassets.Path(t, "photos")
	style := testassets.Path(t, "styles/starry_night.jpg")
	if devices.Names()[0] == "reference" {
		t.Skip("needs a build with -tags onednn: VGG-19 at 256² takes minutes in plain Go")
	}
	cfg, err := configs.LoadPreset("parity", []string{"style.image=" + style, "vgg.weights=" + weightsFile})
	check(t, err)
	// The held-out photos of docs/parity.md: every 56th, from the 50th on.
	dir := t.TempDir()
	files, err := data.List(photos)
	check(t, err)
	for i, f := range files {
		if i%56 == 49 {
			check(t, os.Symlink(filepath.Join(photos, f), filepath.Join(dir, f)))
		}
	}
	cfg.Data.Holdout = dir
	r := &Run{config: cfg, dir: t.TempDir(), unlock: func() error { return nil }}
	check(t, r.openHoldout())
	r.dev, err = devices.Open("auto", devices.Options{})
	check(t, err)
	defer func() { check(t, r.dev.Close()) }()
	r.model, err = model.Open(pth)
	check(t, err)
	r.recipe = losses.Recipe{Content: LossLayers(cfg.Loss.Content), Style: LossLayers(cfg.Loss.Style)}
	r.lossNet, err = networks.VGG19(r.recipe.Deepest(), networks.Caffe, false)
	check(t, err)
	r.vgg, err = vgg.Open(weightsFile, "auto")
	check(t, err)
	r.lossArrays, err = inference.Upload(r.dev, r.lossNet, r.vgg.Set)
	check(t, err)
	k := &johnson{r: r}
	check(t, k.openStyle())
	r.kind = k

	var e Evaluation
	r.options.Eval = func(got Evaluation) { e = got }
	check(t, r.evaluate())
	t.Logf("%d photos: content %.0f, style %.0f, total %.0f", e.Photos, e.Content, e.Style, e.Loss)
	if e.Photos != 16 || e.Loss < 600e3 || e.Loss > 850e3 {
		t.Errorf("%d photos with a loss of %.0f, want 16 with 600,000 to 850,000", e.Photos, e.Loss)
	}
}
