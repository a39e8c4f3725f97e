package train_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"stylenet/configs"
	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
	"stylenet/internal/images"
	"stylenet/internal/networks"
	"stylenet/train"
)

// A run trains, stops, and is resumed with more steps.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "train")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	photo, vgg := filepath.Join(dir, "photos", "grey.png"), filepath.Join(dir, "vgg.safetensors")
	if err := errors.Join(os.Mkdir(filepath.Dir(photo), 0o777), images.Save(photo, images.New(64, 48), images.SaveOptions{}), writeVGG(vgg)); err != nil {
		log.Fatal(err)
	}
	cfg, err := configs.LoadPreset("johnson", []string{
		"data.dir=" + filepath.Dir(photo), "data.size=32", "style.image=" + photo, "style.size=32",
		"vgg.weights=" + vgg, "vgg.convention=caffe",
		"network.architecture=c3s1-8,d8,u8,c3s1-3", "network.padding=reflect",
		"loss.content.layers={relu1_1: 1}", "loss.style.layers={relu1_1: 1}",
		"train.batch=1", "train.steps=2", "train.preview_every=0",
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	options := train.Options{Observe: func(m train.Metrics) { fmt.Println("step", m.Step) }}
	run, err := train.New(ctx, cfg, filepath.Join(dir, "run"), options)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run.Train(ctx), run.Close()); err != nil {
		log.Fatal(err)
	}
	if run, err = train.Resume(ctx, filepath.Join(dir, "run"), []string{"train.steps=3"}, options); err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run.Train(ctx), run.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.Info().Step, "steps done")
	// Output:
	// step 1
	// step 2
	// step 3
	// 3 steps done
}

// writeVGG stands in for the file that stylenet weights fetch leaves.
func writeVGG(path string) error {
	net, err := networks.VGG19("relu1_1", networks.Caffe, false)
	if err != nil {
		return err
	}
	set, err := net.Init(1)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, 0o666, func(w io.Writer) error {
		return safetensors.Encode(w, set, nil, safetensors.F32)
	})
}
