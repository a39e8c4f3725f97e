#!/usr/bin/python3
"""Makes the .pth files beside it, and expected.json: what torch.load reads.

Needs PyTorch (Debian's python3-torch, 1.13). Run it in this folder. Zip
files come out the same each time; torch.save names legacy storages by their
addresses, so those files change in their keys. The files made by hand
(python2.pth, hostile_*.pth) cover what newer PyTorch no longer writes or
never wrote.
"""
import collections
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import torch

torch.manual_seed(1)
expected = {}


def expect(path, select=lambda state: state):
    state = select(torch.load(path))
    expected[path] = [
        {"name": k, "shape": list(v.shape), "values": v.detach().float().flatten().tolist()}
        for k, v in state.items()
        if isinstance(v, torch.Tensor) and v.dtype.is_floating_point
    ]


def save(name, obj, select=lambda state: state, protocol=2):
    for kind in ("zip", "legacy"):
        path = f"{kind}_{name}.pth"
        torch.save(obj, path, pickle_protocol=protocol, _use_new_zipfile_serialization=kind == "zip")
        expect(path, select)


# A module's state_dict carries _metadata and, from batch norm, an integer.
module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
module[1].running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
save("module", module.state_dict())
save("protocol4", module.state_dict(), protocol=4)
save("wrapped", {"epoch": 3, "state_dict": module.state_dict(), "optimizer": {"lr": 0.1}}, lambda s: s["state_dict"])
save("parameters", dict(module.named_parameters()))

ramp = torch.tensor([0.0, -0.0, 1.0, -1.5, 0.1, 3.1415926, 65504.0, 1e-7])
save("dtypes", {
    "half": ramp.half(), "counter": torch.tensor(7), "single": ramp, "brain": ramp.bfloat16(),
    "mask": torch.tensor([True, False]), "double": ramp.double() / 3, "bytes": torch.arange(4).byte(),
})

# Views: the tensors share storages and are not contiguous.
base = torch.arange(24.0)
grid = base.reshape(2, 3, 4)
save("strides", {
    "whole": grid,
    "again": grid,
    "transposed": grid.permute(2, 0, 1),
    "slice": grid[1, 1:, ::2],
    "offset": base[5:9],
    "broadcast": base[3:4].expand(2, 3),
    "channels_last": torch.arange(36.0).reshape(1, 3, 3, 4).to(memory_format=torch.channels_last),
    "scalar": torch.tensor(2.5),
    "one": base[7:8].reshape(1, 1, 1),
    "empty": torch.zeros(0, 3),
})


def legacy(path, state, keys, storages):
    """Writes the legacy container around a pickle made by hand."""
    with open(path, "wb") as f:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(head, f, protocol=2)
        f.write(state)
        pickle.dump(keys, f, protocol=2)
        for values in storages:
            f.write(struct.pack("<q", len(values)) + struct.pack(f"<{len(values)}f", *values))


def text(s):
    return b"U" + bytes([len(s)]) + s.encode()


def storage(key, numel, view=b""):
    return (b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
            + b"K" + bytes([numel]) + (view or b"N") + b"tQ")


# What Python 2 and PyTorch 0.1 wrote: byte strings, OrderedDict([[k, v], …]),
# _rebuild_tensor, views of storages, parameters with a state.
view = b"(" + text("v") + b"K\x02K\x04t"  # values 2 to 5
a = b"ctorch._utils\n_rebuild_tensor\n(" + storage("s", 6) + b"K\x00K\x02K\x03\x86K\x03K\x01\x86tR"
b = b"ctorch._utils\n_rebuild_tensor\n(" + storage("s", 6, view) + b"K\x01K\x03\x85K\x01\x85tR"
c = b"ctorch.nn.parameter\nParameter\n" + a + b"\x85R(\x88\x89ccollections\nOrderedDict\n)Rtb"
pairs = b"".join(b"](" + text(name) + value + b"e" for name, value in (("a", a), ("b", b), ("c", c)))
legacy("python2.pth", b"\x80\x02ccollections\nOrderedDict\n](" + pairs + b"e\x85R.", ["s"], [[1, 2, 3, 4, 5, 6]])
expect("python2.pth")


# Files that must be refused.
class Call:
    def __reduce__(self):
        return os.system, ("echo pwned",)


torch.save({"w": torch.ones(2), "evil": Call()}, "hostile_call_zip.pth")
torch.save({"w": torch.ones(2), "evil": Call()}, "hostile_call_legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"w": torch.ones(2), "evil": Call()}, "hostile_call_protocol4.pth", pickle_protocol=4)
torch.save(torch.nn.ReLU(), "refused_whole_model.pth")
torch.save({"w": torch.ones(2, dtype=torch.complex64)}, "refused_complex.pth")
torch.save({"lr": 0.1, "steps": torch.tensor(3)}, "refused_no_floats.pth")
torch.jit.save(torch.jit.script(torch.nn.ReLU()), "refused_torchscript.pth")

with tarfile.open("refused_tar.pth", "w", format=tarfile.USTAR_FORMAT) as tar:
    info = tarfile.TarInfo("pickle")
    info.size = 2
    tar.addfile(info, io.BytesIO(b"N."))

# A tensor that leaves its storage, and a storage larger than its record.
legacy("hostile_outside.pth", b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor\n("
       + storage("s", 2) + b"K\x00K\x03\x85K\x01\x85tRs.", ["s"], [[1, 2]])


def rezip(source, path, change=lambda name, data: data, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(zipfile.ZipInfo(name), data, compress_type=method)


first = "zip_parameters/data/0"
rezip("zip_parameters.pth", "hostile_short_record.pth", lambda n, d: d[:-4] if n == first else d)
rezip("zip_parameters.pth", "hostile_missing_record.pth", lambda n, d: None if n == first else d)
rezip("zip_parameters.pth", "refused_compressed.pth", method=zipfile.ZIP_DEFLATED)
with open("zip_parameters.pth", "rb") as f:
    data = bytearray(f.read())
raw = zipfile.ZipFile("zip_parameters.pth").read(first)
data[data.index(raw)] ^= 1
with open("hostile_checksum.pth", "wb") as f:
    f.write(data)

with open("expected.json", "w") as f:
    json.dump(expected, f, indent=0, sort_keys=True)
    f.write("\n")
