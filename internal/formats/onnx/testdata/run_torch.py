"""Runs the networks of peers_test.go in PyTorch, as their layers are meant.

usage: run_torch.py DIR, where DIR/cases.json lists {"name", "shapes",
"multiple", "least", "mixes" of styles for each input or null, "style", the name
of a norm that takes its moments from DIR/NAME.I.style, of one of "style_shapes",
and "layers" or "pth"}; reads DIR/NAME.safetensors and
DIR/NAME.I.in, writes DIR/NAME.I.torch (raw float32) and prints the shapes of
the outputs as JSON. A case with "pth" is the PyTorch example's TransformerNet,
written out here, with that state_dict. Exits with 3 where a module is missing.
"""
import json
import math
import struct
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)

torch.set_num_threads(1)
root = sys.argv[1]


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, e in json.loads(raw[8 : 8 + n]).items():
        if name != "__metadata__":
            a, b = e["data_offsets"]
            v = np.frombuffer(raw[8 + n + a : 8 + n + b], "<f4").reshape(e["shape"])
            tensors[name] = torch.from_numpy(v.copy())
    return tensors


def pad(x, mode, p):
    crop = [-min(v, 0) for v in p]  # top, bottom, left, right
    x = x[:, :, crop[0] : x.shape[2] - crop[1], crop[2] : x.shape[3] - crop[3]]
    t, b, l, r = [max(v, 0) for v in p]
    mode = {"zero": "constant", "reflect": "reflect", "edge": "replicate"}[mode]
    return F.pad(x, (l, r, t, b), mode=mode)


def border(p):
    return [p.get(k, 0) for k in ("top", "bottom", "left", "right")]


def resize(x, op):
    """Scales as ONNX says, pixel by pixel along both axes."""
    for axis in (2, 3):
        n = x.shape[axis]
        out = math.floor(n * op["scale"])
        i = torch.arange(out, dtype=torch.float64)
        at = {
            "asymmetric": lambda: i / op["scale"],
            "half_pixel": lambda: (i + 0.5) / op["scale"] - 0.5,
            "pytorch_half_pixel": lambda: (i + 0.5) / op["scale"] - 0.5 if out > 1 else i * 0,
            "align_corners": lambda: i * (n - 1) / (out - 1) if out > 1 else i * 0,
        }[op["coordinates"]]()
        if op.get("linear"):
            at = at.clamp(0, n - 1)
            low = at.floor().long()
            high = (low + 1).clamp(max=n - 1)
            part = (at - low).float()
            part = part[:, None] if axis == 2 else part
            x = x.index_select(axis, low) * (1 - part) + x.index_select(axis, high) * part
        else:
            near = {
                "floor": torch.floor,
                "ceil": torch.ceil,
                "round_prefer_ceil": lambda v: torch.floor(v + 0.5),
                "round_prefer_floor": lambda v: torch.ceil(v - 0.5),
            }[op["rounding"]](at)
            x = x.index_select(axis, near.long().clamp(0, n - 1))
    return x


def pool(x, op):
    if op.get("global"):
        return x.mean((2, 3), keepdim=True) if op.get("average") else x.amax((2, 3), keepdim=True)
    p, k, s = border(op.get("pad", {})), op["kernel"], op["stride"]
    if not op.get("average"):
        return F.max_pool2d(F.pad(x, (p[2], p[3], p[0], p[1]), value=-math.inf), k, s)
    wide = pad(x, "zero", p)
    count = torch.ones_like(wide) if op.get("count_pad") else pad(torch.ones_like(x), "zero", p)
    return F.avg_pool2d(wide, k, s) / F.avg_pool2d(count, k, s)


def pointwise(op, v, w):
    f = op["function"]
    if f == "leaky_relu":
        return torch.where(v[0] < 0, v[0] * op.get("a", 0), v[0])
    if f == "prelu":
        return torch.where(v[0] < 0, v[0] * w[:, None, None], v[0])
    if f == "sigmoid":
        return torch.sigmoid(v[0])
    if f == "clip":
        return v[0].clamp(*[torch.tensor(op.get(k, 0), dtype=torch.float32) for k in "ab"])
    return {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}[f](v[0], v[1])


def moments(x, eps):
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
    return var / (var + eps).sqrt(), mean


