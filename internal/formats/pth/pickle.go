package pth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"

	"stylenet/internal/formats/floats"
)

// storage is a flat array of numbers, shared by the tensors that view it.
type storage struct {
	storageType
	key   string
	numel int
	bytes int64                     // bytes in the file
	open  func() (io.Reader, error) // nil while the file has none

	values []float32 // nil until read
	given  bool      // a tensor of the result owns values
}

// storageType is torch.FloatStorage and its like.
type storageType struct {
	name    string
	size    int // bytes of a number
	kind    floats.Kind
	float   bool
	integer bool
}

func storageTypeOf(name string) (storageType, bool) {
	t := storageType{name: name}
	switch name {
	case "FloatStorage":
		t.kind, t.float = floats.F32, true
	case "HalfStorage":
		t.kind, t.float = floats.F16, true
	case "BFloat16Storage":
		t.kind, t.float = floats.BF16, true
	case "DoubleStorage":
		t.kind, t.float = floats.F64, true
	case "LongStorage":
		t.size, t.integer = 8, true
	case "IntStorage":
		t.size, t.integer = 4, true
	case "ShortStorage":
		t.size, t.integer = 2, true
	case "CharStorage", "ByteStorage", "BoolStorage":
		t.size, t.integer = 1, true
	case "ComplexFloatStorage":
		t.size = 8
	case "ComplexDoubleStorage":
		t.size = 16
	default:
		return t, false
	}
	if t.float {
		t.size = t.kind.Size()
	}
	return t, true
}

// view is a storage, or the part of one that old files name.
type view struct {
	*storage
	offset, end int
}

// tensor is a view with a geometry, in values. A parameter that the pickle
// has not filled yet has no storage.
type tensor struct {
	*storage
	offset, end   int // first value; end of the view
	shape, stride []int
}

// PySetState fills a torch.nn.Parameter of old files, whose state is a tuple
// that begins with its tensor, or only holds flags.
func (t *tensor) PySetState(state any) error {
	if tuple, ok := state.(*types.Tuple); ok && tuple.Len() > 0 {
		if data, ok := tuple.Get(0).(*tensor); ok {
			*t = *data
		}
	}
	return nil
}

// call is a function or class that a pickle may call.
type call func(args ...any) (any, error)

// Call and PyNew are the two ways in which a pickle calls.
func (c call) Call(args ...any) (any, error)  { return c(args...) }
func (c call) PyNew(args ...any) (any, error) { return c(args...) }

// findClass holds everything that a pickle may name, besides the plain
// containers of Python that gopickle itself resolves.
func findClass(module, name string) (any, error) {
	switch module + "." + name {
	case orderedDictModule + ".OrderedDict":
		return call(orderedDict), nil
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return call(rebuildTensor), nil
	case "torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter":
		return call(rebuildParameter), nil
	}
	if module == "torch" {
		if t, ok := storageTypeOf(name); ok {
			return t, nil
		}
		if strings.HasSuffix(name, "Storage") {
			return nil, &UnsupportedError{Reason: fmt.Sprintf("numbers of type %.100q", name)}
		}
	}
	return nil, invalid("the pickle calls %.200s, which is never run: only the tensors of a state_dict are read (torch.save(model.state_dict(), path))",
		module+"."+name)
}

// orderedDict is collections.OrderedDict(), or as Python 2 pickles it,
// OrderedDict([[key, value], …]).
func orderedDict(args ...any) (any, error) {
	d := types.NewOrderedDict()
	if len(args) == 0 {
		return d, nil
	}
	list, ok := args[0].(*types.List)
	if !ok || len(args) > 1 {
		return nil, invalid("an OrderedDict made from %T", args[0])
	}
	for _, item := range *list {
		var pair []any
		switch p := item.(type) {
		case *types.List:
			pair = *p
		case *types.Tuple:
			pair = *p
		}
		if len(pair) != 2 {
			return nil, invalid("an OrderedDict made from a list that does not hold pairs")
		}
		d.Set(pair[0], pair[1])
	}
	return d, nil
}

