package data_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"stylenet/data"
	"stylenet/internal/images"
)

// A folder of pictures becomes batches of crops; the cursor of a batch is
// where a later run goes on.
func ExampleNewLoader() {
	dir, err := os.MkdirTemp("", "photos")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"cat.png", "dog.png", "sea.png"} {
		if err := images.Save(filepath.Join(dir, name), images.New(64, 48), images.SaveOptions{}); err != nil {
			log.Fatal(err)
		}
	}

	loader, err := data.NewLoader(data.Options{Dir: dir, Size: 32, Batch: 2, Seed: 1}, data.Cursor{})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	for range 3 {
		batch, err := loader.Next(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(batch.Paths), "crops,", len(batch.Pixels), "values, next: epoch", batch.Cursor.Epoch, "position", batch.Cursor.Position)
		loader.Release(batch)
	}
	// Output:
	// 2 crops, 6144 values, next: epoch 0 position 2
	// 2 crops, 6144 values, next: epoch 1 position 1
	// 2 crops, 6144 values, next: epoch 1 position 3
}
