package losses_test

import (
	"errors"
	"fmt"
	"log"

	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/kernels/reference"
	"stylenet/internal/networks"
	"stylenet/losses"
)

// A picture is compared with a photo in content, and with a painting, here the
// picture itself, in style.
func ExampleNewMeter() {
	const h, w = 8, 8
	recipe := losses.Recipe{Content: []losses.Layer{{Name: "relu1_1", Weight: 1}}, Style: []losses.Layer{{Name: "relu1_1", Weight: 5}}}
	vgg, err := networks.VGG19(recipe.Deepest(), networks.Caffe, false)
	if err != nil {
		log.Fatal(err)
	}
	weights, err := vgg.Init(1) // a program would open trained ones
	if err != nil {
		log.Fatal(err)
	}
	dev := reference.New(1)
	defer dev.Close()
	arrays, err := inference.Upload(dev, vgg, weights)
	if err != nil {
		log.Fatal(err)
	}

	photo, painting := make([]float32, 3*h*w), make([]float32, 3*h*w)
	for i := range painting {
		painting[i] = float32(i % 256)
	}
	grams, err := losses.GramMatrices(dev, vgg, arrays, painting, h, w, recipe.Style)
	if err != nil {
		log.Fatal(err)
	}
	target, err := inference.NewParameter(dev, []int{1, 1, 64, 64}, grams[0])
	if err != nil {
		log.Fatal(err)
	}
	meter, err := losses.NewMeter(dev, vgg, arrays, []kernels.Array{target}, recipe, h, w)
	if err != nil {
		log.Fatal(err)
	}
	content, style, err := meter.Measure(photo, painting)
	if err = errors.Join(err, meter.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("far from the photo:", content[0] > 1, "- in the painting's style:", style[0] == 0)
	// Output: far from the photo: true - in the painting's style: true
}
