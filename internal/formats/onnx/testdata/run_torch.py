"""Runs the networks of peers_test.go in PyTorch, as their layers are meant.

usage: run_torch.py DIR, where DIR/cases.json lists {"name", "shapes",
"multiple", "least", and "layers" or "pth"}; reads DIR/NAME.safetensors and
DIR/NAME.I.in, writes DIR/NAME.I.torch (raw float32) and prints the shapes of
the outputs as JSON. A case with "pth" is the PyTorch example's TransformerNet,
written out here, with that state_dict. Exits with 3 where a module is missing.
"""
import json
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
    return [p["Top"], p["Bottom"], p["Left"], p["Right"]]


def run(layers, t, x):
    values = {-1: x}
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
        elif l["kind"] == "Norm":
            y = v[0] - v[0].mean((2, 3), keepdim=True)
            y = y / (y.square().mean((2, 3), keepdim=True) + op["eps"]).sqrt()
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
        net = lambda x: run(case["layers"], tensors, x)
    for k, shape in enumerate(case["shapes"]):
        x = torch.from_numpy(np.fromfile(f"{root}/{name}.{k}.in", "<f4").reshape(shape))
        h, w = shape[2:]
        with torch.no_grad():
            if m := case["multiple"]:
                grown = [max(-(-n // m) * m, case["least"]) - n for n in (h, w)]
                y = net(pad(x, "edge", [0, grown[0], 0, grown[1]]))[:, :, :h, :w]
            else:
                y = net(x)
        y.contiguous().numpy().astype("<f4").tofile(f"{root}/{name}.{k}.torch")
        shapes.setdefault(name, []).append(list(y.shape))
json.dump(shapes, sys.stdout)