def run(layers, t, x, mix=None, style=None):
    """style is the name of a norm, and the picture of which it takes its moments."""
    values = {-1: x}
    if style:
        k = [l["name"] for l in layers].index(style[0])
        assert layers[k]["inputs"] == [k - 1], "all layers before a style's norm lead to it"
        styled = moments(run(layers[:k], t, style[1]), layers[k]["op"]["eps"])
    for i, l in enumerate(layers):
        op, name = l["op"], l["name"]
        v = [values[k] for k in l["inputs"]]
        w, b = t.get(name + ".weight"), t.get(name + ".bias")
        if l["kind"] == "Conv":
            y = F.conv2d(pad(v[0], "zero", border(op.get("pad", {}))), w, b, stride=op["stride"])
        elif l["kind"] == "ConvTranspose":
            y = F.conv_transpose2d(v[0], w, b, op["stride"], op.get("pad", 0), op.get("output_pad", 0))
        elif l["kind"] == "Norm" and op.get("batch"):
            mean, var = t[name + ".running_mean"], t[name + ".running_var"]
            y = F.batch_norm(v[0], mean, var, w, b, False, 0, op["eps"])
        elif l["kind"] in ("Norm", "StyleNorm"):
            if l["kind"] == "StyleNorm":
                w, b = (sum(m * t[f"{name}.{s}.{k}"] for m, s in zip(mix, op["styles"])) for k in ("weight", "bias"))
            y = v[0] - v[0].mean((2, 3), keepdim=True)
            y = y / (y.square().mean((2, 3), keepdim=True) + op["eps"]).sqrt()
            if style and style[0] == name:
                y = y * styled[0] + styled[1]
            else:
                y = y * w[:, None, None] + b[:, None, None]
        elif l["kind"] == "ReLU":
            y = v[0].clamp(min=0)
        elif l["kind"] == "Tanh":
            y = op["scale"] * torch.tanh(v[0]) + op.get("offset", 0)
        elif l["kind"] == "Add":
            y = v[0] + v[1]
        elif l["kind"] == "Pad":
            y = pad(v[0], op["mode"], border(op["padding"]))
        elif l["kind"] == "Upsample":
            y = v[0].repeat_interleave(op["factor"], 2).repeat_interleave(op["factor"], 3)
        elif l["kind"] == "Pool":
            y = (F.avg_pool2d if op.get("average") else F.max_pool2d)(v[0], 2)
        elif l["kind"] == "Affine":
            y = v[0] * torch.tensor(op["scale"])[:, None, None] + torch.tensor(op["shift"])[:, None, None]
        elif l["kind"] == "Pointwise":
            y = pointwise(op, v, w)
        elif l["kind"] == "Concat":
            y = torch.cat(v, 1)
        elif l["kind"] == "Channels":
            y = v[0][:, op["from"] : op["to"]]
        elif l["kind"] == "DepthToSpace":
            n, c, h, wide = v[0].shape
            k = op["block"]
            c //= k * k
            if op.get("crd"):
                y = v[0].reshape(n, c, k, k, h, wide).permute(0, 1, 4, 2, 5, 3)
            else:
                y = v[0].reshape(n, k, k, c, h, wide).permute(0, 3, 4, 1, 5, 2)
            y = y.reshape(n, c, h * k, wide * k)
        elif l["kind"] == "Resize":
            y = resize(v[0], op)
        elif l["kind"] == "WindowPool":
            y = pool(v[0], op)
        elif l["kind"] == "GroupNorm":
            y = F.group_norm(v[0], op["groups"], w, b, op["eps"])
        else:
            raise ValueError(l["kind"])
        values[i] = y
    return y


class ConvLayer(nn.Module):
    def __init__(self, i, o, kernel, stride=1, upsample=1):
        super().__init__()
        self.upsample = upsample
        self.pad = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(i, o, kernel, stride)

    def forward(self, x):
        return self.conv2d(self.pad(F.interpolate(x, scale_factor=self.upsample, mode="nearest")))


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = ConvLayer(c, c, 3), ConvLayer(c, c, 3)
        self.in1, self.in2 = nn.InstanceNorm2d(c, affine=True), nn.InstanceNorm2d(c, affine=True)

    def forward(self, x):
        return x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))


class TransformerNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = ConvLayer(3, 32, 9), ConvLayer(32, 64, 3, 2), ConvLayer(64, 128, 3, 2)
        self.res1, self.res2, self.res3, self.res4, self.res5 = [Residual(128) for _ in range(5)]
        self.deconv1, self.deconv2 = ConvLayer(128, 64, 3, upsample=2), ConvLayer(64, 32, 3, upsample=2)
        self.deconv3 = ConvLayer(32, 3, 9)
        for k, c in enumerate((32, 64, 128, 64, 32)):
            setattr(self, f"in{k + 1}", nn.InstanceNorm2d(c, affine=True))

    def forward(self, x):
        for k in "123":
            x = F.relu(getattr(self, "in" + k)(getattr(self, "conv" + k)(x)))
        for r in (self.res1, self.res2, self.res3, self.res4, self.res5):
            x = r(x)
        x = F.relu(self.in4(self.deconv1(x)))
        return self.deconv3(F.relu(self.in5(self.deconv2(x))))


shapes = {}
for case in json.load(open(f"{root}/cases.json")):
    name = case["name"]
    if case.get("pth"):
        net = TransformerNet()
        net.load_state_dict(torch.load(case["pth"], map_location="cpu"))
    else:
        tensors = load(f"{root}/{name}.safetensors")
        net = lambda x: run(case["layers"], tensors, x, mix, style)
    for k, shape in enumerate(case["shapes"]):
        x = torch.from_numpy(np.fromfile(f"{root}/{name}.{k}.in", "<f4").reshape(shape))
        h, w = shape[2:]
        mix = case["mixes"] and case["mixes"][k]
        style = None
        if case["style"]:
            picture = np.fromfile(f"{root}/{name}.{k}.style", "<f4").reshape(case["style_shapes"][k])
            style = case["style"], torch.from_numpy(picture)
        with torch.no_grad():
            if m := case["multiple"]:
                grown = [max(-(-n // m) * m, case["least"]) - n for n in (h, w)]
                y = net(pad(x, "edge", [0, grown[0], 0, grown[1]]))[:, :, :h, :w]
            else:
                y = net(x)
        y.contiguous().numpy().astype("<f4").tofile(f"{root}/{name}.{k}.torch")
        shapes.setdefault(name, []).append(list(y.shape))
json.dump(shapes, sys.stdout)
