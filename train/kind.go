package train

import (
	"context"
	"encoding/json"
	"fmt"

	"stylenet/internal/autodiff"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/networks"
	"stylenet/internal/weights"
	"stylenet/losses"
)

// kind is one way to train, the config key of that name: what the network is,
// what a step takes beside a batch of photos, what its losses are made of, and
// what previews and evaluations look at. The loop, the optimiser, checkpoints,
// logs, previews and evaluations are the same for all.
//
// The run's config, device, VGG-19, recipe of the losses and loader of photos
// are there before the first call.
type kind interface {
	// design describes the network of the model.
	design() (networks.Design, error)
	// initial are the weights of all of that network in a run that begins.
	initial(net *networks.Network) (*weights.Set, error)
	// openData opens what steps take beside the photos. state is what the
	// method of that name gave the checkpoint that the run goes on from; it is
	// empty for a run that begins, or for a kind that keeps none.
	openData(state json.RawMessage) error
	// build makes the graph of a step, and what launch launches before it.
	build() (graph, error)
	// next waits for what the next step takes beside the photos.
	next(ctx context.Context) error
	// upload hands the device a step's inputs: photos, (N, 3, size, size), RGB
	// 0-255, or what DataOptions derives of them, and what next has taken. Before the first next, when kernels are
	// bound, any values do in its place.
	upload(photos []float32) error
	// launch launches what comes before the graph. A device may record it: it
	// launches the same kernels each time, and does nothing else.
	launch()
	// state is what a checkpoint keeps of the inputs beside the photos, as JSON,
	// as of the last upload; nil is nothing.
	state() any
	// samples are what previews and evaluations look at, of the weights that are
	// in the run's model.
	samples() ([]sample, error)
	// close frees what is not the run's device's.
	close() error
}

// newKind makes the kind of a run, which may not be open yet.
func newKind(r *Run) (kind, error) {
	switch name := r.config.Kind; name {
	case "johnson":
		return &johnson{r: r}, nil
	case "multistyle":
		return &multistyle{johnson: johnson{r: r}}, nil
	case "adain":
		return &adain{r: r}, nil
	case "video":
		return &video{johnson: johnson{r: r}}, nil
	default:
		return nil, fmt.Errorf("kind: unknown kind of training %q", name)
	}
}

// graph is a step's graph, compiled, what it learns, and what is read of it.
type graph struct {
	machine *autodiff.Machine
	terms   []lossTerm
	names   []string        // of the trained parameters, as the model names them
	params  []kernels.Array // these on the device, in the order in which the graph has them
	turns   *turns          // nil where a step trains all of them
}

// turns has groups of parameters that stand for the same ones of the graph take
// turns: a step trains one group beside what every step trains. Each group has
// an Adam of its own, that runs in its turn alone and counts its own steps. With
// one Adam for all, old momentum would go on moving a group in the steps of
// others, and a mean square that falls in these would make its own steps too
// large.
type turns struct {
	names     []string // of the groups
	groups    []int    // of each parameter, or everyStep
	gradients []int    // the index of each parameter's gradient in the graph
	// of is the group of a step, and how often its turn has come by then, this
	// step included.
	of func(step int) (group, count int)
}

// everyStep is the group of parameters that every step trains.
const everyStep = -1

// group lists the parameters of a group, and the indices of their gradients.
// Without turns all are in everyStep.
func (g *graph) group(group int) (params, gradients []int) {
	for i := range g.params {
		if g.turns == nil {
			params, gradients = append(params, i), append(gradients, i)
		} else if g.turns.groups[i] == group {
			params, gradients = append(params, i), append(gradients, g.turns.gradients[i])
		}
	}
	return params, gradients
}

// lossTerm is a number that is read of each step: a part of one of its metrics.
type lossTerm struct {
	metric func(*Metrics) *float64
	weight float64
	node   *autodiff.Node // a kept scalar, before its weight
}

// The metrics that terms belong to.
func content(m *Metrics) *float64        { return &m.Content }
func style(m *Metrics) *float64          { return &m.Style }
func totalVariation(m *Metrics) *float64 { return &m.TotalVariation }
func temporal(m *Metrics) *float64       { return &m.Temporal }

// perceptualTerms are those of the perceptual losses.
func perceptualTerms(r losses.Recipe, t *losses.Terms) []lossTerm {
	var terms []lossTerm
	for i, l := range r.Content {
		terms = append(terms, lossTerm{content, l.Weight, t.Content[i]})
	}
	for i, l := range r.Style {
		terms = append(terms, lossTerm{style, l.Weight, t.Style[i]})
	}
	if t.TotalVariation != nil {
		terms = append(terms, lossTerm{totalVariation, r.TotalVariation, t.TotalVariation})
	}
	if t.Temporal != nil {
		terms = append(terms, lossTerm{temporal, r.Temporal, t.Temporal})
	}
	return terms
}

// sample is a network of pictures that training has come to: the model itself,
// or one that is made of it for a style.
type sample struct {
	name  string // of the style; "" where there is one sample
	model *model.Model
	// meter makes what measures the sample's results, of h×w pixels.
	meter func(dev kernels.Device, h, w int) (meter, error)
}

// meter measures finished pictures, as *losses.Meter does: the loss of each
// content and style layer of the recipe, before its weight.
type meter interface {
	Measure(photo, result []float32) (content, style []float64, err error)
	Close() error
}

// trainable lists the parameters of a network that are learned, and their
// arrays, in the order in which Graph.Network adds them.
func trainable(net *networks.Network, arrays map[string]kernels.Array) (names []string, params []kernels.Array) {
	for _, p := range net.Params() {
		if p.Trainable {
			names = append(names, p.Name)
			params = append(params, arrays[p.Name])
		}
	}
	return names, params
}
