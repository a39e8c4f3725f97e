package onnx

import (
	"fmt"
	"slices"
	"strings"

	"stylenet/internal/formats/onnx/onnxpb"
)

const (
	maxNodes = 1 << 13
	// maxSized bounds each tensor that depends on the picture's size. They are
	// shapes, borders and scales.
	maxSized = 1 << 12
	// memory of constants: as many bytes as the file has so often, and this many
	// besides.
	memoryFactor = 8
	memoryBase   = 128 << 20
	maxWork      = 1 << 30 // numbers looked at
)

// graph is the part of a file's graph that its output needs.
type graph struct {
	opset         int64
	nodes         []*graphNode // each behind those that it reads
	input, output *onnxpb.ValueInfoProto
	initializers  map[string]*onnxpb.TensorProto
	static        map[string]*tensor // read or computed; the same for all sizes
	info          Info
	limit, budget int64 // bytes of tensors
	work          int64 // numbers that may be looked at
	folds         map[string]func(*call) []*tensor
	translations  map[string]func(*call) []*feature
	noted         map[string]bool
}

// graphNode is one operation.
type graphNode struct {
	name            string // of the file, or made of the operator and its place
	op              string
	inputs, outputs []string
	attributes      map[string]*onnxpb.AttributeProto
}

func newGraph(m *onnxpb.ModelProto, size int64) (*graph, error) {
	p := m.GetGraph()
	if p == nil {
		return nil, invalid("it has no graph")
	}
	g := &graph{
		initializers: map[string]*onnxpb.TensorProto{}, static: map[string]*tensor{}, noted: map[string]bool{},
		limit: memoryFactor*size + memoryBase, work: maxWork, folds: folds(), translations: translations(),
	}
	g.budget = g.limit
	var err error
	if g.opset, err = opsetOf(m); err != nil {
		return nil, err
	}
	g.info = describe(m, g.opset)
	if err := g.setPorts(p); err != nil {
		return nil, err
	}
	if len(p.GetSparseInitializer()) > 0 {
		return nil, unsupported("it holds sparse tensors: convert them to dense ones")
	}
	makers, err := g.makers(p)
	if err != nil {
		return nil, err
	}
	return g, g.pick(p.GetNode(), makers)
}

// opsetOf is the version of ONNX's own operators.
func opsetOf(m *onnxpb.ModelProto) (int64, error) {
	opset := int64(1) // of files before there were versions
	for _, o := range m.GetOpsetImport() {
		if standard(o.GetDomain()) {
			opset = o.GetVersion()
		}
	}
	if opset < 1 || opset > newest {
		return 0, unsupported("it is of opset %d: 1 to %d are read", opset, newest)
	}
	return opset, nil
}

func standard(domain string) bool { return domain == "" || domain == "ai.onnx" }

// setPorts finds the input and the output.
func (g *graph) setPorts(p *onnxpb.GraphProto) error {
	for _, t := range p.GetInitializer() {
		if g.initializers[t.GetName()] != nil {
			return invalid("two tensors are called %.200q", t.GetName())
		}
		g.initializers[t.GetName()] = t
	}
	var inputs []string
	for _, v := range p.GetInput() {
		if g.initializers[v.GetName()] == nil { // old files list weights as inputs
			inputs = append(inputs, v.GetName())
			g.input = v
		}
	}
	if len(inputs) == 2 {
		if flag := map[string]string{mixName: "--style-mix", styleName: "--style"}[inputs[1]]; flag != "" {
			return unsupported("it takes 2 inputs, %.200q: networks of one picture are read; export it with %s, or open the .safetensors", inputs, flag)
		}
	}
	if len(inputs) != 1 {
		return unsupported("it takes %d inputs, %.200q: networks of one picture are read", len(inputs), clip(inputs))
	}
	if len(p.GetOutput()) == 0 {
		return invalid("it has no output")
	}
	g.output = p.GetOutput()[0]
	if n := len(p.GetOutput()); n > 1 {
		g.note("the first of %d outputs is read", n)
	}
	return nil
}

// makers maps each value to the node that makes it, or −1 for those that are
// there from the start.
func (g *graph) makers(p *onnxpb.GraphProto) (map[string]int, error) {
	if len(p.GetNode()) > maxNodes {
		return nil, unsupported("its graph has %d nodes: up to %d are read", len(p.GetNode()), maxNodes)
	}
	makers := map[string]int{g.input.GetName(): -1}
	for name := range g.initializers {
		makers[name] = -1
	}
	for i, n := range p.GetNode() {
		for _, name := range n.GetOutput() {
			if name == "" {
				continue // left out
			}
			if _, ok := makers[name]; ok {
				return nil, invalid("the value %.200q is made twice", name)
			}
			makers[name] = i
		}
	}
	return makers, nil
}

