"""Writes ONNX files that hold their own questions and ONNX Runtime's answers, for
make_models.py and draw_models.py. Needs numpy, onnx and onnxruntime.

Questions and answers are initialisers that the graph does not use: golden.0.input
(uint8, N=1), golden.0.output (float32, as the file orders it), and golden.1 … for
other sizes. metadata_props may hold a "tolerance" of what is apart, or the "share" of the
largest value that it is, instead of a ten thousandth.
"""
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ort.set_default_logger_severity(3)
rnd = np.random.RandomState(1)
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # some quantize what the file does not
options.intra_op_num_threads = 1
F, U8, F16, I64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.INT64
made = []


def f(*shape, scale=1.0, dtype=np.float32):
    return (rnd.randn(*shape) * scale).astype(dtype)


def kernel(*shape, dtype=np.float32):
    return f(*shape, scale=1 / np.sqrt(np.prod(shape[1:])), dtype=dtype)


def i(*values):
    return np.array(values, np.int64)


def fl(*values):
    return np.array(values, np.float32)


def scalar(v):
    return np.float32(v)


def node(op, inputs, outputs="y", **attributes):
    return helper.make_node(op, inputs.split(" ") if inputs else [], outputs.split(" "), name=f"{op}.{outputs.split(' ')[0]}", **attributes)


def model(nodes, weights, opset, dims_in, dims_out, dtype, out_dtype, ir=8, old=False):
    inputs = [helper.make_tensor_value_info("x", dtype, dims_in)]
    initializers = [numpy_helper.from_array(np.asarray(v), k) if not isinstance(v, TensorProto) else v for k, v in weights.items()]
    if old:  # as files before IR version 4 are
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in initializers]
    graph = helper.make_graph(nodes, "golden", inputs, [helper.make_tensor_value_info("y", out_dtype, dims_out)], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", opset)], ir_version=ir, producer_name="make_models", producer_version="1")


def order(layout, h, w, channels):
    return {"NCHW": [1, channels, h, w], "NHWC": [1, h, w, channels], "CHW": [channels, h, w], "HWC": [h, w, channels]}[layout]


def case(name, build, opset=17, shapes=((8, 12),), fixed=False, layout="NCHW", dtype=F, out_dtype=None, channels=3, tolerance=None,
         like=None, like_opset=17, check=True, old=False, scale=1.0, share=None, least=0, folder="models"):
    """build(h, w) gives nodes and weights; like(h, w) those of a graph that does
    the same, where ONNX Runtime does not run the first."""
    out_dtype = out_dtype or dtype
    free = {"NCHW": ["n", channels, "h", "w"], "NHWC": ["n", "h", "w", channels], "CHW": [channels, "h", "w"], "HWC": ["h", "w", channels]}[layout]
    rank_out = [None] * len(free)

    def at(h, w, make, v):
        rnd.seed(zlib.crc32(name.encode()))  # the same weights at all sizes
        nodes, weights = make(h, w)
        dims = order(layout, h, w, channels) if fixed else free
        return model(nodes, weights, v, dims, rank_out, dtype, out_dtype, ir=3 if old else 8, old=old)

    saved = at(*shapes[0], build, opset)
    if check and like is None:
        onnx.checker.check_model(saved)
    for k, (h, w) in enumerate(shapes):
        x = rnd.randint(0, 256, order(layout, h, w, channels)).astype(np.uint8)
        m = at(h, w, like or build, like_opset if like else opset)
        session = ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = x if dtype == U8 else (x * np.float32(scale)).astype(np.float16 if dtype == F16 else np.float32)
        y = session.run(None, {"x": given})[0].astype(np.float32)
        assert y.size < 1 << 20 and np.isfinite(y).all() and y.std() > least, name
        saved.graph.initializer.append(numpy_helper.from_array(x, f"golden.{k}.input"))
        saved.graph.initializer.append(numpy_helper.from_array(y, f"golden.{k}.output"))
    helper.set_model_props(saved, {k: str(v) for k, v in (("tolerance", tolerance), ("share", share), ("scale", None if scale == 1 else scale)) if v is not None})
    onnx.save(saved, f"{folder}/{name}.onnx")
    made.append(name)
