#!/usr/bin/python3
"""Makes the folders lengstrom_*: small networks of lengstrom's kind as
checkpoints of TensorFlow in both formats and as dumped variables, and what
TensorFlow makes of a picture with them (.golden: float32, 3 by rows by columns,
RGB 0-255, not clamped).

lengstrom-wave.asset is that of the published network in
$STYLENET_ASSETS/models/lengstrom-wave (default ../shared/assets beside the
repository), which is not in it.

Needs TensorFlow (pip install tensorflow-cpu) and NumPy. Run it in this folder.
"""
import json
import os
import shutil

import numpy
import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
ROWS, COLUMNS = 24, 28


def picture():
    c, y, x = numpy.meshgrid(range(3), range(ROWS), range(COLUMNS), indexing="ij")
    chw = ((x * 9 + y * 5 + c * 70 + x * y * (c + 1) // 7) % 256).astype("float32")
    return chw.transpose(1, 2, 0)[None]


class Net:
    """The layers, written after the description in lengstrom's README and paper:
    TensorFlow counts the variables in the order in which they are made."""

    def __init__(self, widths, blocks, values=None):
        self.variables = []
        self.values = values
        self.random = numpy.random.RandomState(3)
        a, b, c = widths
        x = self.input = v1.placeholder(tf.float32, [1, None, None, 3])
        x = tf.nn.relu(self.conv(x, 3, a, 9, 1))
        x = tf.nn.relu(self.conv(x, a, b, 3, 2))
        x = tf.nn.relu(self.conv(x, b, c, 3, 2))
        for _ in range(blocks):
            y = tf.nn.relu(self.conv(x, c, c, 3, 1))
            x = x + self.conv(y, c, c, 3, 1)
        x = tf.nn.relu(self.conv(x, c, b, 3, -2))
        x = tf.nn.relu(self.conv(x, b, a, 3, -2))
        self.output = tf.tanh(self.conv(x, a, 3, 9, 1)) * 150 + 127.5

    def variable(self, shape, draw):
        value = draw(shape).astype("float32") if self.values is None else self.values[len(self.variables)]
        assert tuple(value.shape) == tuple(shape)
        # Not resource variables, as in TensorFlow 1.
        self.variables.append(v1.Variable(value, use_resource=False))
        return self.variables[-1]

    def conv(self, x, i, o, kernel, stride):
        shape = [kernel, kernel, i, o] if stride > 0 else [kernel, kernel, o, i]
        w = self.variable(shape, lambda s: self.random.randn(*s) * 0.1)
        if stride > 0:
            x = tf.nn.conv2d(x, w, strides=stride, padding="SAME")
        else:
            s = tf.shape(x)
            x = tf.nn.conv2d_transpose(x, w, [1, s[1] * 2, s[2] * 2, o], strides=2, padding="SAME")
        shift = self.variable([o], lambda s: self.random.rand(*s) - 0.5)
        scale = self.variable([o], lambda s: 0.5 + self.random.rand(*s))
        mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
        return scale * (x - mean) / tf.sqrt(variance + 1e-3) + shift


def golden(session, net, path):
    out = session.run(net.output, {net.input: picture()})[0]
    out.transpose(2, 0, 1).astype("<f4").tofile(path)


def read_dump(folder):
    with open(os.path.join(folder, "manifest.json")) as f:
        manifest = json.load(f)
    values = {}
    for name, entry in manifest.items():
        raw = numpy.fromfile(os.path.join(folder, entry["filename"]), "<f4").reshape(entry["shape"])
        values[int(name.partition("_")[2] or 0)] = raw
    return [values[i] for i in range(len(values))]


net = Net((4, 6, 8), 2)
# Training also saves the optimiser's variables.
train = v1.train.AdamOptimizer().minimize(tf.reduce_mean(net.output))
with v1.Session() as session:
    session.run(v1.global_variables_initializer())
    for name in ("lengstrom_v2", "lengstrom_v1", "lengstrom_dump"):
        shutil.rmtree(name, ignore_errors=True)
        os.mkdir(name)
        golden(session, net, name + ".golden")
    v1.train.Saver(write_version=v1.train.SaverDef.V2).save(session, "lengstrom_v2/fns.ckpt")
    v1.train.Saver(net.variables, write_version=v1.train.SaverDef.V1).save(session, "lengstrom_v1/fns.ckpt", write_meta_graph=False)
    manifest = {}
    for v in net.variables:
        name = v.op.name
        session.run(v).astype("<f4").tofile(os.path.join("lengstrom_dump", name))
        manifest[name] = {"filename": name, "shape": v.shape.as_list()}
    with open("lengstrom_dump/manifest.json", "w") as f:
        json.dump(manifest, f, indent=1, sort_keys=True)
# The graph is large, and nothing reads it.
os.remove("lengstrom_v2/fns.ckpt.meta")

published = os.environ.get("STYLENET_ASSETS", "../../../../shared/assets") + "/models/lengstrom-wave"
if not os.path.isdir(published):
    print(f"{published} is not there: lengstrom-wave.asset stays as it is")
else:
    with tf.Graph().as_default(), v1.Session() as session:
        net = Net((32, 64, 128), 5, read_dump(published))
        session.run(v1.global_variables_initializer())
        golden(session, net, "lengstrom-wave.asset")