// rebuildTensor is torch._utils._rebuild_tensor(storage, offset, shape,
// stride); what version 2 adds concerns gradients.
func rebuildTensor(args ...any) (any, error) {
	if len(args) < 4 {
		return nil, invalid("a tensor made from %d values, not 4", len(args))
	}
	v, isView := args[0].(view)
	offset, isInt := args[1].(int)
	shape, isShape := unsigned(args[2])
	stride, isStride := unsigned(args[3])
	if !isView || !isInt || !isShape || !isStride || offset < 0 || offset > v.end-v.offset {
		return nil, invalid("a tensor whose storage, offset, shape or stride is no such thing, or negative")
	}
	return &tensor{v.storage, v.offset + offset, v.end, shape, stride}, nil
}

// unsigned turns a tuple into a list of numbers that are not negative.
func unsigned(v any) ([]int, bool) {
	tuple, ok := v.(*types.Tuple)
	if !ok {
		return nil, false
	}
	list := make([]int, tuple.Len())
	for i, e := range *tuple {
		if list[i], ok = e.(int); !ok || list[i] < 0 {
			return nil, false
		}
	}
	return list, true
}

// rebuildParameter is torch._utils._rebuild_parameter(tensor, …), and
// torch.nn.Parameter(tensor), which old files also call with no argument and
// fill later.
func rebuildParameter(args ...any) (any, error) {
	if len(args) == 0 {
		return &tensor{}, nil
	}
	t, ok := args[0].(*tensor)
	if !ok {
		return nil, invalid("a parameter made from %T, not a tensor", args[0])
	}
	c := *t
	return &c, nil
}

// unpickler runs one pickle with gopickle, inside the limits of scan.
type unpickler struct {
	attach   func(*storage) // finds the bytes of a new storage; nil: none allowed
	storages map[string]*storage
}

func newUnpickler(attach func(*storage)) *unpickler {
	return &unpickler{attach, make(map[string]*storage)}
}

// load unpickles the first pickle of b and returns its length, too.
func (u *unpickler) load(b []byte) (value any, n int, err error) {
	if n, err = scan(b); err != nil {
		return nil, 0, err
	}
	// The library panics on some malformed pickles.
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, invalid("the pickle is malformed: %.200s", fmt.Sprint(p))
		}
	}()
	lib := pickle.NewUnpickler(bytes.NewReader(b[:n]))
	lib.FindClass = findClass
	lib.PersistentLoad = u.persistentLoad
	value, err = lib.Load()
	if err != nil {
		var format *FormatError
		var unsupported *UnsupportedError
		if !errors.As(err, &format) && !errors.As(err, &unsupported) {
			err = invalid("the pickle is malformed: %.200s", err.Error())
		}
		return nil, 0, err
	}
	return value, n, nil
}

// persistentLoad turns ("storage", type, key, location, numel) into a view;
// legacy files add None or the (key, offset, numel) of a part.
func (u *unpickler) persistentLoad(id any) (any, error) {
	tuple, ok := id.(*types.Tuple)
	if !ok || tuple.Len() < 5 || tuple.Get(0) != "storage" || u.attach == nil {
		return nil, invalid("the pickle refers to an object that is no storage")
	}
	kind, isType := tuple.Get(1).(storageType)
	key, isKey := tuple.Get(2).(string)
	numel, isInt := tuple.Get(4).(int)
	if !isType || !isKey || !isInt || numel < 0 {
		return nil, invalid("a storage whose type, key or size is no such thing")
	}
	s := u.storages[key]
	if s == nil {
		s = &storage{storageType: kind, key: key, numel: numel}
		u.storages[key] = s
		u.attach(s)
	}
	if s.storageType != kind || s.numel != numel {
		return nil, invalid("storage %.40q has two types or sizes", key)
	}
	if tuple.Len() < 6 || tuple.Get(5) == nil {
		return view{s, 0, numel}, nil
	}
	part, ok := tuple.Get(5).(*types.Tuple)
	if !ok || part.Len() != 3 {
		return nil, invalid("storage %.40q has a malformed view", key)
	}
	bounds, ok := unsigned(types.NewTupleFromSlice((*part)[1:]))
	if !ok || bounds[0] > numel || bounds[1] > numel-bounds[0] {
		return nil, invalid("storage %.40q has a view outside of it", key)
	}
	return view{s, bounds[0], bounds[0] + bounds[1]}, nil
}