// pick keeps the nodes that the output needs.
func (g *graph) pick(nodes []*onnxpb.NodeProto, makers map[string]int) error {
	needed := map[int]bool{}
	queue := []string{g.output.GetName()}
	reader := len(nodes)
	visit := func(name string) error {
		maker, ok := makers[name]
		switch {
		case name == "":
			return nil // an optional input
		case !ok:
			return invalid("%s reads %.200q, which nothing makes", place(nodes, reader), name)
		case maker >= reader:
			return invalid("%s reads %.200q, which is made behind it: the graph has a cycle or is out of order", place(nodes, reader), name)
		case maker >= 0 && !needed[maker]:
			needed[maker] = true
		}
		return nil
	}
	if err := visit(queue[0]); err != nil {
		return err
	}
	for reader = len(nodes) - 1; reader >= 0; reader-- {
		if !needed[reader] {
			continue
		}
		for _, name := range nodes[reader].GetInput() {
			if err := visit(name); err != nil {
				return err
			}
		}
	}
	for i, p := range nodes {
		if !needed[i] {
			continue
		}
		n, err := newNode(p, i)
		if err != nil {
			return err
		}
		g.nodes = append(g.nodes, n)
	}
	return nil
}

func place(nodes []*onnxpb.NodeProto, i int) string {
	if i == len(nodes) {
		return "the output"
	}
	return fmt.Sprintf("node %.200q (%.100s)", nodeName(nodes[i], i), nodes[i].GetOpType())
}

func nodeName(p *onnxpb.NodeProto, i int) string {
	if p.GetName() == "" {
		return fmt.Sprintf("%.100s_%d", p.GetOpType(), i)
	}
	return p.GetName()
}

func newNode(p *onnxpb.NodeProto, i int) (*graphNode, error) {
	n := &graphNode{name: nodeName(p, i), op: p.GetOpType(), inputs: p.GetInput(), outputs: p.GetOutput(), attributes: map[string]*onnxpb.AttributeProto{}}
	if !standard(p.GetDomain()) {
		return nil, n.unsupported("it is an operator of %.200q: those of ONNX itself are read", p.GetDomain())
	}
	for _, a := range p.GetAttribute() {
		if n.attributes[a.GetName()] != nil {
			return nil, invalid("%s has two attributes %.200q", n, a.GetName())
		}
		if a.GetG() != nil || len(a.GetGraphs()) > 0 {
			return nil, n.unsupported("it runs a graph of its own, by a condition or in a loop: export the model without control flow")
		}
		n.attributes[a.GetName()] = a
	}
	return n, nil
}

func (n *graphNode) String() string { return fmt.Sprintf("node %.200q (%.100s)", n.name, n.op) }

func (n *graphNode) unsupported(format string, args ...any) error {
	return &UnsupportedError{Node: n.name, Op: n.op, Reason: fmt.Sprintf(format, args...)}
}

// note tells people what of the file is not in the network, once.
func (g *graph) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !g.noted[text] {
		g.noted[text] = true
		g.info.Notes = append(g.info.Notes, text)
	}
}

// constant is a tensor that is the same for all sizes, or nil.
func (g *graph) constant(name string) (*tensor, error) {
	if t := g.static[name]; t != nil {
		return t, nil
	}
	p := g.initializers[name]
	if p == nil {
		return nil, nil
	}
	t, err := g.fromProto(p)
	if err == nil {
		g.static[name] = t
	}
	return t, err
}

// declaredSides are the rows and columns that the file fixes, or false.
func (g *graph) declaredSides() (h, w int, ok bool) {
	dims, layout := g.inputLayout()
	at := func(dim int) int {
		i := slices.Index(layout, dim)
		return int(min(max(dims[i].GetDimValue(), 0), maxElements))
	}
	if len(dims) != len(layout) {
		return 0, 0, false
	}
	h, w = at(rows), at(columns)
	return h, w, h > 0 && w > 0 && h <= maxPicture && w <= maxPicture
}

// inputLayout is the order of the input's axes, which nothing in a file says:
// channels are few.
func (g *graph) inputLayout() ([]*onnxpb.TensorShapeProto_Dimension, []int) {
	dims := g.input.GetType().GetTensorType().GetShape().GetDim()
	few := func(i int) bool { v := dims[i].GetDimValue(); return v == 1 || v == 3 || v == 4 }
	switch {
	case len(dims) == 4 && few(3) && !few(1):
		return dims, layoutNHWC()
	case len(dims) == 3 && few(2) && !few(0):
		return dims, layoutHWC()
	case len(dims) == 3:
		return dims, layoutCHW()
	}
	return dims, layoutNCHW()
}

// inputChannels are those that the file fixes, or 3.
func (g *graph) inputChannels() int {
	dims, layout := g.inputLayout()
	if i := slices.Index(layout, channels); i < len(dims) && dims[i].GetDimValue() > 0 {
		return int(min(dims[i].GetDimValue(), maxElements))
	}
	return 3
}

func layoutName(layout []int) string {
	var b strings.Builder
	for _, d := range layout {
		b.WriteByte("NCHW"[d+1])
	}
	return b.String()
}
