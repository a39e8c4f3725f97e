package train

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stylenet/configs"
	"stylenet/internal/checkpoint"
	"stylenet/internal/inference"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// multistyle trains a network for many styles (Dumoulin, Shlens and Kudlur 2017):
// one in each step, all in turn. The graph is that of a network of one style. Its
// scales and shifts, and the Gram matrices that it is compared with, are those of
// the step's style: sums over all styles, with weights that are uploaded with the
// photos.
//
// With network.from the styles are added to a model: their scales and shifts
// alone are trained, and nothing else of it is.
type multistyle struct {
	johnson
	styles  []configs.NamedStyle
	base    *model.Model      // with the new styles, of a run that begins with network.from
	grams   [][]kernels.Array // of each style, for each style layer
	mix     kernels.Array     // the weight of each style in the step at hand
	choose  []kernels.Kernel  // the sums
	weights []float32         // of mix
}

func (k *multistyle) design() (networks.Design, error) {
	r := k.r
	k.styles = r.config.Style.Named()
	var names []string
	for _, s := range k.styles {
		names = append(names, s.Name)
	}
	if r.config.Network.From == "" {
		plain, err := k.plain()
		return networks.MultiStyle{Johnson: plain, Styles: names}, err
	}
	design, err := k.extend(names)
	if err != nil {
		return nil, fmt.Errorf("network.from: %w", err)
	}
	n := &r.config.Network
	n.Architecture, n.Padding, n.Norm, n.Upsample, n.Output = design.Architecture, design.Padding, design.Norm, design.Upsample, design.Output
	if n.Output == "tanh" {
		n.OutputScale, n.OutputOffset = float64(design.OutputScale), float64(design.OutputOffset)
	}
	if err := r.config.Validate(); err != nil { // data.size may not fit the model's network
		return nil, err
	}
	_, err = k.plain()
	return design, err
}

// extend is the network of the run's base with the styles of that name, which are
// in the checkpoint already where there is one.
func (k *multistyle) extend(names []string) (networks.MultiStyle, error) {
	var err error
	m := &model.Model{}
	if s := k.r.from; s != nil {
		if m, err = model.FromTensors(s.Model, s.Metadata); err != nil {
			return networks.MultiStyle{}, err
		}
	} else {
		if m, err = k.r.openBase(k.r.config.Network.From); err != nil {
			return networks.MultiStyle{}, err
		}
		if m, err = m.AddStyles(names...); err != nil {
			return networks.MultiStyle{}, fmt.Errorf("%s: %w", k.r.config.Network.From, err)
		}
		k.base = m
	}
	design, ok := m.Network.(networks.MultiStyle)
	for _, name := range names {
		if !ok || !slices.Contains(design.Styles, name) {
			return design, fmt.Errorf("the checkpoint has no style %q: it has %s", name, strings.Join(m.Styles(), ", "))
		}
	}
	return design, nil
}

// openBase reads a model file, or the newest checkpoint of a run.
func (r *Run) openBase(path string) (*model.Model, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return model.Open(path)
	}
	s, warnings, err := checkpoint.Latest(filepath.Join(path, checkpointsDir))
	for _, w := range warnings {
		r.warn(fmt.Errorf("a damaged checkpoint was passed over: %s", w))
	}
	if errors.Is(err, checkpoint.ErrNone) {
		return nil, fmt.Errorf("%s is no run: it holds no checkpoint", path)
	} else if err != nil {
		return nil, err
	}
	m, err := model.FromTensors(s.Model, s.Metadata)
	if err != nil {
		return nil, fmt.Errorf("%s: checkpoint of step %d: %w", path, s.Step, err)
	}
	return m, nil
}

func (k *multistyle) initial(net *networks.Network) (*weights.Set, error) {
	if k.base != nil {
		return k.base.Weights, nil
	}
	return k.johnson.initial(net)
}

// build compiles the step of one style, and binds what makes it that of another.
func (k *multistyle) build() (g graph, err error) {
	if err := k.openStyles(); err != nil {
		return g, err
	}
	r := k.r
	first, err := r.model.Mix([]model.Share{{Style: k.styles[0].Name, Weight: 1}})
	if err != nil {
		return g, err
	}
	current, err := inference.Upload(r.dev, k.net, first.Weights)
	if err != nil {
		return g, err
	}
	rows, err := k.openRows(current)
	if err != nil {
		return g, err
	}
	frozen := func(name string) bool { return r.config.Network.From != "" && rows[name] == nil }
	train := func(name string) bool { return !frozen(name) }
	if g, err = k.compile(r.config.Train.Batch, losses.Targets{}, current, train); err != nil {
		return g, err
	}
	g.turns = &turns{of: k.turn}
	for _, s := range k.styles {
		g.turns.names = append(g.turns.names, s.Name)
	}
	gradient := 0
	for _, p := range k.net.Params() {
		if frozen(p.Name) {
			continue
		}
		of := rows[p.Name]
		if of == nil {
			of = []row{{p.Name, everyStep, current[p.Name]}}
		}
		for _, row := range of {
			g.names, g.params = append(g.names, row.name), append(g.params, row.array)
			g.turns.groups, g.turns.gradients = append(g.turns.groups, row.style), append(g.turns.gradients, gradient)
		}
		gradient++
	}
	return g, nil
}

