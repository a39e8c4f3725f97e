package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// minimal is the shortest valid config: two lines, so that a test's own text
// begins on line 3.
const minimal = "data: {dir: photos}\nstyle: {image: style.jpg}\n"

// faultsOf loads content and returns its faults, a line each.
func faultsOf(t *testing.T, content string, sets ...string) string {
	t.Helper()
	c, err := load("run.yaml", []byte(content), sets)
	if err == nil {
		return ""
	}
	if c != nil {
		t.Error("a faulty config was returned")
	}
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is a %T, not Faults: %v", err, err)
	}
	return err.Error()
}

func TestFaultsOfForm(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"empty", "", "run.yaml: data.dir is missing: name the folder of photos to learn from\nrun.yaml: style.image is missing: name the painting to learn from"},
		{"empty sections", "data:\nstyle:\n", "run.yaml:1: data.dir is missing: name the folder of photos to learn from\nrun.yaml:2: style.image is missing: name the painting to learn from"},
		{"syntax at the end", "data: [a\n", "run.yaml:2: not valid YAML: did not find expected ',' or ']'"},
		{"indentation", "data:\n  dir: p\n size: 3\n", "run.yaml:3: not valid YAML: did not find expected key"},
		{"colon", "data:\n  dir: p\n  size: a: b\n", "run.yaml:3: not valid YAML: mapping values are not allowed in this context"},
		{"tab", "data:\n  dir: p\n\tsize: 3\n", "run.yaml:2: not valid YAML: found a tab character that violates indentation"},
		{"syntax", "data:\n  dir: [a\n", "run.yaml:2: not valid YAML: did not find expected ',' or ']'"},
		{"not text", "\x00\x01", "run.yaml: not valid YAML: control characters are not allowed"},
		{"two documents", minimal + "---\nname: b\n", "run.yaml:3: a second YAML document begins here: a config is one document"},
		{"list", "- a\n", "run.yaml:1: must be a mapping of keys to values, got a list"},
		{"word", "photos\n", `run.yaml:1: must be a mapping of keys to values, got "photos"`},
		{"typo", minimal + "train:\n  bacth: 4\n", "run.yaml:4: train.bacth is not a known key; did you mean train.batch?"},
		{"typo hides missing", "data: {dri: photos}\nstyle: {image: s}\n", "run.yaml:1: data.dri is not a known key; did you mean data.dir?"},
		{"typo in section", "daat: {dir: photos}\nstyle: {image: s}\n", "run.yaml:1: daat is not a known key; did you mean data?"},
		{"typo does not hide a fault", minimal + "train: {bacth: 4, batch: 0}\n", "run.yaml:3: train.bacth is not a known key; did you mean train.batch?\nrun.yaml:3: train.batch must be at least 1, got 0"},
		{"longer name", minimal + "train: {batch-size: 4}\n", "run.yaml:3: train.batch-size is not a known key; did you mean train.batch?"},
		{"wrong section", minimal + "batch: 4\n", "run.yaml:3: batch is not a known key; did you mean train.batch?"},
		{"nothing near", minimal + "quux: 4\n", "run.yaml:3: quux is not a known key"},
		{"escapes in a key", minimal + "\"\\e[2J\": 4\n", `run.yaml:3: "\x1b[2J" is not a known key`},
		{"dotted", minimal + "train.batch: 4\n", "run.yaml:3: train.batch is not a known key: in a file, write batch under train"},
		{"key twice", minimal + "train:\n  batch: 4\n  lr: 1\n  batch: 5\n", "run.yaml:6: train.batch is set twice, first on line 4"},
		{"list as key", minimal + "train: {[a]: 4}\n", "run.yaml:3: train has a list as a key: keys are plain words"},
		{"empty key", minimal + "train: {? , batch: 4}\n", "run.yaml:3: train has nothing as a key: keys are plain words"},
		{"alias", "data: &d {dir: photos}\nstyle: *d\n", "run.yaml:2: style is a YAML alias: write the value out"},
		{"merge key", minimal + "<<: {name: a}\n", "run.yaml:3: << is not a known key: write the keys out that it stands for"},
		{"merge key in a section", minimal + "train: {<<: {lr: 1}}\n", "run.yaml:3: train.<< is not a known key: write the keys out that it stands for"},
		{"no value", minimal + "train:\n  batch:\n", "run.yaml:4: train.batch has no value: give it one, or remove the key for its default"},
		{"word for whole number", minimal + "train: {batch: four}\n", `run.yaml:3: train.batch must be a whole number, got "four"`},
		{"fraction for whole number", minimal + "train: {batch: 2.5}\n", "run.yaml:3: train.batch must be a whole number, got 2.5"},
		{"huge whole number", minimal + "train: {batch: 99999999999999999999}\n", "run.yaml:3: train.batch must be a whole number, got 99999999999999999999"},
		{"negative seed", minimal + "train: {seed: -1}\n", "run.yaml:3: train.seed must be a whole number of at least 0, got -1"},
		{"word for number", minimal + "train: {lr: fast}\n", `run.yaml:3: train.lr must be a number, got "fast"`},
		{"yes", minimal + "data2: {}\nvgg: {random: yes}\n", "run.yaml:3: data2 is not a known key; did you mean data?\nrun.yaml:4: vgg.random must be true or false, got \"yes\""},
		{"list for text", "data: {dir: [a]}\nstyle: {image: s}\n", "run.yaml:1: data.dir must be text, got a list"},
		{"mapping for number", minimal + "train: {lr: {a: 1}}\n", "run.yaml:3: train.lr must be a number, got a mapping"},
		{"section as number", minimal + "train: 3\n", "run.yaml:3: train must be a mapping of keys to values, got 3"},
		{"layers as list", minimal + "loss: {style: {layers: [relu1_1]}}\n", "run.yaml:3: loss.style.layers must be a mapping of layers to weights, got a list"},
		{"layer without weight", minimal + "loss: {style: {layers: {relu1_1: x}}}\n", `run.yaml:3: loss.style.layers.relu1_1 must be a number, got "x"`},
		{"layer twice", minimal + "loss: {style: {layers: {relu1_1: 1, relu1_1: 2}}}\n", "run.yaml:3: loss.style.layers.relu1_1 is set twice, first on line 3"},
		{"images as text", "data: {dir: p}\nstyle: {images: a.jpg}\n", `run.yaml:2: style.images must be a list of {path, weight, name}, got "a.jpg"`},
		{"images key", "data: {dir: p}\nstyle:\n  images:\n    - path: a.jpg\n    - paht: b.jpg\n", "run.yaml:5: style.images[1].paht is not a known key; did you mean style.images[1].path?"},
		{"tags", minimal + "name: !!timestamp x\ntrain: {lr: !!float x}\n", "run.yaml:3: name must be text, got x\n" + `run.yaml:4: train.lr must be a number, got x`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, faultsOf(t, tt.content)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultsOfValues(t *testing.T) {
	for _, tt := range []struct{ content, want string }{
		{"name: ''", "name must not be empty"},
		{`name: "a\nb"`, `name must be UTF-8 text without control characters, got "a\nb"`},
		{"data:\n  dir: p\n  size: 31", "data.size must be at least 32, got 31"},
		{"data: {dir: p, size: 130}", "data.size must be a multiple of 4, the stride of network.architecture, got 130"},
		{"data: {dir: p, workers: -1}", "data.workers must be at least 0, got -1"},
		{"data: {dir: p, cache: p}", "data.cache and data.dir are the same path: the cache is a file of its own"},
		{"data: {dir: p, scale_min: .9}", "data.scale_min must be at least 1, got 0.9"},
		{"data: {dir: p, scale_min: .nan}", "data.scale_min must be at least 1, got NaN"},
		{"data: {dir: p, scale_min: 2, scale_max: 1.5}", "data.scale_max must be at least data.scale_min, 2, got 1.5"},
		{"data: {dir: p, scale_max: .inf}", "data.scale_max must be at least data.scale_min, 1, got +Inf"},
		{"style: {image: a, images: [b]}", "style.images and style.image are both set: keep one of them"},
		{"style: {images: [{weight: 2}]}", "style.images[0].path is missing: name an image file"},
		{"style: {images: [null]}", "style.images[0].path is missing: name an image file"},
		{"style: {images: [a, {path: b, weight: 0}]}", "style.images[1].weight must be above 0, got 0"},
		{`style: {images: ["a\tb"]}`, `style.images[0].path must be UTF-8 text without control characters, got "a\tb"`},
		{"style: {image: a, size: 16}", "style.size must be at least 32, got 16"},
		{"style: {image: a, scale: 0}", "style.scale must be above 0, got 0"},
		{"style: {image: a, scale: .1}", "style.scale times style.size must be at least 32 pixels, got 0.1 × 256"},
		{"vgg: {random: true, weights: a}", "vgg.random and vgg.weights are both set: keep one of them"},
		{"vgg: {convention: bgr}", `vgg.convention must be auto, caffe, caffe-bgr or torchvision, got "bgr"`},
		{"vgg: {pooling: mean}", `vgg.pooling must be max or avg, got "mean"`},
		{"network: {architecture: ''}", "network.architecture is missing: give a list of layers such as c9s1-32,d64,d128,R128,R128,R128,R128,R128,u64,u32,c9s1-3"},
		{"network: {architecture: 'c9s1-32,x64,c9s1-3'}", `network.architecture has a layer 2 that is not known, "x64": use cKsS-N, dN, RN, uN or U2`},
		{"network: {architecture: 'c9s1-32,,c9s1-3'}", `network.architecture has a layer 2 that is not known, "": use cKsS-N, dN, RN, uN or U2`},
		{"network: {architecture: 'c9s1-0,c9s1-3'}", `network.architecture has a layer 1 that is not known, "c9s1-0": use cKsS-N, dN, RN, uN or U2`},
		{"network: {architecture: 'c4s1-32,c9s1-3'}", "network.architecture has an even kernel in layer 1, c4s1-32: only an odd one has a middle pixel"},
		{"network: {architecture: 'c9s1-3,d3,u3'}", `network.architecture must end in a convolution to 3 channels, such as c9s1-3, got "u3"`},
		{"network: {architecture: 'c9s1-32,d64,c9s1-3'}", "network.architecture must give back the size that it was given, got down by 2 and up by 1"},
		{"network: {architecture: 'c9s5-32,c9s1-3'}", "network.architecture has a layer 1 that is too large, c9s5-32: a kernel is at most 31, a stride at most 4"},
		{"network: {architecture: 'c33s1-32,c9s1-3'}", "network.architecture has a layer 1 that is too large, c33s1-32: a kernel is at most 31, a stride at most 4"},
		{"network: {architecture: 'c9s1-4097,c9s1-3'}", "network.architecture has more than 4096 channels in layer 1, c9s1-4097"},
		{"network: {architecture: 'c9s1-8,u5000,c9s1-3'}", "network.architecture has more than 4096 channels in layer 2, u5000"},
		{"network: {architecture: 'c9s4-32,c9s4-32,c9s4-8,d3,c9s1-3'}", "network.architecture must scale by at most 64, exceeded in layer 4, d3"},
		{"network: {architecture: '" + strings.Repeat("R8,", 256) + "c9s1-3'}", "network.architecture must have at most 256 layers, got 257"},
		{"network: {padding: same}", `network.padding must be reflect, reflect-start or zero, got "same"`},
		{"network: {norm: layer}", `network.norm must be instance or batch, got "layer"`},
		{"network: {upsample: bilinear}", `network.upsample must be nearest or transposed, got "bilinear"`},
		{"network: {output: sigmoid}", `network.output must be linear or tanh, got "sigmoid"`},
		{"network: {output_scale: 0}", "network.output_scale must be above 0, got 0"},
		{"network: {output_offset: .inf}", "network.output_offset must be a finite number, got +Inf"},
		{"loss: {content: {weight: -1}}", "loss.content.weight must be at least 0, got -1"},
		{"loss: {style: {weight: .inf}}", "loss.style.weight must be at least 0, got +Inf"},
		{"loss: {style: {weight: 0}, content: {weight: 0}}", "loss has no weight above 0: set loss.content.weight or loss.style.weight"},
		{"loss: {content: {layers: {relu33: 1}}}", "loss.content.layers.relu33 is not a layer of VGG-19; did you mean relu3_3?"},
		{"loss: {content: {layers: {conv: 1}}}", "loss.content.layers.conv is not a layer of VGG-19"},
		{"loss: {style: {layers: {relu1_1: -2}}}", "loss.style.layers.relu1_1 must be at least 0, got -2"},
		{"loss: {style: {layers: {}}}", "loss.style.layers must name a layer with a weight above 0"},
		{"loss: {content: {layers: {relu1_1: 0}}}", "loss.content.layers must name a layer with a weight above 0"},
		{"loss: {total_variation: -1}", "loss.total_variation must be at least 0, got -1"},
		{"loss: {convention: auto}", `loss.convention must be caffe or torchvision, got "auto"`},
		{"train: {steps: 0}", "train.steps must be at least 1, got 0"},
		{"train: {epochs: -1}", "train.epochs must be at least 1, got -1"},
		{"train: {epochs: 1, steps: 1}", "train.epochs and train.steps are both set: keep one of them"},
		{"train: {batch: 0}", "train.batch must be at least 1, got 0"},
		{"train: {lr: 0}", "train.lr must be above 0, got 0"},
		{"train: {schedule: linear}", `train.schedule must be constant, cosine, step or inverse, got "linear"`},
		{"train: {decay_every: 0}", "train.decay_every must be at least 1, got 0"},
		{"train: {decay_factor: 1.5}", "train.decay_factor must be above 0 and at most 1, got 1.5"},
		{"train: {warmup: -1}", "train.warmup must be at least 0, got -1"},
		{"train: {beta1: 1}", "train.beta1 must be at least 0 and below 1, got 1"},
		{"train: {beta2: -.1}", "train.beta2 must be at least 0 and below 1, got -0.1"},
		{"train: {eps: 0}", "train.eps must be above 0, got 0"},
		{"train: {clip_norm: -1}", "train.clip_norm must be at least 0, got -1"},
		{"train: {checkpoint_every: -1}", "train.checkpoint_every must be at least 0, got -1"},
		{"train: {keep_checkpoints: 0}", "train.keep_checkpoints must be at least 1, got 0"},
		{"train: {preview_every: -1}", "train.preview_every must be at least 0, got -1"},
		{"train: {precision: fp64}", `train.precision must be float32 or bf16, got "fp64"`},
		{"train: {precision: bf16, exact: true}", `train.precision bf16 and train.exact are both set: exact kernels compute in float32, keep one of them`},
		{"data: {dir: p, size: 65540}", "data.size must be at most 65536, got 65540"},
		{"data: {dir: p, workers: 10000000}", "data.workers must be at most 1024, got 10000000"},
		{"train: {batch: 100000000}", "train.batch must be at most 4096, got 100000000"},
		{"train: {threads: 5000}", "train.threads must be at most 1024, got 5000"},
		{"train: {threads: -1}", "train.threads must be at least 0, got -1"},
		{"train: {device: gpu}", `train.device must be auto, cpu, cuda, cuda:N, onednn or reference, got "gpu"`},
		{"train: {device: cuda0}", `train.device must be auto, cpu, cuda, cuda:N, onednn or reference, got "cuda0"`},
		{"train: {device: 'cuda:'}", `train.device must number the GPU from 0 on, such as cuda:0 or cuda:1, got "cuda:"`},
		{"train: {device: cuda:N}", `train.device must number the GPU from 0 on, such as cuda:0 or cuda:1, got "cuda:N"`},
		{"train: {device: cuda:-1}", `train.device must number the GPU from 0 on, such as cuda:0 or cuda:1, got "cuda:-1"`},
		{"train: {device: cuda:65536}", `train.device must number the GPU from 0 on, such as cuda:0 or cuda:1, got "cuda:65536"`},
		{"kind: film", `kind must be johnson, multistyle, adain or video, got "film"`},
		{"video: {noise: 2}", "video.noise has no meaning for kind johnson: remove it, or set kind to video"},
		{"{kind: video, video: {weight: 0}, data: {dir: p}, style: {image: s}}", "video.weight must be above 0, got 0"},
		{"{kind: video, video: {motion: 33}, data: {dir: p}, style: {image: s}}", "video.motion must be 0 to 32, an eighth of data.size, got 33"},
		{"{kind: video, video: {noise: -1}, data: {dir: p}, style: {image: s}}", "video.noise must be at least 0, got -1"},
		{"{kind: video, video: {brightness: 1}, data: {dir: p}, style: {image: s}}", "video.brightness must be at least 0 and below 1, got 1"},
		{"train: {deterministic: 1}", "train.deterministic must be true or false, got 1"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			content := tt.content + "\n"
			for _, section := range []string{"data: {dir: photos}", "style: {image: style.jpg}"} {
				if name, _, _ := strings.Cut(section, ":"); !strings.HasPrefix(content, name+":") && content[0] != '{' {
					content += section + "\n"
				}
			}
			line := "run.yaml:1: "
			if strings.HasPrefix(content, "data:\n") { // the one case that spreads over lines
				line = "run.yaml:3: "
			}
			if diff := cmp.Diff(line+tt.want, faultsOf(t, content)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	content := "train:\n  precision: fp16\n  batch: 0\n  lr: x\nnam: a\ndata: {size: 130}\nstyle: {image: s}\n"
	want := strings.Join([]string{
		`run.yaml:2: train.precision must be float32 or bf16, got "fp16"`,
		"run.yaml:3: train.batch must be at least 1, got 0",
		`run.yaml:4: train.lr must be a number, got "x"`,
		"run.yaml:5: nam is not a known key; did you mean name?",
		"run.yaml:6: data.dir is missing: name the folder of photos to learn from",
		"run.yaml:6: data.size must be a multiple of 4, the stride of network.architecture, got 130",
		"--set train.stesp is not a known key; did you mean train.steps?",
		"--set data.workers must be at least 0, got -2",
	}, "\n")
	got := faultsOf(t, content, "train.stesp=3", "data.workers=-2")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestOverrideOfMistypedValue(t *testing.T) {
	want := "run.yaml:3: train.batch must be a whole number, got \"x\"\n--set train.batch must be at least 1, got 0"
	if diff := cmp.Diff(want, faultsOf(t, minimal+"train: {batch: x}\n", "train.batch=0")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestFaultsOfOverrides(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"train.batch=0", "--set train.batch must be at least 1, got 0"},
		{"train.batch=", "--set train.batch has no value: give it one, or remove the key for its default"},
		{"train.batch=x", `--set train.batch must be a whole number, got "x"`},
		{"train.batch.x=1", "--set train.batch must be a whole number, got a mapping"},
		{"train=1", "--set train must be a mapping of keys to values, got 1"},
		{"train.batch", "--set train.batch must have the form key=value, such as train.batch=8"},
		{"=1", "--set =1 must have the form key=value, such as train.batch=8"},
		{"train..batch=1", "--set train..batch is not a known key"},
		{"train.lr=[", "--set train.lr has a value that is not valid YAML: did not find expected node content, got ["},
		{"batch=1", "--set batch is not a known key; did you mean train.batch?"},
		{"loss.style.layers={relu1_1: 1, relu1_1: 2}", "--set loss.style.layers.relu1_1 is set twice in one value"},
		{"loss.style.layers.relu1_9=1", "--set loss.style.layers.relu1_9 is not a layer of VGG-19; did you mean relu1_1?"},
		{`name="a\tb"`, `--set name must be UTF-8 text without control characters, got "a\tb"`},
		{"name=\xff", `--set name must be UTF-8 text without control characters, got "\xff"`},
		{"style.images=[a, {path: b, weight: -1}]", "--set style.images[1].weight must be above 0, got -1"},
		{"data.dir=", "--set data.dir is missing: name the folder of photos to learn from"},
	} {
		t.Run(tt.set, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, faultsOf(t, minimal, tt.set)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	for _, tt := range []struct {
		file string
		sets []string
		want func(*Config)
	}{
		{"", nil, func(*Config) {}},
		{"", []string{"train.batch=8"}, func(c *Config) { c.Train.Batch = 8 }},
		{"train: {batch: 2}\n", []string{"train.batch=8", "train.batch=16"}, func(c *Config) { c.Train.Batch = 16 }},
		{"", []string{"train.steps=4e4"}, func(c *Config) { c.Train.Steps = 40000 }},
		{"", []string{"train={batch: 2, lr: 1}"}, func(c *Config) { c.Train.Batch, c.Train.LR = 2, 1 }},
		{"", []string{" train.lr = 2e-3 "}, func(c *Config) { c.Train.LR = 2e-3 }},
		{"", []string{"train.seed=18446744073709551615"}, func(c *Config) { c.Train.Seed = 1<<64 - 1 }},
		{"", []string{"train.exact=true"}, func(c *Config) { c.Train.Exact = true }},
		{"train: {deterministic: true}", nil, func(c *Config) { c.Train.Deterministic = true }},
		{"train: {device: cuda}", nil, func(c *Config) { c.Train.Device = "cuda" }},
		{"train: {device: cuda:1}", []string{"train.device=cuda:12"}, func(c *Config) { c.Train.Device = "cuda:12" }},
		{"train: {device: cuda:0}", []string{"train.device=cpu"}, func(c *Config) { c.Train.Device = "cpu" }},
		{"train: {precision: bf16}", nil, func(c *Config) { c.Train.Precision = "bf16" }},
		{"train: {precision: fp32}", nil, func(c *Config) { c.Train.Precision = "float32" }},
		{"", []string{"data.dir=C:\\a: #b [c]"}, func(c *Config) { c.Data.Dir = "C:\\a: #b [c]" }},
		{"", []string{`data.dir="a=\"b\""`}, func(c *Config) { c.Data.Dir = `a="b"` }},
		{"", []string{"name=2024-01-01"}, func(c *Config) { c.Name = "2024-01-01" }},
		{"vgg: {weights: a}\n", []string{"vgg.weights="}, func(*Config) {}},
		{"", []string{"loss.style.layers.relu1_2=3"}, func(c *Config) { c.Loss.Style.Layers["relu1_2"] = 3 }},
		{"", []string{"loss.content.layers={relu4_2: 2}"}, func(c *Config) { c.Loss.Content.Layers = Layers{"relu4_2": 2} }},
		{"loss: {content: {layers: {relu4_2: 2}}}\n", nil, func(c *Config) { c.Loss.Content.Layers = Layers{"relu4_2": 2} }},
		// Of two keys that exclude each other the later layer wins.
		{"train: {epochs: 2}\n", nil, func(c *Config) { c.Train.Steps, c.Train.Epochs = 0, 2 }},
		{"train: {epochs: 2}\n", []string{"train.steps=7"}, func(c *Config) { c.Train.Steps = 7 }},
		{"train: {steps: 9}\n", []string{"train.epochs=1"}, func(c *Config) { c.Train.Steps, c.Train.Epochs = 0, 1 }},
		{"train: {epochs: 0}\n", nil, func(*Config) {}},
		{"", []string{"style.images=[a.jpg, {path: b.jpg, weight: 3}]"}, func(c *Config) {
			c.Style.Image, c.Style.Images = "", []StyleImage{{Path: "a.jpg", Weight: 1}, {Path: "b.jpg", Weight: 3}}
		}},
		{"vgg: {random: true}\n", []string{"vgg.weights=w"}, func(c *Config) { c.VGG.Weights = "w" }},
		{"vgg: {weights: w}\n", []string{"vgg.random=true"}, func(c *Config) { c.VGG.Random = true }},
	} {
		t.Run(tt.file+strings.Join(tt.sets, " "), func(t *testing.T) {
			got, err := load("run.yaml", []byte(minimal+tt.file), tt.sets)
			if err != nil {
				t.Fatal(err)
			}
			want := Default()
			want.Data.Dir, want.Style.Image = "photos", "style.jpg"
			tt.want(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
	c, err := load("run.yaml", []byte("data: {dir: p}\nstyle: {images: [a, b]}"), []string{"style.image=c"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Style.Image != "c" || c.Style.Images != nil {
		t.Errorf("style.image did not win over the file's style.images: %+v", c.Style)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, sets := range map[string][]string{
		"minimal": nil,
		"odd text": {
			`name="yes"`, "data.dir= ünï #:{[ ", "vgg.weights=null", "train.preview_image=~", "data.holdout=1e3", `style.image="'"`,
		},
		"others": {
			"train.epochs=3", "style.images=[{path: '1', weight: .1}, x]", "vgg.random=true", "train.lr=3.3333333333333335e-5",
			"loss.style.layers={relu5_4: 1e10, relu1_1: 0}", "train.seed=18446744073709551615",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := load("run.yaml", []byte(minimal), sets)
			if err != nil {
				t.Fatal(err)
			}
			assertRoundTrip(t, want)
		})
	}
}

func assertRoundTrip(t *testing.T, want *Config) {
	t.Helper()
	b, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, err := load("resolved.yaml", b, nil)
	if err != nil {
		t.Fatalf("the resolved config does not load: %v\n%s", err, b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the resolved config differs (-want +got):\n%s\n%s", diff, b)
	}
}

func TestValidate(t *testing.T) {
	c := Default()
	want := "data.dir is missing: name the folder of photos to learn from\nstyle.image is missing: name the painting to learn from"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("Default().Validate() = %v, want %s", err, want)
	}
	c.Data.Dir, c.Style.Image = "p", "s"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if err := (&Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "train.keep_checkpoints must be at least 1, got 0") {
		t.Errorf("the zero Config: %v", err)
	}
}

func TestLoadFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"johnson", "johnson.yaml", "configs/johnson.yaml", "./configs/johnson.yaml"} {
		c, err := Load(path, []string{"data.dir=d"})
		if err != nil {
			t.Errorf("Load(%q): %v", path, err)
		} else if c.Name != "johnson" || c.Data.Dir != "d" {
			t.Errorf("Load(%q) is %q on %q", path, c.Name, c.Data.Dir)
		}
	}
	if err := os.Mkdir("configs", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("configs/johnson.yaml", []byte(minimal+"name: mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Load("configs/johnson.yaml", nil); err != nil || c.Name != "mine" {
		t.Errorf("a preset was preferred to a file on disk: %v, %v", c, err)
	}
	if err := os.Mkdir("parity", 0o755); err != nil {
		t.Fatal(err)
	}
	if c, err := Load("parity", nil); err != nil || c.Name != "parity" {
		t.Errorf("a folder hides the preset of that name: %v, %v", c, err)
	}

	for _, path := range []string{"runs/johnson.yaml", "configs/parity", "nosuch.yaml"} {
		_, err := Load(path, nil)
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.ToSlash(path)) || !strings.Contains(err.Error(), "johnson, lengstrom") {
			t.Errorf("Load(%q): %v", path, err)
		}
	}
	if err := os.WriteFile("big.yaml", make([]byte, maxFileSize+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("big.yaml", nil); err == nil || err.Error() != "read config: big.yaml is larger than 1 MiB: not a config" {
		t.Errorf("a large file: %v", err)
	}
	if _, err := LoadPreset("jonson", nil); err == nil || !strings.HasPrefix(err.Error(), "no preset is called jonson; did you mean johnson? (presets: ") {
		t.Errorf("a misspelt preset: %v", err)
	}
}

func TestPresets(t *testing.T) {
	names := map[string]bool{}
	for _, p := range Presets() {
		names[p.Name] = true
		c, err := LoadPreset(p.Name, nil)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		if c.Name != p.Name {
			t.Errorf("preset %s calls itself %q", p.Name, c.Name)
		}
		if b, _ := presetFiles.ReadFile(p.Name + ".yaml"); b[0] != '#' || len(p.Summary) < 20 || len([]rune(p.Summary)) > 120 {
			t.Errorf("preset %s must open with a comment of one line that sums it up, has %q", p.Name, p.Summary)
		}
		assertRoundTrip(t, c)
	}
	for _, name := range []string{"johnson", "lengstrom", "parity", "preview", "pytorch-examples", "video"} {
		if !names[name] {
			t.Errorf("preset %s is missing", name)
			continue
		}
		c, err := LoadPreset(name, nil)
		if err == nil && (c.Data.Dir != "photos" || c.Style.Image != "style.jpg") {
			t.Errorf("preset %s does not name photos and style.jpg", name)
		}
	}
}

// The figures that make each recipe what it is, from the systems' own defaults.
func TestRecipes(t *testing.T) {
	johnson := Layers{"relu1_2": 5, "relu2_2": 5, "relu3_3": 5, "relu4_3": 5}
	ones := Layers{"relu1_2": 1, "relu2_2": 1, "relu3_3": 1, "relu4_3": 1}
	for _, tt := range []struct {
		name          string
		size, steps   int
		epochs        int
		content       Term
		style         Term
		tv            float64
		padding, head string
		up            string
		convention    string
	}{
		{"johnson", 256, 40000, 0, Term{1, Layers{"relu3_3": 1}}, Term{1, johnson}, 1e-6, "reflect-start", "tanh", "transposed", "caffe"},
		{"parity", 128, 1000, 0, Term{1, Layers{"relu3_3": 1}}, Term{1, johnson}, 1e-6, "reflect", "linear", "nearest", "caffe"},
		{"pytorch-examples", 256, 0, 2, Term{1e5, Layers{"relu2_2": 1}}, Term{1e10, ones}, 0, "reflect", "linear", "nearest", "torchvision"},
		{"lengstrom", 256, 0, 2, Term{7.5, Layers{"relu4_2": 1}}, Term{100, Layers{"relu1_1": 1, "relu2_1": 1, "relu3_1": 1, "relu4_1": 1, "relu5_1": 1}}, 2.553e-4, "zero", "tanh", "transposed", "caffe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := LoadPreset(tt.name, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := *got
			want.Data.Size, want.Train.Steps, want.Train.Epochs = tt.size, tt.steps, tt.epochs
			want.Loss = Loss{tt.content, tt.style, tt.tv, tt.convention}
			want.Network = Network{"c9s1-32,d64,d128,R128,R128,R128,R128,R128,u64,u32,c9s1-3", tt.padding, "instance", tt.up, tt.head, 150, 127.5, "relu4_1", ""}
			want.Train.Batch, want.Train.LR, want.Train.Schedule, want.Train.ClipNorm = 4, 1e-3, "constant", 0
			want.Train.Beta1, want.Train.Beta2, want.Train.Eps = 0.9, 0.999, 1e-8
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("recipe (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStarter(t *testing.T) {
	c, err := load("stylenet.yaml", Starter(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Data.Dir != "photos" || c.Style.Image != "style.jpg" {
		t.Errorf("the starter names %q and %q", c.Data.Dir, c.Style.Image)
	}
	s := Starter()
	s[0] = 'x'
	if Starter()[0] != '#' {
		t.Error("Starter shares its bytes")
	}
}

func TestTargets(t *testing.T) {
	if diff := cmp.Diff([]StyleImage{{Path: "a", Weight: 1}}, Style{Image: "a"}.Targets()); diff != "" {
		t.Error(diff)
	}
	s := Style{Images: []StyleImage{{Path: "a", Weight: 1}, {Path: "b", Weight: 3}}, Size: 255, Scale: 1.5}
	if diff := cmp.Diff([]StyleImage{{Path: "a", Weight: .25}, {Path: "b", Weight: .75}}, s.Targets()); diff != "" {
		t.Error(diff)
	}
	if s.Images[1].Weight != 3 {
		t.Error("Targets changed the config")
	}
	if got := s.LongSide(); got != 383 { // 382.5, away from zero
		t.Errorf("LongSide() = %d, want 383", got)
	}
}

func TestLayerNames(t *testing.T) {
	l := Layers{"relu5_1": 1, "relu1_2": 2, "relu3_4": 0, "relu3_1": .5, "relu1_1": 1}
	if diff := cmp.Diff([]string{"relu1_1", "relu1_2", "relu3_1", "relu5_1"}, l.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestNearest(t *testing.T) {
	options := []string{"batch", "beta1", "lr", "checkpoint_every"}
	for word, want := range map[string]string{
		"bacth": "batch", "Batch": "batch", "batch_size": "batch", "rl": "lr", "l": "lr",
		"checkpointEvery": "checkpoint_every", "check": "checkpoint_every", "zebra": "", "": "",
		strings.Repeat("batch", 100): "batch",
	} {
		if got := nearest(word, options); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "abc", 0}} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestDocs holds the tables of docs/config.md to the schemas: every key in its
// order, with its type and default.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	training, optimize, _ := strings.Cut(string(b), "\n## Repainting by optimisation\n")
	t.Run("training", func(t *testing.T) {
		want := Default()
		want.Data.Dir, want.Style.Image = "x", "x"
		testTables(t, training, Keys(), want, func(sets []string) (*Config, error) {
			return load("run.yaml", []byte("data: {dir: x}\nstyle: {image: x}"), sets)
		})
	})
	t.Run("optimize", func(t *testing.T) {
		want := DefaultOptimize()
		want.Content = "x"
		testTables(t, optimize, OptimizeKeys(), want, func(sets []string) (*Optimize, error) {
			// Without a style loss no style is required.
			file := "content: x\nloss: {style: {weight: 0}}"
			if strings.HasPrefix(sets[0], "loss.style.weight=") {
				file = "content: x\nstyles: [x]"
			}
			c, err := ParseOptimize("run.yaml", []byte(file), sets)
			if err == nil && strings.HasPrefix(sets[0], "loss.style.weight=") {
				c.Styles = nil
			} else if err == nil {
				c.Loss.Style.Weight = want.Loss.Style.Weight
			}
			return c, err
		})
	})
}

func testTables[C any](t *testing.T, text string, keys []string, want *C, read func(sets []string) (*C, error)) {
	types := map[string]string{}
	var documented []string
	for _, line := range strings.Split(text, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		key, value := strings.Trim(cells[1], "`"), strings.Trim(cells[3], "`")
		documented = append(documented, key)
		types[key] = cells[2]
		if len(cells[4]) < 10 {
			t.Errorf("%s has no meaning in docs/config.md", key)
		}
		if value == "required" {
			value = "x"
		}
		// A documented default must change nothing.
		got, err := read([]string{key + "=" + value})
		if err != nil {
			t.Errorf("default of %s in docs/config.md: %v", key, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("default of %s in docs/config.md (-code +docs):\n%s", key, diff)
		}
	}
	if diff := cmp.Diff(keys, documented); diff != "" {
		t.Errorf("keys of docs/config.md (-code +docs):\n%s", diff)
	}
	// The type's name is what a mistyped value is told.
	root := reflect.ValueOf(want).Elem()
	for key, name := range types {
		n, fault := parseOverride(key+"={x: 1}", root)
		if fault != nil {
			t.Fatal(fault)
		}
		if isText(key, root) {
			if name != "text" {
				t.Errorf("%s is text, docs/config.md says %s", key, name)
			}
			continue
		}
		d := decoder{places: map[string]place{}, mistyped: map[string]bool{}, meant: map[string]bool{}}
		d.begin(override)
		if strings.HasSuffix(key, ".layers") {
			n, _ = parseOverride(key+"=[]", root)
		}
		d.decode(n, reflect.ValueOf(new(C)).Elem(), "")
		if want := " must be " + name + ", "; len(d.faults) != 1 || !strings.Contains(d.faults[0].Error(), want) {
			t.Errorf("docs/config.md gives %s the type %q, the code says: %v", key, name, d.faults)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range presetNames() {
		b, err := presetFiles.ReadFile(name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "train.batch=8")
	}
	f.Add(Starter(), "loss.style.layers={relu1_1: 1}")
	f.Add([]byte(minimal), "style.images=[a, {path: b, weight: 2}]")
	f.Add([]byte("a: &a {b: *a}\n<<: *a\n? [x]\n: y"), "name=\"\\x00\"")
	f.Fuzz(func(t *testing.T, content []byte, set string) {
		c, err := load("fuzz.yaml", content, []string{set})
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || len(faults) == 0 || c != nil {
				t.Fatalf("%T %v, config %v", err, err, c)
			}
			return
		}
		assertRoundTrip(t, c)
		b, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		var plain Config
		if err := yaml.Unmarshal(b, &plain); err != nil {
			t.Fatalf("yaml.v3 does not read the resolved config: %v\n%s", err, b)
		}
	})
}
