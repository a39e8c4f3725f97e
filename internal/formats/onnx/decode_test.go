package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stylenet/internal/formats/onnx/onnxpb"
	"stylenet/internal/networks"
)

func decode(t *testing.T, raw []byte) (*Model, error) {
	t.Helper()
	m, err := Decode(bytes.NewReader(raw), int64(len(raw)), nil)
	if (m == nil) == (err == nil) {
		t.Fatalf("%v, %v", m, err)
	}
	return m, err
}

// What Encode writes comes back as it was, with the border of free size and
// without.
func TestDecodeOwn(t *testing.T) {
	nets := map[string]*networks.Network{"paddings": paddings(), "apart": {Channels: 3, Layers: []networks.Layer{
		{Name: "pool", Op: networks.WindowPool{Kernel: 2, Width: 3, Stride: 1, Pad: networks.Padding{Left: 1, Right: 1}}, Inputs: []int{networks.Input}},
		{Name: "resize", Op: networks.Resize{Scale: 2, Columns: .5, Linear: true, Coordinates: "half_pixel"}, Inputs: []int{0}},
	}}}
	for name, j := range johnsons() {
		net, err := j.Build()
		if err != nil {
			t.Fatal(err)
		}
		nets[name] = net
	}
	for name, net := range nets {
		set := randomWeights(t, net)
		meta := Options{Doc: "doc", Version: "1.2", Properties: map[string]string{"k": "v"}}
		multiples := []int{0}
		if m, least, err := net.Multiple(); err == nil {
			multiples = append(multiples, m)
			meta.Least = least
		}
		for _, meta.Multiple = range multiples {
			var raw bytes.Buffer
			if err := Encode(&raw, net, set, meta); err != nil {
				t.Fatal(err)
			}
			if !Sniff(raw.Bytes()[:min(raw.Len(), 512)], int64(raw.Len())) {
				t.Errorf("%s: not taken for ONNX", name)
			}
			m, err := decode(t, raw.Bytes())
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if !reflect.DeepEqual(m.Network.Layers, net.Layers) {
				t.Errorf("%s, multiple %d: layers\n%+v, want\n%+v", name, meta.Multiple, m.Network.Layers, net.Layers)
			}
			if !reflect.DeepEqual(m.Weights, set) {
				t.Errorf("%s: other weights", name)
			}
			want := Info{
				IR: irVersion, Opset: MinOpset, Producer: "stylenet 1.2", Graph: "network", Doc: "doc", Properties: meta.Properties,
				Input:    Port{Name: "input", Type: "float", Shape: fmt.Sprintf("batch×%d×height×width", net.Channels), Layout: "NCHW"},
				Multiple: max(meta.Multiple, 1),
			}
			want.Output = m.Info.Output
			if !reflect.DeepEqual(m.Info, want) {
				t.Errorf("%s: %+v, want %+v", name, m.Info, want)
			}
			if meta.Multiple > 0 {
				if multiple, least, err := m.Network.Multiple(); multiple != meta.Multiple || least != meta.Least || err != nil {
					t.Errorf("%s: multiple %d, least %d, %v", name, multiple, least, err)
				}
			}
		}
	}
}

