"""Draws ONNX files of operators with attributes of all kinds, and asks ONNX Runtime
what they give.

usage: draw_models.py FOLDER COUNT [SEED]; needs numpy, onnx and onnxruntime.

Writes FOLDER/NUMBER.onnx as cases.py does. A graph that ONNX's checker or ONNX Runtime
refuses, or that gives infinities or hardly more than one value, is drawn again; how many were is
printed.
"""
import sys

try:
    import numpy as np
    from onnx import helper, numpy_helper

    from cases import F, case, fl, i, scalar
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)

# Heights and widths of pictures: what a network halves, and odd ones.
SHAPES = ((32, 48), (64, 32), (17, 23), (40, 27))
NEWEST = 23  # of ONNX Runtime 1.30


class Graph:
    """A graph as it grows: x is the last value, of c channels."""

    def __init__(self, r):
        self.r, self.nodes, self.weights = r, [], {}
        self.opset = int(r.choice([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, NEWEST]))
        self.x, self.c = "x", 3

    def one_of(self, *values):
        return values[self.r.randint(len(values))]

    def maybe(self, share=0.5):
        return self.r.rand() < share

    def name(self):
        return f"v{len(self.nodes)}_{len(self.weights)}"

    def const(self, value):
        """A tensor of the file, or a node that holds one."""
        value = np.asarray(value)
        name = self.name() + "k"
        if self.maybe(0.3):
            if self.opset >= 12 and value.dtype == np.float32 and value.ndim == 1 and value.size:
                self.nodes.append(helper.make_node("Constant", [], [name], value_floats=[float(v) for v in value]))
            elif self.opset >= 12 and value.dtype == np.int64 and value.ndim == 1 and value.size:
                self.nodes.append(helper.make_node("Constant", [], [name], value_ints=[int(v) for v in value]))
            else:
                self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
        else:
            self.weights[name] = value
        return name

    def new(self, op, *inputs, outputs=1, **attributes):
        names = [self.name() + f"o{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **{k: v for k, v in attributes.items() if v is not None}))
        return names[0] if outputs == 1 else names

    def add(self, op, *inputs, **attributes):
        self.x = self.new(op, self.x, *inputs, **attributes)

    def floats(self, *shape, scale=1.0):
        return (self.r.randn(*shape) * scale).astype(np.float32)

    def above_one(self, x):
        if self.opset >= 7:
            x = self.new("Abs", x)
        return self.new("Add", x, self.const(scalar(1)))


def window(g, kernel_, ceil=False):
    """Strides, dilations and borders."""
    a = {}
    if g.maybe(0.6):
        s = int(g.one_of(1, 2, 2, 3))
        a["strides"] = [s, s] if g.maybe(0.75) else [s, int(g.one_of(1, 2, 3))]
    mode = g.one_of("pads", "pads", "pads", "none", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    if mode in ("pads", "NOTSET"):
        a["pads"] = [int(g.r.randint(0, kernel_[k % 2])) for k in range(4)] if g.maybe() else [(kernel_[k % 2] - 1) // 2 for k in range(4)]
    if mode not in ("pads", "none"):
        a["auto_pad"] = mode
    return a


def conv(g):
    k = [int(g.r.randint(1, 6))] * 2 if g.maybe(0.7) else [int(g.r.randint(1, 6)), int(g.r.randint(1, 6))]
    a = window(g, k)
    if g.maybe(0.25):
        a["dilations"] = [int(g.r.randint(1, 4)), int(g.r.randint(1, 4))]
    group = int(g.one_of(*[v for v in (1, 1, 2, 3, g.c) if g.c % v == 0]))
    out = group * int(g.r.randint(1, 4))
    if group > 1 or g.maybe():
        a["group"] = group
    if g.maybe():
        a["kernel_shape"] = k
    bias = [g.const(g.floats(out))] if g.maybe(0.7) else []
    g.add("Conv", g.const(kernel_of(g, out, g.c // group, *k)), *bias, **a)
    g.c = out


def kernel_of(g, *shape):
    return g.floats(*shape, scale=1 / np.sqrt(np.prod(shape[1:])))


def conv_transpose(g):
    k = [int(g.r.randint(1, 5))] * 2 if g.maybe(0.8) else [int(g.r.randint(1, 5)), int(g.r.randint(1, 5))]
    s = int(g.one_of(1, 2, 2, 3))
    a = dict(strides=[s, s])
    if g.maybe(0.2):
        a["dilations"] = [int(g.r.randint(1, 3)), int(g.r.randint(1, 3))]
    if g.maybe(0.6):
        a["pads"] = [int(g.r.randint(0, k[j % 2])) for j in range(4)]
    elif g.maybe(0.5):
        a["auto_pad"] = g.one_of("SAME_UPPER", "SAME_LOWER", "VALID")
    if s > 1 and g.maybe(0.4):
        a["output_padding"] = [int(g.r.randint(0, s)), int(g.r.randint(0, s))]
    group = int(g.one_of(*[v for v in (1, 1, 2, g.c) if g.c % v == 0]))
    if group > 1:
        a["group"] = group
    per = int(g.r.randint(1, 4))
    bias = [g.const(g.floats(group * per))] if g.maybe(0.7) else []
    g.add("ConvTranspose", g.const(kernel_of(g, g.c, per, *k)), *bias, **a)
    g.c = group * per


def norm(g):
    eps = float(g.one_of(1e-3, 1e-2, 0.1))
    s, b = g.floats(g.c), g.floats(g.c)
    which = g.one_of("instance", "batch", "group", "written", "flat")
    if which == "batch":
        g.add("BatchNormalization", g.const(s), g.const(b), g.const(g.floats(g.c)), g.const(np.abs(g.floats(g.c)) + 0.1), epsilon=eps)
    elif which == "group" and g.opset >= 21:
        n = int(g.one_of(*[v for v in (1, 2, 3, g.c) if g.c % v == 0]))
        g.add("GroupNormalization", g.const(s), g.const(b), num_groups=n, epsilon=eps)
    elif which == "group":  # as PyTorch writes it
        n = int(g.one_of(*[v for v in (1, 2, 3, g.c) if g.c % v == 0]))
        shape = g.new("Shape", g.x)
        g.add("Reshape", g.const(i(0, n, -1)))
        g.add("InstanceNormalization", g.const(np.ones(n, np.float32)), g.const(np.zeros(n, np.float32)), epsilon=eps)
        g.add("Reshape", shape)
        g.add("Mul", g.const(s.reshape(-1, 1, 1)))
        g.add("Add", g.const(b.reshape(-1, 1, 1)))
    elif which == "written":
        m = reduce(g, "ReduceMean", g.x)
        d = g.new("Sub", g.x, m)
        q = g.new("Mul", d, d) if g.maybe() else g.new("Pow", d, g.const(scalar(2)))
        v = g.new("Add", reduce(g, "ReduceMean", q), g.const(scalar(eps)))
        v = g.new("Sqrt", v)
        g.x = g.new("Div", d, v) if g.maybe() else g.new("Mul", d, g.new("Reciprocal", v))
    else:
        g.add("InstanceNormalization", g.const(s), g.const(b), epsilon=eps)


def reduce(g, op, x, keep=1):
    axes = [int(a) for a in g.one_of((2, 3), (-2, -1), (3, 2))]
    if g.opset >= 18:
        return g.new(op, x, g.const(i(*axes)), keepdims=keep)
    return g.new(op, x, axes=axes, keepdims=keep)


def activation(g):
    v = float(g.one_of(0.1, 0.5, 1.0, 1.7))
    forms = [
        ("Relu", 7, {}), ("LeakyRelu", 7, {}), ("LeakyRelu", 7, dict(alpha=v)), ("Tanh", 7, {}), ("Sigmoid", 7, {}), ("Elu", 7, {}), ("Elu", 7, dict(alpha=v)),
        ("Selu", 7, {}), ("Selu", 7, dict(alpha=v, gamma=1.5)), ("Celu", 12, dict(alpha=v)), ("Softplus", 7, {}), ("Softsign", 7, {}), ("Mish", 18, {}), ("Erf", 9, {}),
        ("Gelu", 20, {}), ("Gelu", 20, dict(approximate="tanh")), ("HardSigmoid", 7, {}), ("HardSigmoid", 7, dict(alpha=v, beta=0.3)), ("HardSwish", 14, {}), ("Abs", 7, {}), ("Neg", 7, {}),
    ]
    op, _, a = g.one_of(*[f for f in forms if f[1] <= g.opset])
    which = g.one_of(op, op, op, "PRelu", "Clip", "silu", "cube")
    if which == "PRelu":
        shape = [g.one_of((g.c, 1, 1), (1,), (1, g.c, 1, 1), (1, 1, 1))][0] if g.opset >= 9 else (g.c, 1, 1)
        g.add("PRelu", g.const(g.floats(*shape)))
    elif which == "Clip":
        low, high = sorted(float(v) for v in g.floats(2))
        keep = g.one_of((True, True), (True, False), (False, True), (False, False))
        if g.opset < 11:
            g.add("Clip", **({"min": low} if keep[0] else {}), **({"max": high} if keep[1] else {}))
        else:
            g.add("Clip", *([g.const(scalar(low)) if keep[0] else ""] + ([g.const(scalar(high))] if keep[1] else [])))
    elif which == "silu":
        g.x = g.new("Mul", g.x, g.new("Sigmoid", g.x))
    elif which == "cube":
        g.add("Tanh")
        g.add("Pow", g.const(scalar(float(g.one_of(1, 2, 3)))))
    else:
        g.add(op, **a)


def constant(g):
    op = g.one_of("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min")
    shape = g.one_of((), (1,), (g.c, 1, 1), (1, g.c, 1, 1), (1, 1, 1, 1), (1, 1))
    k = g.floats(*shape) if shape else scalar(float(g.r.randn()))
    first = g.maybe(0.3)
    if op == "Div":
        if first:
            g.x = g.above_one(g.x)
        else:
            k = (np.abs(k) + 0.5).astype(np.float32)
    if op in ("Max", "Min") and g.opset < 8:
        op = "Add"
    if op == "Sum" and g.opset < 8:
        op = "Mul"
    inputs = [g.x, g.const(k)]
    g.x = g.new(op, *(inputs[::-1] if first else inputs))


def maps(g):
    x = g.x
    other = g.one_of("activation", "conv", "global", "one channel", "gate")
    if other == "activation":
        activation(g)
    elif other == "conv":
        g.add("Conv", g.const(kernel_of(g, g.c, g.c, 1, 1)))
    elif other == "global":
        g.add(g.one_of("GlobalAveragePool", "GlobalMaxPool"))
    elif other == "gate":
        g.x = reduce(g, g.one_of("ReduceMean", "ReduceMax"), g.x)
    else:
        g.add("Conv", g.const(kernel_of(g, 1, g.c, 1, 1)))
    y, op = g.x, g.one_of("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min")
    if op in ("Sum", "Max", "Min") and g.opset < 8:
        op = "Add"
    pair = [x, y] if g.maybe(0.6) else [y, x]
    if op == "Div":
        pair[1] = g.above_one(pair[1])
    if op in ("Sum", "Max", "Min") and g.maybe(0.3):
        pair.append(g.one_of(x, y, g.const(g.floats(g.c, 1, 1))))
    g.x = g.new(op, *pair)


def pad(g):
    mode = g.one_of("constant", "reflect", "edge")
    p = [0, 0, *(int(v) for v in g.r.randint(0, 4, 2)), 0, 0, *(int(v) for v in g.r.randint(0, 4, 2))]
    if g.maybe(0.2):
        for k in (2, 3, 6, 7):
            p[k] -= 2
    if mode == "constant" and g.maybe(0.2):
        p[1], p[5] = int(g.r.randint(0, 3)), int(g.r.randint(0, 3))
    value = float(g.r.randn())
    if g.opset < 11:
        g.add("Pad", mode=mode if mode != "constant" or g.maybe() else None, pads=p, value=value if mode == "constant" and g.maybe() else None)
    else:
        inputs = [g.const(i(*p))]
        if mode == "constant" and g.maybe():
            inputs.append(g.const(scalar(value)))
        if g.opset >= 18 and p[1] == p[5] == 0 and g.maybe(0.4):
            inputs = [g.const(i(p[3], p[2], p[7], p[6])), inputs[1] if len(inputs) > 1 else "", g.const(i(-1, 2))]
        g.add("Pad", *inputs, mode=mode if mode != "constant" or g.maybe() else None)
    g.c += p[1] + p[5]


def resize(g):
    s = float(g.one_of(2, 2, 3, 4, 0.5, 0.5, 0.25, 1.5))
    t = s if g.maybe(0.8) else float(g.one_of(1, 2, 0.5))
    mode = g.one_of("nearest", "linear")
    if g.opset < 9:
        if min(s, t) >= 1:
            g.add("Upsample", mode=mode, scales=[1.0, 1.0, s, t])
    elif g.opset == 9:
        if min(s, t) >= 1:
            g.add("Upsample", g.const(fl(1, 1, s, t)), mode=mode)
    elif g.opset == 10:
        g.add("Resize", g.const(fl(1, 1, s, t)), mode=mode)
    else:
        a = dict(mode=mode) if g.maybe(0.9) or mode == "linear" else {}
        if g.maybe(0.8):
            a["coordinate_transformation_mode"] = g.one_of("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", *(["half_pixel_symmetric"] if g.opset >= 19 else []))
        if mode == "nearest" and g.maybe(0.8):
            a["nearest_mode"] = g.one_of("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        if g.opset >= 18 and g.maybe(0.3):
            g.add("Resize", "", g.const(fl(t, s)), axes=[3, 2], **a)
        elif s == int(s) and t == int(t) and g.maybe(0.4):  # by sizes, as exporters compute them
            shape = g.new("Shape", g.x)
            sides = g.new("Mul", slice_of(g, shape, [2], [4], [0]), g.const(i(int(s), int(t))))
            sizes = g.new("Concat", slice_of(g, shape, [0], [2], [0]), sides, axis=0)
            g.add("Resize", "" if g.opset >= 13 else g.const(fl()), "" if g.opset >= 13 else g.const(fl()), sizes, **a)
        else:
            g.add("Resize", "" if g.opset >= 13 else g.const(fl()), g.const(fl(1, 1, s, t)), **a)


def slice_of(g, x, starts, ends, axes, steps=None):
    if g.opset < 10:
        return g.new("Slice", x, starts=starts, ends=ends, axes=axes)
    return g.new("Slice", x, g.const(i(*starts)), g.const(i(*ends)), g.const(i(*axes)), *([g.const(i(*steps))] if steps else []))


def slices(g):
    far = 2 ** 31 - 1
    if g.opset >= 10 and g.maybe(0.3):
        s = int(g.one_of(2, 2, 3))
        g.x = slice_of(g, g.x, [int(g.r.randint(0, 2)), 0], [far, int(g.one_of(far, -1))], [2, 3], [s, s if g.maybe(0.8) else 1])
    elif g.maybe() and g.c > 1:
        if g.opset >= 10 and g.maybe():
            g.x = slice_of(g, g.x, [-1], [-far], [1], [-1])
        else:
            g.x = slice_of(g, g.x, [1], [far], [int(g.one_of(1, -3))])
            g.c -= 1
    else:
        g.x = slice_of(g, g.x, [int(g.r.randint(0, 3)), 1], [int(g.one_of(far, -1, -2)), far], [int(g.one_of(2, -2)), 3])


def pool(g):
    op = g.one_of("MaxPool", "AveragePool")
    k = [int(g.r.randint(1, 5))] * 2 if g.maybe(0.75) else [int(g.r.randint(1, 5)), int(g.r.randint(1, 5))]
    a = window(g, k)
    if g.opset >= 10 and a.get("auto_pad") in (None, "NOTSET") and g.maybe(0.3):
        a["ceil_mode"] = 1
    if op == "AveragePool" and a.get("auto_pad", "").startswith("SAME") and min(k) < max(a.get("strides", [1])):
        del a["auto_pad"]  # ONNX Runtime takes borders below 0 then, which it refuses for MaxPool
    if op == "AveragePool" and g.maybe(0.4):
        a["count_include_pad"] = 1
    g.add(op, kernel_shape=k, **a)


def concat(g):
    parts, c = [g.x], g.c
    for _ in range(int(g.r.randint(1, 3))):
        x = g.x
        activation(g)
        parts.append(g.x)
        g.x, c = x, c + g.c
    g.x, g.c = g.new("Concat", *parts, axis=int(g.one_of(1, -3)) if g.opset >= 11 else 1), c


def split(g):
    if g.c < 2:
        return
    a = int(g.r.randint(1, g.c))
    if g.opset < 13:
        parts = g.new("Split", g.x, outputs=2, axis=1, split=[a, g.c - a])
    else:
        parts = g.new("Split", g.x, g.const(i(a, g.c - a)), outputs=2, axis=1)
    g.x = g.new("Concat", *parts[::-1], axis=1)


def depth_to_space(g):
    if g.c > 6:
        return
    b = int(g.one_of(2, 2, 3))
    g.add("Conv", g.const(kernel_of(g, g.c * b * b, g.c, 1, 1)))
    g.add("DepthToSpace", blocksize=b, **(dict(mode=g.one_of("DCR", "CRD")) if g.opset >= 11 and g.maybe(0.7) else {}))


def shapes(g):
    which = g.one_of("squeeze", "nhwc", "reshape", "gather", "cast", "identity", "dropout", "expand", "chain")
    if which == "squeeze":
        if g.opset < 13:
            g.add("Unsqueeze", axes=[2])
            g.add("Squeeze", axes=[2])
        else:
            g.add("Unsqueeze", g.const(i(2)))
            g.add("Squeeze", g.const(i(2)))
    elif which == "nhwc":
        g.add("Transpose", perm=[0, 2, 3, 1])
        g.add("Mul", g.const(g.floats(g.c)))
        if g.opset >= 11 and g.maybe():
            g.add("Pad", g.const(i(0, 1, 2, 0, 0, 0, 1, 0)), mode=g.one_of("reflect", "edge", "constant"))
        g.add("Transpose", perm=[0, 3, 1, 2])
    elif which == "reshape":
        shape = g.new("Shape", g.x)
        g.add("Reshape", g.const(i(0, 0, -1)))
        g.add("Tanh")
        g.add("Reshape", shape)
    elif which == "gather":
        order = [int(v) for v in g.r.randint(-g.c, g.c, g.r.randint(1, 5))] if g.opset >= 11 else [int(v) for v in g.r.randint(0, g.c, 2)]
        g.add("Gather", g.const(i(*order)), axis=1)
        g.c = len(order)
    elif which == "cast":
        g.add("Cast", to=F)
    elif which == "dropout":
        g.add("Dropout", **({} if g.opset >= 12 else {"ratio": 0.5}))
    elif which == "expand" and g.opset >= 8:
        g.add("Expand", g.new("Shape", g.x))
    elif which == "chain":  # the size of one map for another
        shape = g.new("Shape", g.x)
        one = g.new("Gather", shape, g.const(np.int64(2)), axis=0)
        two = g.new("Gather", shape, g.const(np.int64(3)), axis=0)
        ups = [g.new("Unsqueeze", v, axes=[0]) if g.opset < 13 else g.new("Unsqueeze", v, g.const(i(0))) for v in (one, two)]
        g.add("Reshape", g.new("Concat", g.const(i(-1, g.c)), *ups, axis=0))
        g.add("Neg")
    else:
        g.add("Identity")


def old(g):
    """Operators of the first files."""
    if g.opset > 9:
        return activation(g)
    which = g.one_of("Crop", "Affine", "ImageScaler", "ScaledTanh")
    if which == "Crop":
        g.add("Crop", border=[int(v) for v in g.r.randint(0, 3, 4)])
    elif which == "Affine":
        g.add("Affine", alpha=float(g.r.randn()), beta=float(g.r.randn()))
    elif which == "ImageScaler":
        g.add("ImageScaler", scale=float(g.r.randn()), bias=[float(v) for v in g.floats(g.c)])
    else:
        g.add("ScaledTanh", alpha=float(g.r.randn()), beta=float(g.r.randn()))


STEPS = (conv, conv, conv, conv_transpose, norm, norm, activation, activation, activation, constant, constant, maps, maps, pad, pad, resize, resize, slices, pool, pool,
         concat, split, depth_to_space, shapes, shapes, old)


def draw(seed):
    r = np.random.RandomState(seed)
    g = Graph(r)
    g.add("Sub", g.const(scalar(2)))
    for _ in range(int(r.randint(1, 7))):
        STEPS[r.randint(len(STEPS))](g)
        if g.c > 12:
            g.add("Conv", g.const(kernel_of(g, 4, g.c, 1, 1)))
            g.c = 4
    g.nodes.append(helper.make_node("Identity", [g.x], ["y"]))
    for k, n in enumerate(g.nodes):
        n.name = f"{n.op_type}.{k}"
    return g


folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
again = {}
made = 0
while made < count:
    g = draw(seed)
    # ONNX Runtime sums a norm's statistics in float32: of maps whose mean is far from 0
    # that alone is a thousandth.
    norms = {"InstanceNormalization", "ReduceMean", "GroupNormalization"} & {n.op_type for n in g.nodes}
    old_ops = {"Crop", "Affine", "ImageScaler", "ScaledTanh"} & {n.op_type for n in g.nodes}
    try:
        case(f"{seed:06d}", lambda h, w: (g.nodes, g.weights), opset=g.opset, shapes=SHAPES, check=not old_ops, scale=1 / 64, share=5e-3 if norms else 3e-4, least=1e-3, folder=folder, old=g.opset < 9)
        made += 1
    except Exception as e:
        reason = type(e).__name__ + " " + str(e).split("\n")[0][:60]
        again[reason] = again.get(reason, 0) + 1
    seed += 1
for reason, n in sorted(again.items(), key=lambda p: -p[1])[:int(sys.argv[4]) if len(sys.argv) > 4 else 0]:
    print(n, reason, file=sys.stderr)
print(f"made {made} models, drew {sum(again.values())} again")