const (
	// maxOps bounds the objects that a pickle builds (a tensor takes about
	// 40 operations), maxLine the digits of a decimal number.
	maxOps   = 1 << 20
	maxDepth = 1000
	maxLine  = 1 << 12

	// orderedDictModule is what scan makes of "collections".
	orderedDictModule = "Collections"
)

// scan walks over the first pickle of b and returns its length. It exists
// because gopickle allocates what a length claims before it reads: scan
// refuses lengths beyond the end, operations that no state_dict needs, and
// pickles of too many operations.
//
// It changes b in one way. gopickle keeps collections.OrderedDict to itself
// and refuses the arguments with which Python 2 calls it; under another name
// of the same length the call reaches findClass.
func scan(b []byte) (int, error) {
	short := invalid("the pickle ends too early: the file is truncated or damaged, fetch it again")
	at, depth := 0, 0
	for range maxOps {
		if at >= len(b) {
			return 0, short
		}
		op := b[at]
		at++
		rest := b[at:]
		fixed, prefix, lines := 0, 0, 0 // bytes, bytes of a length, lines
		switch op {
		case '.':
			return at, nil
		case '(':
			if depth++; depth > maxDepth {
				return 0, invalid("the pickle is nested more than %d deep", maxDepth)
			}
		case '1', 't', 'l', 'd', 'o', 'e', 'u', 0x90, 0x91:
			depth--
		case '0', '2', 'N', 'Q', 'R', 'a', 'b', 's', '}', ']', ')',
			0x81, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8f, 0x92, 0x93, 0x94:
		case 'K', 'h', 'q', 0x80:
			fixed = 1
		case 'M':
			fixed = 2
		case 'J', 'j', 'r':
			fixed = 4
		case 'G':
			fixed = 8
		case 'U', 'C', 0x8a, 0x8c:
			prefix = 1
		case 'T', 'X', 'B':
			prefix = 4
		case 0x8d, 0x8e, 0x95, 0x96:
			prefix = 8
		case 'F', 'I', 'L', 'S', 'V', 'P', 'g', 'p':
			lines = 1
		case 'c':
			lines = 2
			if bytes.HasPrefix(rest, []byte("collections\nOrderedDict\n")) {
				copy(rest, orderedDictModule)
			}
		case 'i':
			lines = 2
			depth--
		default:
			return 0, invalid("the pickle holds the operation %#x, which no state_dict needs", op)
		}
		if len(rest) < fixed+prefix {
			return 0, short
		}
		if prefix > 0 {
			var length [8]byte
			copy(length[:], rest[:prefix])
			n := binary.LittleEndian.Uint64(length[:])
			if n > uint64(len(rest)-prefix) {
				return 0, short
			}
			if op != 0x95 { // the operations of a frame follow, to be scanned
				fixed = int(n)
			}
		}
		n := fixed + prefix
		for range lines {
			line := bytes.IndexByte(rest[n:min(n+maxLine, len(rest))], '\n')
			if line < 0 {
				return 0, invalid("the pickle holds a line that does not end")
			}
			n += line + 1
		}
		at += n
	}
	return 0, invalid("the pickle has more than %d operations", maxOps)
}

// shorten quotes a name from a file for an error message.
func shorten(s string) string { return fmt.Sprintf("%.200q", s) }