// What the options of Encode make of a network is read as that network: of any
// size, of floats, with the weights as far as they were kept. Only the limits of
// integers stay in it.
func TestDecodeVariants(t *testing.T) {
	for name, j := range johnsons() {
		net, err := j.Build()
		if err != nil {
			t.Fatal(err)
		}
		set := randomWeights(t, net)
		multiple, least, err := net.Multiple()
		if err != nil {
			t.Fatal(err)
		}
		for variant, o := range map[string]Options{
			"newest": {Opset: MaxOpset}, "bytes": {Bytes: true}, "half": {Precision: Float16}, "half-bytes": {Precision: Float16, Bytes: true},
			"fixed": {Width: 2*least + 4*multiple, Height: 2 * least}, "odd": {Width: 61, Height: 59, Bytes: true}, "tiny": {Width: 1, Height: 2},
			"int8": {Precision: Int8}, "int8-odd-bytes": {Precision: Int8, Width: 61, Height: 59, Bytes: true},
		} {
			o.Multiple, o.Least = multiple, least
			if o.Precision == Int8 {
				if maps, _ := Quantized(net); len(maps) == 0 {
					continue
				}
				o.Ranges = someRanges(net)
			}
			var raw bytes.Buffer
			if err := Encode(&raw, net, set, o); err != nil {
				t.Fatal(err)
			}
			m, err := decode(t, raw.Bytes())
			if err != nil {
				t.Errorf("%s-%s: %v", name, variant, err)
				continue
			}
			if o.Precision == Int8 {
				if got, want := unlimited(m.Network), kinds(net); !slices.Equal(got, want) {
					t.Errorf("%s-%s: layers %v, want %v", name, variant, got, want)
				}
				continue
			}
			if !reflect.DeepEqual(m.Network.Layers, net.Layers) {
				t.Errorf("%s-%s: layers\n%+v, want\n%+v", name, variant, m.Network.Layers, net.Layers)
				continue
			}
			for i, want := range set.Tensors() {
				got := m.Weights.Tensors()[i]
				for k, v := range want.Data {
					if v != got.Data[k] && (o.Precision != Float16 || math.Abs(float64(v-got.Data[k])) > 1e-3*math.Abs(float64(v))+1e-7) {
						t.Fatalf("%s-%s: %s holds %g, want %g", name, variant, got.Name, got.Data[k], v)
					}
				}
			}
		}
	}
}

// kinds are the kinds of a network's layers, and where it pads with what.
func kinds(net *networks.Network) (kinds []string) {
	for _, l := range net.Layers {
		kind := fmt.Sprintf("%T", l.Op)
		if p, ok := l.Op.(networks.Pad); ok {
			kind = fmt.Sprintf("%s%+v", kind, p)
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// unlimited are the kinds but for the limits of integers.
func unlimited(net *networks.Network) []string {
	rest := &networks.Network{}
	for _, l := range net.Layers {
		if p, ok := l.Op.(networks.Pointwise); !ok || p.Function != networks.Clip {
			rest.Layers = append(rest.Layers, l)
		}
	}
	return kinds(rest)
}

// sketch is a graph for tests: "picture" [1, 3, height, width] to "painting".
func sketch(nodes ...*onnxpb.NodeProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{
			Node:   nodes,
			Input:  []*onnxpb.ValueInfoProto{pictures("picture", 3, "height", "width")},
			Output: []*onnxpb.ValueInfoProto{pictures("painting", 3, "height", "width")},
			Initializer: []*onnxpb.TensorProto{
				number("one", 1), number("scales", 1, 1, 2, 2), number("vector", 1, 2, 3),
				{Name: proto.String("kernel"), Dims: []int64{3, 3, 1, 1}, DataType: proto.Int32(1), FloatData: make([]float32, 9)},
				whole64("zero", 0), whole64("zeros", 0, 0), whole64("axes", 2, 3), whole64("shape", 1, 3, -1), whole64("huge", 1<<40, 1<<40),
			},
		},
	}
}

// pictures describes a batch of feature maps whose sides are free.
func pictures(name string, channels int, sides ...string) *onnxpb.ValueInfoProto {
	v := Options{}.pictures(name, "", networks.Size{C: channels})
	shape := v.GetType().GetTensorType().GetShape()
	shape.Dim = shape.Dim[:2+len(sides)]
	return v
}

func number(name string, values ...float32) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, Dims: []int64{int64(len(values))}, DataType: proto.Int32(1), FloatData: values}
}

func whole64(name string, values ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, Dims: []int64{int64(len(values))}, DataType: proto.Int32(7), Int64Data: values}
}

// step is a node that is called as its operator is.
func step(op, inputs, outputs string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Name: proto.String("the " + op), Input: strings.Split(inputs, " "), Output: strings.Split(outputs, " "), Attribute: attributes}
}

