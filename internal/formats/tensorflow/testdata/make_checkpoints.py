#!/usr/bin/python3
"""Makes the checkpoints beside it, in TensorFlow's present format (v2, sharded)
and its first one (v1), and expected.json: what the float variables hold.

Needs TensorFlow (pip install tensorflow-cpu) and NumPy. Run it in this folder.
"""
import json
import os
import shutil

import numpy
import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
ramp = numpy.array([0.0, -0.0, 1.0, -1.5, 0.1, 3.1415926, 65504.0, 1e-7], "float32")
values = {
    "single": ramp,
    "matrix": numpy.arange(24, dtype="float32").reshape(2, 3, 4),
    "scalar": numpy.float32(2.5),
    "empty": numpy.zeros((0, 3), "float32"),
    "double": ramp.astype("float64") / 3,
    "half": ramp.astype("float16"),
    "counter": numpy.int64(7),
    "flag": numpy.array([True, False]),
    "scope/inner": numpy.float32([1, 2]),
}
variables = {}
for name, value in values.items():
    # A checkpoint that is sharded has a file for each device.
    with tf.device("/cpu:1" if name in ("matrix", "half") else "/cpu:0"):
        variables[name] = v1.Variable(value, name=name, use_resource=False)
brain = v1.Variable(tf.cast(ramp, tf.bfloat16), name="brain", use_resource=False)
text = v1.Variable("words", name="text", use_resource=False)
parts = v1.get_variable("parts", [6, 2], partitioner=v1.fixed_size_partitioner(2), initializer=v1.ones_initializer(), use_resource=False)

with v1.Session(config=v1.ConfigProto(device_count={"CPU": 2})) as session:
    session.run(v1.global_variables_initializer())

    def save(folder, what, **kwargs):
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        v1.train.Saver(what, **kwargs).save(session, folder + "/m.ckpt", write_meta_graph=False)

    everything = [*variables.values(), brain]
    save("v2", [*everything, text])
    save("sharded", everything, sharded=True)
    old = [v for name, v in variables.items() if name != "flag"]
    save("v1", old, write_version=v1.train.SaverDef.V1)
    save("parts", list(parts))
    save("parts_v1", list(parts), write_version=v1.train.SaverDef.V1)
    save("no_floats", [variables["counter"]])
    values["brain"] = session.run(tf.cast(brain, tf.float32))
expected = {
    name: {"shape": list(numpy.shape(v)), "values": [float(x) for x in numpy.float32(v).flatten()]}
    for name, v in values.items()
    if name not in ("counter", "flag")
}
with open("expected.json", "w") as f:
    json.dump(expected, f, indent=0, sort_keys=True)
    f.write("\n")
