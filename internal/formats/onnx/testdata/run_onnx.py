"""Checks and runs the ONNX models of peers_test.go with onnx and ONNX Runtime.

usage: run_onnx.py DIR, where DIR/cases.json lists {"name", "shapes"}; reads
DIR/NAME.onnx and DIR/NAME.I.in, writes DIR/NAME.I.onnx (raw float32) and
prints the shapes of the outputs as JSON. Exits with 3 where a module is
missing.
"""
import json
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)

root = sys.argv[1]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
shapes = {}
for case in json.load(open(f"{root}/cases.json")):
    path = f"{root}/{case['name']}.onnx"
    onnx.checker.check_model(path, full_check=True)
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (i,), (o,) = session.get_inputs(), session.get_outputs()
    assert (i.name, o.name) == ("input", "output"), (i.name, o.name)
    assert not any(isinstance(i.shape[k], int) for k in (0, 2, 3)), i.shape
    for k, shape in enumerate(case["shapes"]):
        x = np.fromfile(f"{root}/{case['name']}.{k}.in", "<f4").reshape(shape)
        y = session.run(None, {"input": x})[0]
        y.astype("<f4").tofile(f"{root}/{case['name']}.{k}.onnx")
        shapes.setdefault(case["name"], []).append(y.shape)
json.dump(shapes, sys.stdout)
