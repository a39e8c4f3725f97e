"""Runs exported models with the programs that they are made for.

usage: peers.py PEER DIR, where PEER is onnxruntime, opencv, torch or triton and
DIR/cases.json lists {"name", "model", "bytes", "shapes"}; reads the pictures
DIR/NAME.I.in of shape [N, H, W, 3] and type uint8, writes what model DIR/MODEL
makes of them as raw float32 in the same order to DIR/NAME.I.out, and prints the
versions of what it used. Exits with 3 where a module is missing.
"""
import json
import sys

peer, root = sys.argv[1:]
try:
    import numpy as np
    if peer == "onnxruntime":
        import onnx
        import onnxruntime as ort
    elif peer == "opencv":
        import cv2
    elif peer == "torch":
        import torch
        from transformer_net import TransformerNet
    elif peer == "triton":
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)


def onnxruntime(path, bytes):
    """The model passes ONNX's checker, shapes and types inferred, and says what it takes."""
    onnx.checker.check_model(path, full_check=True)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (i,), (o,) = session.get_inputs(), session.get_outputs()
    assert i.name == "input" and o.name == "output", (i.name, o.name)
    assert i.type == o.type == ("tensor(uint8)" if bytes else "tensor(float)"), (i.type, o.type)
    return lambda x: session.run(None, {"input": x})[0]


def opencv(path, bytes):
    net = cv2.dnn.readNetFromONNX(path)

    def run(x):
        net.setInput(x)
        return net.forward()

    return run


def pytorch(path, bytes):
    net = TransformerNet()
    state = torch.load(path, weights_only=True, mmap=True)
    assert all(t.dtype == next(iter(state.values())).dtype for t in state.values())
    net.load_state_dict(state, strict=True)

    def run(x):
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy()

    return run


if peer == "triton":
    for case in json.load(open(f"{root}/cases.json")):
        # Every field is one of the schema, and of the type that it wants.
        config = text_format.Parse(open(f"{root}/{case['model']}").read(), model_config_pb2.ModelConfig())
        (i,), (o,) = config.input, config.output
        print(config.name, config.backend, config.max_batch_size, config.HasField("dynamic_batching"))
        for side in i, o:
            print(side.name, model_config_pb2.DataType.Name(side.data_type), list(side.dims))
        for key in sorted(config.parameters):
            print(f"{key}: {config.parameters[key].string_value}")
    sys.exit()

load = {"onnxruntime": onnxruntime, "opencv": opencv, "torch": pytorch}[peer]
for case in json.load(open(f"{root}/cases.json")):
    run = load(f"{root}/{case['model']}", case["bytes"])
    for k, shape in enumerate(case["shapes"]):
        x = np.fromfile(f"{root}/{case['name']}.{k}.in", np.uint8).reshape(shape)
        if not case["bytes"]:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2).astype(np.float32))
        y = run(x)
        if not case["bytes"]:
            y = y.transpose(0, 2, 3, 1)
        assert y.shape == tuple(shape), (y.shape, shape)
        y.astype("<f4").tofile(f"{root}/{case['name']}.{k}.out")
print({"onnxruntime": lambda: f"onnx {onnx.__version__}, ONNX Runtime {ort.__version__}",
       "opencv": lambda: f"OpenCV {cv2.__version__}", "torch": lambda: f"PyTorch {torch.__version__}"}[peer]())
