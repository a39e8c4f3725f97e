"""Checks and runs the ONNX models of peers_test.go with onnx and ONNX Runtime.

usage: run_onnx.py DIR, where DIR/cases.json lists {"name", "shapes", "fixed",
"reference", "mixes" of styles for each input or null, "style" and, where that is not
empty, "style_shapes" of the second pictures in DIR/NAME.I.style}; reads DIR/NAME.onnx and
DIR/NAME.I.in, writes DIR/NAME.I.onnx (both raw float32 and N, C, H, W, whatever
the model takes and gives) and prints the shapes of the outputs as JSON. Exits
with 3 where a module is missing.
"""
import json
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx.reference import ReferenceEvaluator
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
    # ONNX Runtime's CPU computes half precision in float32; ONNX's own reference
    # keeps to the types.
    reference = ReferenceEvaluator(path) if case.get("reference") else None
    (i, *more), (o,) = session.get_inputs(), session.get_outputs()
    assert [m.name for m in more] == (["mix"] if case["mixes"] else []) + (["style"] if case["style"] else []), more
    assert (i.name, o.name) == ("input", "output"), (i.name, o.name)
    pixels = i.type == "tensor(uint8)"
    assert pixels or i.type == "tensor(float)", i.type
    assert o.type == i.type, o.type
    sides = i.shape[1:3] if pixels else i.shape[2:]
    assert not isinstance(i.shape[0], int), i.shape
    assert all(isinstance(s, int) == case.get("fixed", False) for s in sides), i.shape
    for k, shape in enumerate(case["shapes"]):
        x = np.fromfile(f"{root}/{case['name']}.{k}.in", "<f4").reshape(shape)
        if pixels:
            x = np.ascontiguousarray(x.astype(np.uint8).transpose(0, 2, 3, 1))
        feeds = {"input": x}
        if case["mixes"]:
            feeds["mix"] = np.array(case["mixes"][k], np.float32)
        if case["style"]:
            s = np.fromfile(f"{root}/{case['name']}.{k}.style", "<f4").reshape(case["style_shapes"][k])
            feeds["style"] = np.ascontiguousarray(s.astype(np.uint8).transpose(0, 2, 3, 1)) if pixels else s
        y = (reference or session).run(None, feeds)[0]
        y = y.transpose(0, 3, 1, 2) if pixels else y
        y.astype("<f4").tofile(f"{root}/{case['name']}.{k}.onnx")
        shapes.setdefault(case["name"], []).append(y.shape)
json.dump(shapes, sys.stdout)
