"""A model's forward pass in ONNX Runtime, on the processor.

With --input it stylizes that picture once and writes --output instead of
measuring: rounded to bytes, as stylenet does.
"""
import argparse
import numpy as np, onnxruntime as ort
import common

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('model', help='an ONNX file of stylenet export')
parser.add_argument('--size', default='256', help='SIDE or WIDTHxHEIGHT')
parser.add_argument('--runs', type=int, default=10)
parser.add_argument('--threads', type=int, default=2)
parser.add_argument('--input')
parser.add_argument('--output')
a = parser.parse_args()

options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = a.threads, 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
session = ort.InferenceSession(a.model, options, providers=['CPUExecutionProvider'])
name = session.get_inputs()[0].name

if a.input:
    from PIL import Image
    x = np.asarray(Image.open(a.input).convert('RGB'), np.float32).transpose(2, 0, 1)[None]
    y = session.run(None, {name: np.ascontiguousarray(x)})[0][0]
    Image.fromarray(np.rint(y.clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)).save(a.output)
else:
    width, height = common.size(a.size)
    x = np.random.default_rng(1).uniform(0, 255, (1, 3, height, width)).astype(np.float32)
    seconds = common.measure(lambda: session.run(None, {name: x}), 1, a.runs)
    common.report(seconds, 1, runs=a.runs, threads=a.threads, width=width, height=height, version=ort.__version__)