func marshal(t testing.TB, m *onnxpb.ModelProto) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDecodeErrors(t *testing.T) {
	with := func(change func(m *onnxpb.ModelProto), nodes ...*onnxpb.NodeProto) *onnxpb.ModelProto {
		if nodes == nil {
			nodes = []*onnxpb.NodeProto{step("Relu", "picture", "painting")}
		}
		m := sketch(nodes...)
		change(m)
		return m
	}
	bad := func(change func(x *onnxpb.TensorProto)) *onnxpb.ModelProto {
		return with(func(m *onnxpb.ModelProto) { change(m.Graph.Initializer[0]) }, step("Add", "picture one", "painting"))
	}
	var line []*onnxpb.NodeProto
	for i := range 4097 {
		line = append(line, step("Sigmoid", fmt.Sprint("x", i), fmt.Sprint("x", i+1)))
	}
	line[0].Input[0], line[4096].Output[0] = "picture", "painting"
	var doubled []*onnxpb.NodeProto
	for i := range 40 {
		doubled = append(doubled, step("Concat", fmt.Sprintf("x%d x%d", i, i), fmt.Sprint("x", i+1), integer("axis", 1)))
	}
	doubled[0].Input, doubled[39].Output = []string{"picture", "picture"}, []string{"painting"}
	var grown []*onnxpb.NodeProto
	for i := range 40 {
		grown = append(grown, step("Concat", fmt.Sprintf("x%d x%d", i, i), fmt.Sprint("x", i+1), integer("axis", 0)))
	}
	grown[0].Input = []string{"one", "one"}
	grown = append(grown, step("Add", "picture x40", "painting"))
	conv := func(a ...*onnxpb.AttributeProto) *onnxpb.ModelProto {
		return sketch(step("Conv", "picture kernel", "painting", a...))
	}
	format, unsupported := new(*FormatError), new(*UnsupportedError)
	for name, test := range map[string]struct {
		model  *onnxpb.ModelProto
		target any
		text   string
	}{
		"no graph":           {with(func(m *onnxpb.ModelProto) { m.Graph = nil }), format, "it has no graph"},
		"no output":          {with(func(m *onnxpb.ModelProto) { m.Graph.Output = nil }), format, "it has no output"},
		"no input":           {with(func(m *onnxpb.ModelProto) { m.Graph.Input = nil }), unsupported, "it takes 0 inputs"},
		"two inputs":         {with(func(m *onnxpb.ModelProto) { m.Graph.Input = append(m.Graph.Input, pictures("style", 3, "h", "w")) }), unsupported, `it takes 2 inputs, ["picture" "style"]: networks of one picture are read; export it with --style, or open the .safetensors`},
		"opset":              {with(func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = proto.Int64(99) }), unsupported, "it is of opset 99: 1 to 28 are read"},
		"sparse":             {with(func(m *onnxpb.ModelProto) { m.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{}} }), unsupported, "sparse tensors"},
		"input of 2 axes":    {with(func(m *onnxpb.ModelProto) { m.Graph.Input[0] = pictures("picture", 3) }), unsupported, "its input has 2 dimensions"},
		"many channels":      {with(func(m *onnxpb.ModelProto) { m.Graph.Input[0] = pictures("picture", 1<<40, "h", "w") }), unsupported, "its input has 268435456 channels"},
		"output is unknown":  {with(func(m *onnxpb.ModelProto) { m.Graph.Output[0].Name = proto.String("x") }), format, `the output reads "x", which nothing makes`},
		"output is input":    {with(func(m *onnxpb.ModelProto) { m.Graph.Output[0].Name = proto.String("picture") }), unsupported, "the graph gives back its input"},
		"output is constant": {with(func(m *onnxpb.ModelProto) { m.Graph.Output[0].Name = proto.String("one") }), unsupported, `its output "one" does not depend on the picture`},
		"output is flat":     {sketch(step("Relu", "picture", "x"), step("Flatten", "x", "painting")), unsupported, `node "painting" (output): a tensor of [1 `},
		"output is whole":    {sketch(step("Shape", "picture", "painting")), unsupported, "does not depend on the picture"},

		"missing input":     {sketch(step("Relu", "x", "painting")), format, `node "the Relu" (Relu) reads "x", which nothing makes`},
		"cycle":             {sketch(step("Add", "picture x", "painting"), step("Relu", "painting", "x")), format, `node "the Add" (Add) reads "x", which is made behind it: the graph has a cycle or is out of order`},
		"itself":            {sketch(step("Add", "picture painting", "painting")), format, "has a cycle"},
		"made twice":        {sketch(step("Relu", "picture", "painting"), step("Tanh", "picture", "painting")), format, `the value "painting" is made twice`},
		"made of a weight":  {sketch(step("Relu", "picture", "one")), format, `the value "one" is made twice`},
		"two tensors":       {with(func(m *onnxpb.ModelProto) { m.Graph.Initializer = append(m.Graph.Initializer, number("one", 1)) }), format, `two tensors are called "one"`},
		"second output":     {sketch(step("MaxPool", "picture a b", "painting"), step("Add", "a painting", "x")), format, "which nothing makes"},
		"optional output":   {sketch(step("Dropout", "picture", "x mask"), step("Add", "x mask", "painting")), format, `reads "mask", which is not an output that is made here`},
		"if":                {sketch(step("If", "one", "painting", &onnxpb.AttributeProto{Name: proto.String("then_branch"), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: &onnxpb.GraphProto{}})), unsupported, `node "the If" (If): it runs a graph of its own`},
		"unknown operator":  {sketch(step("Softmax", "picture", "painting")), unsupported, `node "the Softmax" (Softmax): the operator is not read: write this layer in those that are, and export the model again: Abs, Add, Affine, And, AveragePool,`},
		"domain":            {with(func(m *onnxpb.ModelProto) { m.Graph.Node[0].Domain = proto.String("com.microsoft") }), unsupported, `it is an operator of "com.microsoft"`},
		"two attributes":    {conv(list("group", 1), list("group", 1)), format, `has two attributes "group"`},
		"attribute's type":  {conv(list("group", 1)), unsupported, "its group is of the type INTS, not INT"},
		"attribute's graph": {conv(&onnxpb.AttributeProto{Name: proto.String("group"), RefAttrName: proto.String("x"), Type: onnxpb.AttributeProto_INT.Enum()}), unsupported, "that of a function"},
		"many nodes":        {with(func(m *onnxpb.ModelProto) { m.Graph.Node = slices.Repeat(m.Graph.Node, 1<<14) }), unsupported, "its graph has 16384 nodes: up to 8192 are read"},
		"a million nodes":   {with(func(m *onnxpb.ModelProto) { m.Graph.Node = slices.Repeat([]*onnxpb.NodeProto{{}}, 1<<20) }), format, "it has more than 262144 parts"},
		"many layers":       {sketch(line...), unsupported, "becomes more than 4096 layers"},
		"many maps":         {sketch(doubled...), unsupported, "it makes 24576 channels: up to 16384 are read"},
		"many constants":    {sketch(grown...), unsupported, "the file's tensors become larger than 128 MiB"},
		"deep messages":     {with(func(m *onnxpb.ModelProto) { m.Graph.Node[0].Attribute = []*onnxpb.AttributeProto{deep(20)} }), format, "lie in each other"},

		"external data":      {bad(func(x *onnxpb.TensorProto) { x.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum() }), unsupported, `tensor "one" lies in another file`},
		"external key":       {bad(func(x *onnxpb.TensorProto) { x.ExternalData = []*onnxpb.StringStringEntryProto{{}} }), unsupported, "lies in another file"},
		"segment":            {bad(func(x *onnxpb.TensorProto) { x.Segment = &onnxpb.TensorProto_Segment{} }), unsupported, "one of several segments"},
		"strings":            {bad(func(x *onnxpb.TensorProto) { x.DataType = proto.Int32(8) }), unsupported, `tensor "one" holds string`},
		"no type":            {bad(func(x *onnxpb.TensorProto) { x.DataType = nil }), unsupported, `tensor "one" holds undefined`},
		"huge shape":         {bad(func(x *onnxpb.TensorProto) { x.Dims = []int64{1 << 40, 1 << 40} }), format, `tensor "one" has the shape [1099511627776 1099511627776]`},
		"negative shape":     {bad(func(x *onnxpb.TensorProto) { x.Dims = []int64{-1} }), format, `tensor "one" has the shape [-1]`},
		"many dimensions":    {bad(func(x *onnxpb.TensorProto) { x.Dims = slices.Repeat([]int64{1}, 99) }), format, `tensor "one" has the shape [1 1 1`},
		"less than shape":    {bad(func(x *onnxpb.TensorProto) { x.Dims = []int64{1 << 20} }), format, "has the shape [1048576], 1048576 numbers, but holds 1"},
		"raw":                {bad(func(x *onnxpb.TensorProto) { x.FloatData, x.RawData = nil, []byte{1, 2, 3, 4, 5, 6, 7, 8} }), format, "has the shape [1], 1 numbers, but holds 2"},
		"a part of a number": {bad(func(x *onnxpb.TensorProto) { x.FloatData, x.RawData = nil, []byte{1, 2, 3, 4, 5} }), format, "but holds -1"},
		"constant's tensor":  {sketch(step("Constant", "", "x", text("value", "x")), step("Add", "picture x", "painting")), unsupported, "its value is of the type STRING, not TENSOR"},
		"constant of shape":  {sketch(step("ConstantOfShape", "huge", "x"), step("Add", "picture x", "painting")), unsupported, "a tensor of the shape [1099511627776 1099511627776] is too large"},
		"range":              {sketch(step("Range", "zero huge zero", "x"), step("Add", "picture x", "painting")), unsupported, "it does not count from one number to another"},

		"group":            {conv(integer("group", 2)), unsupported, "3 channels in 2 groups"},
		"channels":         {conv(integer("group", 3)), unsupported, "are for 9 channels, not 3"},
		"strides":          {sketch(step("ConvTranspose", "picture kernel", "painting", list("strides", 1, 2))), unsupported, "strides 1 by rows and 2 by columns"},
		"far strides":      {conv(list("strides", 1, 65)), unsupported, "steps up to 64 are read"},
		"pool's pads":      {sketch(step("MaxPool", "picture", "painting", list("kernel_shape", 2, 3), list("pads", 0, 0, 2, 0))), unsupported, "pads [0 0] to [2 0] of windows of [2 3]: less than a window is read"},
		"far steps":        {sketch(step("Slice", "picture zeros huge axes huge", "painting")), unsupported, "steps up to 64 are read"},
		"stride 0":         {conv(list("strides", 0, 0)), unsupported, "strides [0 0]"},
		"dilation":         {conv(list("dilations", 1<<30, 1)), unsupported, "1 to 1024 are read"},
		"kernel shape":     {conv(list("kernel_shape", 3, 3)), unsupported, "its kernel_shape is [3 3], but its weights have the shape [3 3 1 1]"},
		"pads":             {conv(list("pads", 1, 1)), unsupported, "rows and columns have two each"},
		"huge pads":        {conv(list("pads", 1<<40, 1<<40, 1, 1)), unsupported, "out of range"},
		"auto pad":         {conv(text("auto_pad", "MORE")), unsupported, `auto_pad "MORE"`},
		"map as kernel":    {sketch(step("Conv", "picture picture", "painting")), unsupported, `input 2, "picture", is made of the picture: a constant is read there`},
		"no kernel":        {sketch(step("Conv", "picture", "painting")), unsupported, "input 2 is missing"},
		"axes":             {sketch(step("Transpose", "picture", "x", list("perm", 0, 1, 3, 2)), step("Conv", "x kernel", "painting")), unsupported, "batch, channels, rows and columns are read"},
		"no permutation":   {sketch(step("Transpose", "picture", "painting", list("perm", 0, 1, 1, 2))), unsupported, "axis 1 appears twice"},
		"mixed reshape":    {sketch(step("Reshape", "picture shape", "x"), step("Reshape", "x zero", "painting")), unsupported, "a tensor of"},
		"position":         {sketch(step("Add", "picture vector", "painting")), unsupported, "a constant of the shape [3] does not go with"},
		"not finite":       {with(func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].FloatData[0] = 0 }, step("Div", "picture one", "painting")), unsupported, "it computes with +Inf"},
		"root":             {sketch(step("Sqrt", "picture", "painting")), unsupported, "it is read as part of an instance norm"},
		"cast":             {sketch(step("Cast", "picture", "x", integer("to", 2)), step("Relu", "x", "painting")), unsupported, "it computes with whole numbers"},
		"cubic":            {sketch(step("Resize", "picture  scales", "painting", text("mode", "cubic"))), unsupported, `mode "cubic": nearest and linear are read`},
		"pad mode":         {sketch(step("Pad", "picture", "painting", text("mode", "wrap"))), unsupported, "it has 0 amounts for 4 axes"},
		"reduce channels":  {sketch(step("ReduceMean", "picture", "painting", list("axes", 1))), unsupported, "rows and columns are read"},
		"mean of all":      {sketch(step("ReduceMean", "picture", "painting")), unsupported, "it is part of a norm"},
		"size":             {sketch(step("Shape", "picture", "s", integer("start", 2)), step("Cast", "s", "f", integer("to", 1)), step("ReduceMax", "f", "m", integer("keepdims", 0)), step("Mul", "picture m", "painting")), unsupported, "it depends on the picture's size: Affine{Scale:["},
		"some sizes":       {sketch(step("Shape", "picture", "s", integer("start", 2)), step("ReduceMax", "s", "m", integer("keepdims", 0)), step("Greater", "m huge", "b"), step("Reshape", "picture s", "painting")), unsupported, "the Reshape"},
		"constant of size": {sketch(step("Shape", "picture", "s"), step("ConstantOfShape", "s", "x"), step("Add", "picture x", "painting")), unsupported, "depends on the picture's size: up to 4096 numbers may"},
		"training":         {sketch(step("BatchNormalization", "picture vector vector vector vector", "painting", integer("training_mode", 1))), unsupported, "export the model for inference"},
	} {
		raw := marshal(t, test.model)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := decode(t, raw)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil || !errors.As(err, test.target) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v; want %q", name, err, test.text)
		}
		if used := after.TotalAlloc - before.TotalAlloc; took > 2*time.Second || used > 400<<20 {
			t.Errorf("%s: took %s and %d MB", name, took, used>>20)
		}
		if err != nil && len(err.Error()) > 1500 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	for name, raw := range map[string]string{
		"empty": "", "text": "hello", "truncated": string(marshal(t, sketch(step("Relu", "picture", "painting")))[:200]), "zeros": string(make([]byte, 100)),
	} {
		if _, err := decode(t, []byte(raw)); !errors.As(err, format) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Decode(strings.NewReader("short"), 10, nil); err == nil || !strings.Contains(err.Error(), "it ends too early") {
		t.Errorf("a short file: %v", err)
	}
	if _, err := Decode(strings.NewReader(""), 1<<40, nil); err == nil || !strings.Contains(err.Error(), "networks up to 256 MiB are read") {
		t.Errorf("a huge file: %v", err)
	}
}

// deep is a graph in a graph, n times.
func deep(n int) *onnxpb.AttributeProto {
	if n == 0 {
		return &onnxpb.AttributeProto{}
	}
	return &onnxpb.AttributeProto{G: &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{{Attribute: []*onnxpb.AttributeProto{deep(n - 1)}}}}}
}
