#!/usr/bin/python3
"""Makes the .pth files beside it, small networks under the names of others,
and what PyTorch's layers make of a picture with them (.golden: float32, 3 by
rows by columns, RGB 0-255, not clamped).

pytorch-starry.asset is that of $STYLENET_ASSETS/models/pytorch-starry.pth (default
../shared/assets beside the repository), which is not in it.

Needs PyTorch. Run it in this folder. torch.save names legacy storages by their
addresses, so that file changes in its keys.
"""
import os

import numpy
import torch
import torch.nn.functional as F

ROWS, COLUMNS = 24, 28
MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


def picture():
    c, y, x = numpy.meshgrid(range(3), range(ROWS), range(COLUMNS), indexing="ij")
    return torch.tensor(((x * 9 + y * 5 + c * 70 + x * y * (c + 1) // 7) % 256).astype("float32"))[None]


def tensors(seed):
    """The state_dict of the PyTorch example with 4, 6 and 8 channels."""
    g = torch.Generator().manual_seed(seed)
    state = {}

    def conv(name, i, o, k):
        bound = (i * k * k) ** -0.5
        state[name + ".conv2d.weight"] = (torch.rand(o, i, k, k, generator=g) * 2 - 1) * bound
        state[name + ".conv2d.bias"] = (torch.rand(o, generator=g) * 2 - 1) * bound

    def norm(name, n):
        state[name + ".weight"] = 0.5 + torch.rand(n, generator=g)
        state[name + ".bias"] = torch.rand(n, generator=g) - 0.5

    conv("conv1", 3, 4, 9), norm("in1", 4)
    conv("conv2", 4, 6, 3), norm("in2", 6)
    conv("conv3", 6, 8, 3), norm("in3", 8)
    for block in ("res1", "res2"):
        conv(block + ".conv1", 8, 8, 3), norm(block + ".in1", 8)
        conv(block + ".conv2", 8, 8, 3), norm(block + ".in2", 8)
    conv("deconv1", 8, 6, 3), norm("in4", 6)
    conv("deconv2", 6, 4, 3), norm("in5", 4)
    conv("deconv3", 4, 3, 9)
    return state


def run(s, x):
    def conv(name, x, stride=1):
        w = s[name + ".conv2d.weight"]
        return F.conv2d(F.pad(x, [w.shape[2] // 2] * 4, mode="reflect"), w, s[name + ".conv2d.bias"], stride)

    def norm(name, x):
        return F.instance_norm(x, weight=s[name + ".weight"], bias=s[name + ".bias"])

    x = norm("in1", conv("conv1", x)).relu()
    x = norm("in2", conv("conv2", x, 2)).relu()
    x = norm("in3", conv("conv3", x, 2)).relu()
    for b in (f"res{i}" for i in range(1, 6) if f"res{i}.in1.weight" in s):
        y = norm(b + ".in1", conv(b + ".conv1", x)).relu()
        x = x + norm(b + ".in2", conv(b + ".conv2", y))
    x = norm("in4", conv("deconv1", F.interpolate(x, scale_factor=2, mode="nearest"))).relu()
    x = norm("in5", conv("deconv2", F.interpolate(x, scale_factor=2, mode="nearest"))).relu()
    return conv("deconv3", x)


def golden(name, x, extension=".golden"):
    x.detach().numpy().astype("<f4").tofile(name + extension)


def variant(state):
    """The names of gordicaleksa/pytorch-neural-style-transfer-johnson."""
    names = {"deconv1.conv2d": "up1.conv2d.conv2d", "deconv2.conv2d": "up2.conv2d.conv2d", "deconv3.conv2d": "up3.conv2d"}
    renamed = {}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        renamed[names.get(stem, stem) + "." + kind] = value
    return renamed


# The example's own, whose networks are scaled so that pictures come out.
state = tensors(1)
state["deconv3.conv2d.weight"] *= 60
state["deconv3.conv2d.bias"] += 127
out = run(state, picture())
torch.save(state, "example.pth")
golden("example", out)
# PyTorch 0.3 and before: legacy pickle, with the statistics that it kept for
# instance norms and never used.
old = {}
for name, value in state.items():
    old[name] = value
    if ".conv2d." not in name and name.endswith(".bias"):
        old[name[:-4] + "running_mean"] = torch.full_like(value, 3)
        old[name[:-4] + "running_var"] = torch.full_like(value, 9)
torch.save(old, "example_old.pth", _use_new_zipfile_serialization=False)
golden("example_old", out)
torch.save({"epoch": 2, "model_state_dict": {"module." + k: v for k, v in state.items()}}, "example_parallel.pth")
golden("example_parallel", out)

# The variant takes and gives ImageNet's normalised values. Its script saves the
# state_dict with these words, and in checkpoints with the optimiser's state.
state = tensors(2)
out = run(state, (picture() / 255 - MEAN) / STD) * STD * 255 + MEAN * 255
words = {"commit_hash": "0123456789abcdef", "content_weight": 1.0, "style_weight": 400000.0, "tv_weight": 0, "num_of_datapoints": 166000}
optimizer = {"state": {0: {"step": 1, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.001, "params": [0]}]}
torch.save({**words, "state_dict": variant(state), "optimizer_state": optimizer}, "variant.pth")
golden("variant", out)
torch.save({**words, "state_dict": variant(state)}, "variant_legacy.pth", _use_new_zipfile_serialization=False)
golden("variant_legacy", out)
torch.save({"module." + k: v for k, v in variant(state).items()}, "variant_parallel.pth")
golden("variant_parallel", out)

published = os.environ.get("STYLENET_ASSETS", "../../../../shared/assets") + "/models/pytorch-starry.pth"
if not os.path.exists(published):
    print(f"{published} is not there: pytorch-starry.asset stays as it is")
else:
    golden("pytorch-starry", run(torch.load(published), picture()), ".asset")