// row is a style's scale or shift at a norm, on the device.
type row struct {
	name  string // of its tensor
	style int    // the index in the configuration
	array kernels.Array
}

// openRows uploads the scales and shifts of the styles that are trained, by the
// name that they have in a network of one style, and binds what makes the
// current ones of them.
func (k *multistyle) openRows(current inference.Arrays) (map[string][]row, error) {
	r := k.r
	many, err := r.model.Network.Build()
	if err != nil {
		return nil, err
	}
	rows := map[string][]row{}
	for _, of := range many.Rows() {
		name := many.Styles()[of.Style]
		i := slices.IndexFunc(k.styles, func(s configs.NamedStyle) bool { return s.Name == name })
		if i < 0 {
			continue
		}
		t := r.model.Weights.Get(of.Name)
		a, err := inference.NewParameter(r.dev, t.Shape, t.Data)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		rows[of.Plain] = append(rows[of.Plain], row{of.Name, i, a})
	}
	for _, p := range k.net.Params() {
		of := rows[p.Name]
		if of == nil {
			continue
		}
		arrays := make([]kernels.Array, len(k.styles))
		for _, row := range of {
			arrays[row.style] = row.array
		}
		if err := k.chooseInto(current[p.Name], arrays); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// chooseInto binds dst as the sum of what each style has in its place.
func (k *multistyle) chooseInto(dst kernels.Array, of []kernels.Array) error {
	c, err := k.r.dev.Combine(dst, of, k.mix)
	k.choose = append(k.choose, c)
	return err
}

// openStyles uploads the Gram matrices of all styles, and makes those that a step
// is compared with.
func (k *multistyle) openStyles() (err error) {
	k.weights = make([]float32, len(k.styles))
	if k.mix, err = inference.NewParameter(k.r.dev, []int{len(k.styles)}, k.weights); err != nil {
		return err
	}
	for _, s := range k.styles {
		values, err := k.r.styleGrams(s.Images)
		if err != nil {
			return err
		}
		var matrices []kernels.Array
		for _, v := range values {
			a, err := losses.NewGram(k.r.dev, v)
			if err != nil {
				return err
			}
			matrices = append(matrices, a)
		}
		k.grams = append(k.grams, matrices)
	}
	for i, like := range k.grams[0] {
		target, err := k.r.dev.NewParameter(like.Shape())
		if err != nil {
			return err
		}
		k.styleTargets = append(k.styleTargets, target)
		var of []kernels.Array
		for _, matrices := range k.grams {
			of = append(of, matrices[i])
		}
		if err := k.chooseInto(target, of); err != nil {
			return err
		}
	}
	return nil
}

// turnsStream tells the random order of styles from what else the seed decides.
const turnsStream = 0x7374796c65 << 24

// turn is the style of a step, and how often its turn has come by then. Styles
// follow each other in rounds; each round has an order of its own, drawn from the
// seed, so that a step's style depends on nothing but its number.
func (k *multistyle) turn(step int) (style, count int) {
	round, place := (step-1)/len(k.styles), (step-1)%len(k.styles)
	order := rand.New(rand.NewPCG(k.r.config.Train.Seed, turnsStream+uint64(round))).Perm(len(k.styles))
	return order[place], round + 1
}

func (k *multistyle) upload(photos []float32) error {
	if err := k.johnson.upload(photos); err != nil {
		return err
	}
	clear(k.weights)
	style, _ := k.turn(k.r.step + 1)
	k.weights[style] = 1
	return k.r.dev.Upload(k.mix, k.weights)
}

func (k *multistyle) launch() {
	for _, c := range k.choose {
		c()
	}
	k.johnson.launch()
}

// samples are the styles that are trained.
func (k *multistyle) samples() ([]sample, error) {
	var all []sample
	for i, s := range k.styles {
		m, err := k.r.model.Mix([]model.Share{{Style: s.Name, Weight: 1}})
		if err != nil {
			return nil, err
		}
		all = append(all, sample{s.Name, m, func(dev kernels.Device, h, w int) (meter, error) {
			return losses.NewMeter(dev, k.r.lossNet, k.r.lossArrays, k.grams[i], k.r.recipe, h, w)
		}})
	}
	return all, nil
}
