#!/usr/bin/python3
"""Makes NAME.asset: what ONNX Runtime makes of pictures with the published WinML
files candy.onnx and mosaic.onnx, which are not in this repository.

Run it in this folder, with the files in $STYLENET_ASSETS/models (default
../shared/assets/models beside the repository); needs numpy, onnx and onnxruntime
(1.32 still runs ImageScaler, Crop and Affine).

Each holds float32, RGB 0-255, not clamped: of the file as it is, which is made for
720×720, every 24th row and column from the 5th on, 3×30×30; then of the file with its
sizes changed to 52×68, 3×52×68.
"""
import os
import sys

import numpy
import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(3)


def picture(rows, columns):
    c, y, x = numpy.meshgrid(range(3), range(rows), range(columns), indexing="ij")
    return ((x * 9 + y * 5 + c * 70 + x * y * (c + 1) // 7) % 256).astype("float32")


def run(model, rows, columns):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    bgr = picture(rows, columns)[None, ::-1]
    return session.run(None, {session.get_inputs()[0].name: numpy.ascontiguousarray(bgr)})[0][0, ::-1]


assets = os.environ.get("STYLENET_ASSETS", "../../../../shared/assets") + "/models"
if not os.path.isdir(assets):
    print(f"{assets} is not there: candy.asset and mosaic.asset stay as they are")
    sys.exit()
for name in ("candy", "mosaic"):
    model = onnx.load(f"{assets}/{name}.onnx")
    whole = run(model, 720, 720)[:, 5::24, 5::24]
    assert whole.shape == (3, 30, 30)
    names = {i.name for i in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output]:
        if value.name not in names:
            dims = value.type.tensor_type.shape.dim
            dims[2].dim_param, dims[3].dim_param = value.name + "H", value.name + "W"
    # Transposed convolutions name the size of their result.
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "output_shape":
                scale = 2 if attribute.ints[0] < 720 else 1
                attribute.ints[:] = [size - 720 // scale + side // scale for size, side in zip(attribute.ints, (52, 68))]
    free = run(model, 52, 68)
    assert free.shape == (3, 52, 68)
    with open(name + ".asset", "wb") as f:
        f.write(whole.astype("<f4").tobytes() + free.astype("<f4").tobytes())
