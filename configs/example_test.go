package configs_test

import (
	"fmt"

	"stylenet/configs"
)

// A preset with a user's own folder and painting, as
// `stylenet train configs/parity.yaml --set …` reads it.
func ExampleLoad() {
	c, err := configs.Load("configs/parity.yaml", []string{
		"data.dir=holiday photos",
		"style.image=starry_night.jpg",
		"loss.style.layers.relu1_2=10",
		"train.epochs=2",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name, c.Data.Dir, c.Data.Size)
	fmt.Println(c.Train.Steps, c.Train.Epochs, c.Train.Batch)
	for _, layer := range c.Loss.Style.Layers.Names() {
		fmt.Println(layer, c.Loss.Style.Layers[layer])
	}
	// Output:
	// parity holiday photos 128
	// 0 2 4
	// relu1_2 10
	// relu2_2 5
	// relu3_3 5
	// relu4_3 5
}

// Every fault is reported at once, with its place.
func ExampleLoad_faults() {
	_, err := configs.Load("parity", []string{"train.bacth=8", "train.precision=fp16"})
	fmt.Println(err)
	// Output:
	// --set train.bacth is not a known key; did you mean train.batch?
	// --set train.precision must be float32 or bf16, got "fp16"
}
