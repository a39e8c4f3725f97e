"""Makes models/*.onnx: small files of every operator and form that Decode
reads, with ONNX Runtime's answers, so that tests run without Python.

usage: make_models.py, in its folder; needs numpy, onnx and onnxruntime.
"""
import os
import shutil

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cases import F, F16, I64, U8, case, f, fl, i, kernel, made, node, scalar


def simple(name, op, weights=None, inputs=None, **options):
    """One operator behind the input."""
    attributes = options.pop("attributes", {})
    weights = weights or {}
    case(name, lambda h, w: ([node(op, inputs or " ".join(["x", *weights]), **attributes)], weights), **options)


shutil.rmtree("models", ignore_errors=True)
os.makedirs("models")

# Convolutions.
w = {"w": kernel(4, 3, 3, 3), "b": f(4)}
simple("conv", "Conv", w, attributes=dict(pads=[1, 1, 1, 1], kernel_shape=[3, 3]))
simple("conv_opset7", "Conv", w, attributes=dict(pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3]), opset=7, old=True, shapes=((8, 12), (7, 9)))
simple("conv_opset22", "Conv", w, attributes=dict(pads=[0, 1, 2, 3]), opset=22)
simple("conv_no_bias", "Conv", {"w": kernel(4, 3, 1, 1)})
simple("conv_wide", "Conv", {"w": kernel(4, 3, 3, 5), "b": f(4)}, attributes=dict(pads=[1, 2, 0, 3]))
simple("conv_tall", "Conv", {"w": kernel(4, 3, 5, 2)}, attributes=dict(pads=[2, 0, 1, 1], strides=[2, 2]))
simple("conv_even", "Conv", {"w": kernel(4, 3, 4, 4)}, attributes=dict(pads=[1, 2, 2, 1]))
simple("conv_strides", "Conv", w, attributes=dict(pads=[1, 2, 0, 1], strides=[1, 3]), shapes=((8, 12), (9, 18)))
simple("conv_strides_same", "Conv", w, attributes=dict(auto_pad="SAME_UPPER", strides=[4, 2]))
simple("conv_dilated", "Conv", w, attributes=dict(dilations=[2, 3], pads=[2, 3, 2, 3]))
simple("conv_group", "Conv", {"w": kernel(6, 2, 3, 3), "b": f(6)}, attributes=dict(group=2), channels=4)
simple("conv_depthwise", "Conv", {"w": kernel(6, 1, 3, 3), "b": f(6)}, attributes=dict(group=3, pads=[1, 1, 1, 1]))
for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    simple(f"conv_{mode.lower()}", "Conv", w, attributes=dict(auto_pad=mode, strides=[2, 2]), shapes=((8, 12), (10, 6)))
    simple(f"conv_transpose_{mode.lower()}", "ConvTranspose", {"w": kernel(3, 4, 3, 3), "b": f(4)}, attributes=dict(auto_pad=mode, strides=[2, 2]), shapes=((5, 6),))
simple("conv_same_even_kernel", "Conv", {"w": kernel(4, 3, 4, 2)}, attributes=dict(auto_pad="SAME_LOWER"))
case("conv_behind_zeros", lambda h, w_: ([node("Pad", "x p", "a"), node("Conv", "a w b", pads=[1, 0, 0, 1])], {"p": i(0, 0, 1, 2, 0, 0, 3, 0), **w}))

w = {"w": kernel(3, 4, 3, 3), "b": f(4)}
simple("conv_transpose", "ConvTranspose", w, attributes=dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]))
simple("conv_transpose_asymmetric", "ConvTranspose", w, attributes=dict(strides=[2, 2], pads=[0, 1, 1, 2], output_padding=[1, 0]), shapes=((5, 6),))
simple("conv_transpose_cut_ends", "ConvTranspose", w, attributes=dict(strides=[3, 3], pads=[0, 0, 2, 1]), shapes=((4, 5),))
simple("conv_transpose_cut_begins", "ConvTranspose", w, attributes=dict(strides=[2, 2], pads=[2, 2, 0, 0]), shapes=((4, 5),))
simple("conv_transpose_group", "ConvTranspose", {"w": kernel(4, 2, 3, 3), "b": f(4)}, attributes=dict(strides=[2, 2], group=2), channels=4, shapes=((4, 5),))
simple("conv_transpose_dilated", "ConvTranspose", {"w": kernel(3, 2, 2, 3)}, attributes=dict(strides=[2, 2], dilations=[3, 2], pads=[1, 0, 2, 1]), shapes=((4, 5),))
simple("conv_transpose_wide", "ConvTranspose", {"w": kernel(3, 2, 2, 5), "b": f(2)}, attributes=dict(strides=[2, 2], pads=[0, 2, 0, 2], output_padding=[0, 1]), shapes=((4, 5),))
simple("conv_transpose_opset7", "ConvTranspose", {"w": kernel(3, 4, 4, 4)}, attributes=dict(strides=[2, 2], pads=[1, 1, 1, 1]), opset=7, old=True, shapes=((4, 5),))
for extra in (0, 1, 2):
    # The size of the result is that of one size of the picture alone.
    case(f"conv_transpose_output_shape{extra}", lambda h, w_: ([node("ConvTranspose", "x w b", strides=[2, 2], output_shape=[2 * h + extra, 2 * w_ - extra])], w),
         fixed=True, shapes=((5, 6), (4, 7)))
case("conv_transpose_cropped", lambda h, w_: ([node("ConvTranspose", "x w b", "a", strides=[2, 2], auto_pad="VALID", output_shape=[2 * h + 2, 2 * w_ + 2]), node("Crop", "a", border=[1, 1, 1, 1])], w),
     opset=7, old=True, fixed=True, shapes=((5, 6), (4, 7)), check=False)

# Norms.
c = {"s": f(3), "b": f(3)}
bn = {**c, "m": f(3, scale=100), "v": np.abs(f(3, scale=1000))}
simple("instance_norm", "InstanceNormalization", c, attributes=dict(epsilon=0.01))
simple("instance_norm_opset7", "InstanceNormalization", c, opset=7, old=True)
simple("instance_norm_opset22", "InstanceNormalization", c, opset=22)
simple("batch_norm_opset7", "BatchNormalization", bn, opset=7, old=True, attributes=dict(epsilon=0.5, momentum=0.9))
simple("batch_norm_opset15", "BatchNormalization", bn, opset=15)
simple("batch_norm_opset6", "BatchNormalization", bn, opset=6, attributes=dict(is_test=1, consumed_inputs=[0, 0, 0, 1, 1]),
       like=lambda h, w_: ([node("BatchNormalization", "x s b m v")], bn))
gn = {"s": f(2), "b": f(2)}
case("group_norm_opset18", lambda h, w_: ([node("GroupNormalization", "x s b", num_groups=2, epsilon=0.1)], gn), opset=18, channels=6,
     like=lambda h, w_: ([node("GroupNormalization", "x s b", num_groups=2, epsilon=0.1)], {k: np.repeat(v, 3) for k, v in gn.items()}), like_opset=21)
simple("group_norm_opset21", "GroupNormalization", {"s": f(6), "b": f(6)}, opset=21, channels=6, attributes=dict(num_groups=3))
gc = {"shape": i(0, 2, -1), "one": np.ones(2, np.float32), "zero": np.zeros(2, np.float32), "s": f(6, 1, 1), "b": f(6, 1, 1), "ax": i(2, 3)}
case("group_norm_reshaped", lambda h, w_: ([  # PyTorch's exporter
    node("Reshape", "x shape", "a"), node("InstanceNormalization", "a one zero", "b1", epsilon=0.001), node("Shape", "x", "sh"),
    node("Reshape", "b1 sh", "c"), node("Mul", "c s", "d"), node("Add", "d b")], gc), channels=6)
case("group_norm_written_out", lambda h, w_: ([
    node("Shape", "x", "sh"), node("Reshape", "x g", "a"), node("ReduceMean", "a", "m", axes=[2, 3, 4]), node("Sub", "a m", "d"), node("Mul", "d d", "q"),
    node("ReduceMean", "q", "v", axes=[2, 3, 4]), node("Add", "v eps", "ve"), node("Sqrt", "ve", "sd"), node("Reciprocal", "sd", "r"), node("Mul", "r d", "n"),
    node("Reshape", "n sh", "o"), node("Mul", "o s", "p"), node("Add", "p b")],
    {"g": i(1, 3, 2, h, w_), "eps": fl(0.5), "s": f(6, 1, 1), "b": f(6, 1, 1)}), channels=6, fixed=True)
case("instance_norm_written_out", lambda h, w_: ([
    node("ReduceMean", "x", "m", axes=[2, 3]), node("Sub", "x m", "d"), node("Pow", "d two", "q"), node("ReduceMean", "q", "v", axes=[-2, -1]),
    node("Add", "v eps", "ve"), node("Pow", "ve half", "sd"), node("Div", "d sd", "n"), node("Mul", "n s", "p"), node("Add", "p b")],
    {"two": scalar(2), "half": scalar(0.5), "eps": scalar(0.001), "s": f(3, 1, 1), "b": f(1, 3, 1, 1)}))
case("instance_norm_written_out18", lambda h, w_: ([
    node("ReduceMean", "x ax", "m"), node("Sub", "x m", "d"), node("Mul", "d d", "q"), node("ReduceMean", "q ax", "v"),
    node("Add", "eps v", "ve"), node("Sqrt", "ve", "sd"), node("Div", "one sd", "r"), node("Mul", "d r")],
    {"ax": i(2, 3), "eps": scalar(0.001), "one": scalar(1)}), opset=18)
case("instance_norm_flat", lambda h, w_: ([
    node("Reshape", "x flat", "a"), node("InstanceNormalization", "a s b", "n"), node("Shape", "x", "sh"), node("Reshape", "n sh")], {"flat": i(0, 0, -1), **c}))
case("instance_norm_nhwc", lambda h, w_: ([
    node("Transpose", "x", "a", perm=[0, 3, 1, 2]), node("InstanceNormalization", "a s b", "n"), node("Transpose", "n", perm=[0, 2, 3, 1])], c), layout="NHWC")

# One value at a time.
centre = {"half": scalar(128)}


def centred(name, op, inputs="", weights=None, opset=17, like=None, like_opset=17, check=True, **attributes):
    head = node("Sub", "x half", "c")
    case(name, lambda h, w_: ([head, node(op, ("c " + inputs).strip(), **attributes)], {**centre, **(weights or {})}), opset=opset, check=check,
         like=(lambda h, w_: ([head] + like[0], {**centre, **like[1]})) if like else None, like_opset=like_opset)


centred("relu", "Relu")
centred("leaky_relu", "LeakyRelu", alpha=0.3)
centred("leaky_relu_default", "LeakyRelu")
centred("prelu", "PRelu", "s", {"s": f(3, 1, 1)})
centred("prelu_one", "PRelu", "s", {"s": f(1)}, opset=9)
centred("prelu_opset6", "PRelu", "s", {"s": fl(.1, .2, .3)}, opset=6, like=([node("PRelu", "c s")], {"s": fl(.1, .2, .3).reshape(3, 1, 1)}))
scale = {"k": scalar(0.02)}
for op, attributes in (("Tanh", {}), ("Sigmoid", {}), ("HardSigmoid", dict(alpha=0.3, beta=0.4)), ("HardSwish", {})):
    case(op.lower(), lambda h, w_: ([node("Sub", "x half", "c"), node("Mul", "c k", "d"), node(op, "d", **attributes)], {**centre, **scale}))
for op, attributes, opset in (("Elu", {}, 7), ("Elu", dict(alpha=0.3), 22), ("Selu", {}, 7), ("Selu", dict(alpha=2.0, gamma=0.5), 17), ("Celu", {}, 12), ("Celu", dict(alpha=0.4), 17),
                              ("Softplus", {}, 7), ("Softsign", {}, 7), ("Mish", {}, 18), ("Swish", dict(alpha=1.5), 24), ("Erf", {}, 9), ("Gelu", {}, 20), ("Gelu", dict(approximate="tanh"), 20)):
    like = {"Swish": (lambda h, w_: ([node("Sub", "x half", "c"), node("Mul", "c k", "d"), node("Mul", "d a", "e"), node("Sigmoid", "e", "g"), node("Mul", "d g")], {**centre, **scale, "a": scalar(1.5)}))}.get(op)
    case("_".join([op.lower(), *(str(v) for v in attributes.values())]), lambda h, w_: ([node("Sub", "x half", "c"), node("Mul", "c k", "d"), node(op, "d", **attributes)], {**centre, **scale}),
         opset=opset, like=like, tolerance=1e-6 if op == "Erf" else None)
centred("abs", "Abs")
centred("cube", "Pow", "three", {"three": scalar(3)})
case("reciprocal", lambda h, w_: ([node("Add", "x k", "c"), node("Reciprocal", "c")], {"k": scalar(9)}))
case("silu", lambda h, w_: ([node("Sub", "x half", "c"), node("Mul", "c k", "d"), node("Sigmoid", "d", "e"), node("Mul", "d e")], {**centre, **scale}))
case("scaled_tanh", lambda h, w_: ([node("ScaledTanh", "x", alpha=150.0, beta=0.01)], {}), opset=7, check=False)
case("tanh_scaled", lambda h, w_: ([node("Mul", "x k", "a"), node("Tanh", "a", "b"), node("Mul", "b m", "c"), node("Add", "c n")], {**scale, "m": scalar(150), "n": scalar(127.5)}))
centred("clip_opset6", "Clip", opset=6, min=-20.0, max=30.0, like=([node("Clip", "c l h")], {"l": scalar(-20), "h": scalar(30)}))
centred("clip_opset13", "Clip", "l h", {"l": scalar(-20), "h": scalar(30)})
centred("clip_low", "Clip", "l", {"l": scalar(-20)})
centred("clip_relu", "Clip", "l", {"l": scalar(0)})
centred("clip_high", "Clip", " h", {"h": scalar(30)})
centred("max", "Max", "l", {"l": scalar(-20)})
centred("min", "Min", "l", {"l": fl(20)})
centred("neg", "Neg")
centred("square", "Pow", "two", {"two": scalar(2)})

# Arithmetic.
for op in ("Add", "Sub", "Mul", "Div"):
    simple(f"{op.lower()}_scalar", op, {"k": scalar(3)})
    simple(f"{op.lower()}_channels", op, {"k": f(3, 1, 1)}, opset=7)
    case(f"{op.lower()}_constant_first", lambda h, w_: ([node("Add", "x one", "a"), node(op, "k a")], {"k": f(1, 3, 1, 1), "one": scalar(1)}), opset=14)
    case(f"{op.lower()}_maps", lambda h, w_: ([node("Mul", "x k", "a"), node("Add", "x one", "b"), node(op, "a b")], {"k": f(3, 1, 1), "one": scalar(1)}))
    case(f"{op.lower()}_gate", lambda h, w_: ([node("Mul", "x k", "a"), node("GlobalAveragePool", "x", "g"), node(op, "a g")], {"k": f(3, 1, 1)}))
case("div_smaller_first", lambda h, w_: ([node("Add", "x one", "a"), node("GlobalMaxPool", "a", "g"), node("Div", "g a")], {"one": scalar(1)}))
for op in ("Sum", "Max", "Min"):
    case(f"{op.lower()}_several", lambda h, w_: ([node("Mul", "x k", "a"), node("GlobalAveragePool", "x", "g"), node(op, "v x g a s")], {"k": f(3, 1, 1), "v": f(3, 1, 1, scale=100), "s": scalar(7)}))
case("sub_smaller_first", lambda h, w_: ([node("GlobalMaxPool", "x", "g"), node("Sub", "g x")], {}))
case("mul_one_channel", lambda h, w_: ([node("Slice", "x s e a", "g"), node("Mul", "g x")], {"s": i(1), "e": i(2), "a": i(1)}))
case("add_opset6", lambda h, w_: ([node("Add", "x k", broadcast=1, axis=1)], {"k": fl(1, 20, 300)}), opset=6,
     like=lambda h, w_: ([node("Add", "x k")], {"k": fl(1, 20, 300).reshape(3, 1, 1)}))
case("mean_picture", lambda h, w_: ([node("Sub", "x k")], {"k": np.ones((3, h, w_), np.float32) * fl(1, 20, 300).reshape(3, 1, 1)}), fixed=True)
case("sum", lambda h, w_: ([node("Mul", "x k", "a"), node("Sum", "x a x")], {"k": f(3, 1, 1)}))
case("affine_chain", lambda h, w_: ([node("Mul", "x a", "p"), node("Add", "p b", "q"), node("Div", "q c", "r"), node("Sub", "d r")], {"a": f(3, 1, 1), "b": f(1), "c": f(3, 1, 1), "d": scalar(7)}))
case("image_scaler", lambda h, w_: ([node("ImageScaler", "x", "a", scale=0.5, bias=[1.0, 20.0, 300.0]), node("Affine", "a", alpha=2.0, beta=-3.0)], {}), opset=7, check=False)

# Borders.
for mode in ("reflect", "edge", "constant"):
    value = dict(value=7.0) if mode == "constant" else {}
    simple(f"pad_{mode}_opset2", "Pad", opset=7, old=True, attributes=dict(mode=mode, pads=[0, 0, 1, 2, 0, 0, 3, 4], **value))
    simple(f"pad_{mode}_opset13", "Pad", {"p": i(0, 0, 1, 2, 0, 0, 3, 4)}, opset=13, attributes=dict(mode=mode))
    simple(f"pad_{mode}_negative", "Pad", {"p": i(0, 0, -1, 2, 0, 0, 3, -4)}, attributes=dict(mode=mode))
simple("pad_value", "Pad", {"p": i(0, 0, 1, 2, 0, 0, 3, 4), "v": scalar(-9)})
simple("pad_axes", "Pad", {"p": i(1, 2, 3, 4), "ax": i(3, 2)}, inputs="x p  ax", opset=18, attributes=dict(mode="edge"))
simple("pad_opset1", "Pad", opset=1, attributes=dict(paddings=[0, 0, 1, 2, 0, 0, 3, 4]), like=lambda h, w_: ([node("Pad", "x p")], {"p": i(0, 0, 1, 2, 0, 0, 3, 4)}))
case("pad_torch", lambda h, w_: ([  # how PyTorch writes a border of 1, 2, 3 and 4
    node("Constant", "", "p", value=numpy_helper.from_array(i(3, 4, 1, 2))), node("Constant", "", "n", value=numpy_helper.from_array(i(4))),
    node("ConstantOfShape", "n", "z", value=helper.make_tensor("", I64, [1], [0])), node("Concat", "p z", "a", axis=0), node("Reshape", "a s", "b"),
    node("Slice", "b m1 end zero m1", "c"), node("Transpose", "c", "d", perm=[1, 0]), node("Reshape", "d m1", "e"), node("Cast", "e", "g", to=I64), node("Pad", "x g", mode="reflect")],
    {"s": i(-1, 2), "m1": i(-1), "end": i(-9223372036854775807), "zero": i(0)}))
simple("pad_channels", "Pad", {"p": i(0, 2, 1, 2, 0, 1, 3, 4), "v": scalar(-9)})
simple("pad_channels_negative", "Pad", {"p": i(0, -1, 0, 0, 0, 2, 0, 0)})
simple("crop", "Crop", opset=7, check=False, attributes=dict(border=[1, 2, 3, 4]))
case("crop_scale", lambda h, w_: ([node("Crop", "x", border=[1, 2, 1, 1], scale=[h - 3, w_ - 2])], {}), opset=7, check=False, fixed=True, shapes=((8, 12), (9, 9)))
simple("slice_crop", "Slice", {"s": i(1, 2), "e": i(-2, 9223372036854775807), "a": i(2, -1)})
simple("slice_opset1", "Slice", opset=7, attributes=dict(starts=[1, 2], ends=[2147483647, -1], axes=[2, 3]))

simple("slice_steps", "Slice", {"s": i(1, 0), "e": i(-1, 9223372036854775807), "a": i(2, 3), "t": i(2, 2)})
simple("slice_steps_apart", "Slice", {"s": i(0, 1), "e": i(9223372036854775807, 9223372036854775807), "a": i(2, 3), "t": i(1, 3)}, shapes=((8, 12), (9, 24)))

# Channels.
simple("slice_channels", "Slice", {"s": i(1), "e": i(3), "a": i(1)}, channels=4)
simple("slice_bgr", "Slice", {"s": i(-1), "e": i(-9223372036854775807), "a": i(1), "t": i(-1)})
simple("gather_bgr", "Gather", {"k": i(2, 1, 0)}, attributes=dict(axis=1))
case("gather_one", lambda h, w_: ([node("Gather", "x k", "a", axis=1), node("Unsqueeze", "a one")], {"k": np.int64(-2), "one": i(1)}))
case("gather_batch", lambda h, w_: ([node("Gather", "x k", "a", axis=0), node("Unsqueeze", "a zero", "b"), node("Neg", "b")], {"k": np.int64(0), "zero": i(0)}))
case("split_opset7", lambda h, w_: ([node("Split", "x", "a b", axis=1, split=[1, 3]), node("Concat", "b a", axis=1)], {}), opset=7, channels=4)
case("split_opset13", lambda h, w_: ([node("Split", "x k", "a b", axis=1), node("Concat", "b a", axis=-3)], {"k": i(3, 1)}), opset=13, channels=4)
case("split_opset18", lambda h, w_: ([node("Split", "x", "a b", axis=1, num_outputs=2), node("Concat", "b a b", axis=1)], {}), opset=18)
case("concat", lambda h, w_: ([node("Neg", "x", "a"), node("Concat", "x a x", axis=1)], {}))
case("depth_to_space_dcr", lambda h, w_: ([node("DepthToSpace", "x", blocksize=2)], {}), channels=8, shapes=((3, 4),))
case("depth_to_space_crd", lambda h, w_: ([node("DepthToSpace", "x", blocksize=2, mode="CRD")], {}), channels=8, opset=11, shapes=((3, 4),))
for name, split, perm in (("crd", (0, 2, 2, 2), (0, 1, 4, 2, 5, 3)), ("dcr", (0, 2, 2, 2), (0, 3, 4, 1, 5, 2))):
    case(f"pixel_shuffle_{name}", lambda h, w_: ([node("Reshape", "x a", "p"), node("Transpose", "p", "q", perm=perm), node("Reshape", "q b", "r"), node("Neg", "r")],
                                                 {"a": i(*split, h, w_), "b": i(1, 2, 2 * h, 2 * w_)}), channels=8, fixed=True, shapes=((3, 5), (5, 6)))
case("pixel_shuffle_free", lambda h, w_: ([
    node("Shape", "x", "s"), node("Slice", "s two four", "hw"), node("Concat", "head hw", "a", axis=0), node("Reshape", "x a", "p"), node("Transpose", "p", "q", perm=[0, 1, 4, 2, 5, 3]),
    node("Mul", "hw two", "hw2"), node("Concat", "head2 hw2", "b", axis=0), node("Reshape", "q b")],
    {"two": i(2), "four": i(4), "head": i(1, 3, 2, 2), "head2": i(1, 3)}), channels=12, shapes=((3, 4), (5, 6)))

# What is computed of constants and sizes.
case("numbers", lambda h, w_: ([
    node("Abs", "k", "a"), node("Ceil", "k", "b"), node("Round", "k", "c"), node("Sign", "k", "d"), node("Floor", "k", "e"), node("Neg", "k", "g"), node("Sqrt", "a", "i"), node("Reciprocal", "i", "j"),
    node("Concat", "a b c d e g i j", "all", axis=1), node("Mul", "all weights", "m"), node("ReduceSum", "m one", "s", keepdims=0), node("ReduceProd", "k", "p"), node("ReduceMin", "k", "n", axes=[0], keepdims=0),
    node("ReduceMax", "k", "o", axes=[1]), node("ReduceSumSquare", "k", "q", keepdims=0), node("ReduceMean", "k", "r"), node("ReduceL2", "k", "t"), node("Size", "k", "u"), node("CastLike", "u k", "v"),
    node("Sum", "s p n o q r t v", "w"), node("Pow", "w three", "w3"), node("Mod", "w3 big", "z", fmod=1), node("Tile", "z two", "tiled"), node("Slice", "tiled zero one one", "part"), node("Flatten", "part", "flat"), node("Reshape", "flat shape", "y0"), node("Mul", "x y0")],
    {"k": fl(1.5, -2.25, 3.75).reshape(3, 1), "weights": np.arange(1, 9, dtype=np.float32), "one": i(1), "two": i(1, 2), "zero": i(0), "three": scalar(3), "big": scalar(1e4), "shape": i(3, -1, 1)}))
case("integers", lambda h, w_: ([
    node("Shape", "x", "s"), node("Size", "x", "n"), node("Range", "zero four step", "r"), node("Greater", "r one", "a"), node("Less", "r step", "b"), node("GreaterOrEqual", "r three", "c"), node("LessOrEqual", "r one", "d"),
    node("And", "a d", "ad"), node("Or", "a c", "ac"), node("Xor", "ac ad", "e"), node("Not", "b", "nb"), node("And", "e nb", "mask"), node("Where", "mask pair none", "p"), node("Concat", "none p", "q", axis=0),
    node("ReduceProd", "s", "np", keepdims=0), node("Div", "n np", "same"), node("Sub", "same step", "nothing"), node("Add", "q nothing", "amounts"), node("Max", "amounts least", "most"), node("Min", "most high", "pads"), node("Pad", "x pads", mode="edge")],
    {"zero": np.int64(0), "four": np.int64(4), "step": np.int64(1), "one": i(1), "three": i(3), "pair": i(2), "none": i(0, 0, 0, 0), "least": i(0), "high": i(9)}))

# Scaling.
for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for s in (2, 3, 0.5, 1.5):
            if (s in (2, 0.5)) or (rounding, coordinates) == ("round_prefer_floor", "half_pixel"):
                simple(f"resize_nearest_{coordinates}_{rounding}_{s}", "Resize", {"s": fl(1, 1, s, s)}, inputs="x  s", shapes=((4, 6),),
                       attributes=dict(mode="nearest", coordinate_transformation_mode=coordinates, nearest_mode=rounding))
    for s in (2, 0.5, 1.5):
        simple(f"resize_linear_{coordinates}_{s}", "Resize", {"s": fl(1, 1, s, s)}, inputs="x  s", opset=13 if s == 2 else 18, shapes=((4, 6),),
               attributes=dict(mode="linear", coordinate_transformation_mode=coordinates))
simple("resize_apart", "Resize", {"s": fl(1, 1, 2, 0.5)}, inputs="x  s", shapes=((4, 6),))
simple("resize_apart_linear", "Resize", {"s": fl(1, 1, 1, 2)}, inputs="x  s", attributes=dict(mode="linear"), shapes=((4, 6),))
simple("resize_default", "Resize", {"s": fl(1, 1, 2, 2)}, inputs="x  s", opset=13, shapes=((4, 6),))
simple("resize_roi", "Resize", {"roi": fl(), "s": fl(1, 1, 2, 2)}, opset=11, shapes=((4, 6),))
simple("resize_axes", "Resize", {"s": fl(2, 2)}, inputs="x  s", opset=18, attributes=dict(axes=[3, 2]), shapes=((4, 6),))
simple("resize_symmetric", "Resize", {"s": fl(1, 1, 2, 2)}, inputs="x  s", opset=19, attributes=dict(mode="linear", coordinate_transformation_mode="half_pixel_symmetric"), shapes=((4, 6),))
simple("resize_tf", "Resize", {"roi": fl(), "s": fl(1, 1, 2, 2)}, opset=11, attributes=dict(coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor"), shapes=((4, 6),))
case("resize_fixed_sizes", lambda h, w_: ([node("Resize", "x   s", mode="linear")], {"s": i(1, 3, 2 * h, 2 * w_)}), fixed=True, shapes=((4, 6), (5, 7)))
for s in (2, 0.5):
    for mode in ("nearest", "linear"):
        simple(f"resize_opset10_{mode}_{s}", "Resize", {"s": fl(1, 1, s, s)}, opset=10, attributes=dict(mode=mode), shapes=((4, 6),))
        simple(f"upsample_opset9_{mode}_{s}", "Upsample", {"s": fl(1, 1, s, s)}, opset=9, attributes=dict(mode=mode), shapes=((4, 6),)) if s > 1 else None
simple("resize_opset10_apart", "Resize", {"s": fl(1, 1, 3, 0.5)}, opset=10, shapes=((4, 6),))
simple("upsample_opset7", "Upsample", opset=7, attributes=dict(mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]), shapes=((4, 6),))
simple("upsample_opset1", "Upsample", opset=1, attributes=dict(mode="nearest", width_scale=2.0, height_scale=2.0), shapes=((4, 6),),
       like=lambda h, w_: ([node("Resize", "x  s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], {"s": fl(1, 1, 2, 2)}))
case("resize_shape_chain", lambda h, w_: ([  # interpolate(scale_factor=2) of PyTorch's exporters
    node("Shape", "x", "s"), node("Gather", "s two", "h0", axis=0), node("Gather", "s three", "w0", axis=0), node("Cast", "h0", "h1", to=F), node("Mul", "h1 k", "h2"), node("Floor", "h2", "h3"),
    node("Cast", "w0", "w1", to=F), node("Mul", "w1 k", "w2"), node("Floor", "w2", "w3"), node("Unsqueeze", "h3 zero", "h4"), node("Unsqueeze", "w3 zero", "w4"), node("Concat", "h4 w4", "hw", axis=0),
    node("Cast", "hw", "hw2", to=I64), node("Slice", "s zero two1", "nc"), node("Concat", "nc hw2", "sizes", axis=0), node("Resize", "x   sizes", mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")],
    {"two": np.int64(2), "three": np.int64(3), "k": scalar(2), "zero": i(0), "two1": i(2)}), shapes=((4, 6), (3, 5)))
case("resize_scale_chain", lambda h, w_: ([  # scales computed from sizes, as opset 10 needs
    node("Shape", "x", "s"), node("Slice", "s a b", "hw"), node("Mul", "hw two", "big"), node("Cast", "big", "bigf", to=F), node("Cast", "hw", "hwf", to=F), node("Div", "bigf hwf", "r"),
    node("Concat", "ones r", "scales", axis=0), node("Resize", "x scales", mode="nearest")], {"a": i(2), "b": i(4), "two": i(2), "ones": fl(1, 1)}), opset=10, shapes=((4, 6), (3, 5)))

# Pooling.
for op in ("MaxPool", "AveragePool"):
    n = op.lower().replace("pool", "_pool")
    simple(f"{n}_2", op, attributes=dict(kernel_shape=[2, 2], strides=[2, 2]), opset=7)
    simple(f"{n}_3", op, attributes=dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    simple(f"{n}_stride1", op, attributes=dict(kernel_shape=[3, 3], pads=[0, 1, 2, 1]), opset=22)
    simple(f"{n}_ceil", op, attributes=dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), shapes=((8, 12), (6, 10)))
    simple(f"{n}_same", op, attributes=dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"))
    simple(f"global_{n}", f"Global{op}")
    simple(f"{n}_wide", op, attributes=dict(kernel_shape=[2, 5], strides=[1, 3], pads=[0, 2, 1, 2]), shapes=((8, 12), (7, 15)))
simple("average_pool_count_ceil", "AveragePool", attributes=dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1), opset=19)
simple("average_pool_count_pad", "AveragePool", attributes=dict(kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1))
case("reduce_mean", lambda h, w_: ([node("ReduceMean", "x", "m", axes=[2, 3]), node("Mul", "x m")], {}))
case("reduce_mean_squeezed", lambda h, w_: ([node("ReduceMean", "x", "m", axes=[2, 3], keepdims=0), node("Unsqueeze", "m ax", "u"), node("Mul", "x u")], {"ax": i(2, 3)}))
case("reduce_max", lambda h, w_: ([node("ReduceMax", "x ax", "m"), node("Sub", "x m")], {"ax": i(-1, -2)}), opset=18)
case("squeeze_excite", lambda h, w_: ([
    node("GlobalAveragePool", "x", "g"), node("Conv", "g w1 b1", "a"), node("Relu", "a", "r"), node("Conv", "r w2 b2", "c"), node("Sigmoid", "c", "s"), node("Mul", "s x")],
    {"w1": kernel(2, 3, 1, 1), "b1": f(2), "w2": kernel(3, 2, 1, 1), "b2": f(3)}))

# Shapes, layouts and types.
case("squeeze_unsqueeze", lambda h, w_: ([node("Unsqueeze", "x", "a", axes=[2]), node("Squeeze", "a", "b", axes=[2]), node("Squeeze", "b", "c", axes=[0]), node("Unsqueeze", "c", "d", axes=[0]), node("Neg", "d")], {}), opset=11)
case("identity_dropout", lambda h, w_: ([node("Identity", "x", "a"), node("Dropout", "a", "b"), node("Neg", "b")], {}))
case("expand_shape", lambda h, w_: ([  # expand_as of PyTorch's exporters
    node("Shape", "x", "s"), node("ConstantOfShape", "four", "ones", value=helper.make_tensor("", I64, [1], [1])), node("Mul", "ones m1", "m"), node("Equal", "s m", "e"),
    node("Where", "e ones s", "t"), node("Expand", "x t", "z"), node("Neg", "z")], {"four": i(4), "m1": i(-1)}))
case("any_multiple", lambda h, w_: ([  # a border to a multiple of 4 around a network that needs it, and cut off again
    node("Shape", "x", "s"), node("Slice", "s a b", "hw"), node("Mod", "hw four", "r"), node("Sub", "four r", "t"), node("Mod", "t four", "more"), node("Concat", "zeros more", "p", axis=0),
    node("Pad", "x p", "z", mode="reflect"), node("Conv", "z w", "d", strides=[4, 4], pads=[1, 1, 1, 1]), node("ConvTranspose", "d v", "u", strides=[4, 4]), node("Slice", "u start hw ax")],
    {"a": i(2), "b": i(4), "four": i(4), "zeros": i(0, 0, 0, 0, 0, 0), "w": kernel(4, 3, 6, 6), "v": kernel(4, 3, 4, 4), "start": i(0, 0), "ax": i(2, 3)}), shapes=((8, 12), (16, 20)))
case("u_net", lambda h, w_: ([
    node("Conv", "x w0", "a", pads=[1, 1, 1, 1]), node("Relu", "a", "ar"), node("MaxPool", "ar", "b", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "b w1", "c", pads=[1, 1, 1, 1]), node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
    node("Resize", "d  s", "e", mode="linear"), node("Concat", "e c", "g", axis=1), node("Conv", "g w2", "i", pads=[1, 1, 1, 1]), node("Resize", "i  s", "j", mode="nearest"), node("Add", "j ar", "k"), node("Conv", "k w3", pads=[1, 1, 1, 1])],
    {"w0": kernel(4, 3, 3, 3), "w1": kernel(4, 4, 3, 3), "w2": kernel(4, 8, 3, 3), "w3": kernel(3, 4, 3, 3), "s": fl(1, 1, 2, 2)}), shapes=((8, 12), (12, 8)))
body = [node("Conv", "c w b", "d", pads=[1, 1, 1, 1]), node("Relu", "d", "e")]
cw = {"w": kernel(3, 3, 3, 3), "b": f(3)}
case("nhwc", lambda h, w_: ([node("Transpose", "x", "c", perm=[0, 3, 1, 2]), *body, node("Transpose", "e", perm=[0, 2, 3, 1])], cw), layout="NHWC")
case("nhwc_fixed", lambda h, w_: ([node("Sub", "x k", "x2"), node("Transpose", "x2", "c", perm=[0, 3, 1, 2]), *body, node("Transpose", "e", "o", perm=[0, 2, 3, 1]), node("Pad", "o p", "q", mode="reflect"), node("Mul", "q k", "r"), node("Concat", "r r", axis=3)],
                                  {"k": fl(1, 20, 300), "p": i(0, 1, 2, 0, 0, 3, 4, 0), **cw}), layout="NHWC", fixed=True)
case("nhwc_ops", lambda h, w_: ([node("Slice", "x s e ax", "a"), node("Resize", "a  sc", "b", mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"), node("ReduceMean", "b", "m", axes=[1, 2]), node("Sub", "b m", "g"), node("Gather", "g k", axis=3)],
                                {"s": i(1), "e": i(-1), "ax": i(1), "sc": fl(1, 2, 2, 1), "k": i(2, 0, 1)}), layout="NHWC")
case("nhwc_uint8", lambda h, w_: ([node("Cast", "x", "f", to=F), node("Transpose", "f", "c", perm=[0, 3, 1, 2]), *body, node("Clip", "e lo hi", "g"), node("Transpose", "g", "t", perm=[0, 2, 3, 1]), node("Cast", "t", to=U8)],
                                  {**cw, "lo": scalar(0), "hi": scalar(255)}), layout="NHWC", dtype=U8, tolerance=1)
case("uint8", lambda h, w_: ([node("Cast", "x", "c", to=F), *body, node("Clip", "e lo hi", "g"), node("Cast", "g", to=U8)], {**cw, "lo": scalar(0), "hi": scalar(255)}), dtype=U8, tolerance=1)
case("chw", lambda h, w_: ([node("Unsqueeze", "x zero", "c"), *body, node("Squeeze", "e zero")], {"zero": i(0), **cw}), layout="CHW")
case("hwc", lambda h, w_: ([node("Transpose", "x", "t", perm=[2, 0, 1]), node("Unsqueeze", "t zero", "c"), *body, node("Squeeze", "e zero", "s"), node("Transpose", "s", perm=[1, 2, 0])], {"zero": i(0), **cw}), layout="HWC", fixed=True)
half = {k: v.astype(np.float16) for k, v in cw.items()}
case("float16", lambda h, w_: ([node("Identity", "x", "c"), *body, node("Mul", "e k")], {**half, "k": np.float16(0.5)}), dtype=F16, tolerance=0.5)
case("float16_inside", lambda h, w_: ([node("Cast", "x", "c", to=F16), *body, node("Cast", "e", to=F)], half), tolerance=0.5)
case("float16_weights", lambda h, w_: ([node("Cast", "w16", "w", to=F), node("Cast", "b16", "b", to=F), node("Identity", "x", "c"), *body, node("Neg", "e")], {"w16": half["w"], "b16": half["b"]}))
case("bfloat16_weights", lambda h, w_: ([node("Cast", "w16", "w", to=F), node("Identity", "x", "c"), *body, node("Neg", "e")],
                                        {"w16": helper.make_tensor("w16", TensorProto.BFLOAT16, cw["w"].shape, cw["w"].flatten()), "b": cw["b"]}))
case("double_weights", lambda h, w_: ([node("Cast", "w64", "w", to=F), node("Identity", "x", "c"), *body, node("Neg", "e")], {"w64": cw["w"].astype(np.float64), "b": cw["b"]}))
case("weight_norm", lambda h, w_: ([node("ReduceL2", "v", "l", axes=[1, 2, 3]), node("Div", "v l", "u"), node("Mul", "u g", "w"), node("Identity", "x", "c"), *body, node("Neg", "e")], {"v": cw["w"], "g": f(3, 1, 1, 1), "b": cw["b"]}), opset=13)
case("float_data", lambda h, w_: ([node("Conv", "x w")], {"w": helper.make_tensor("w", F, (2, 3, 1, 1), kernel(2, 3, 1, 1).flatten())}))
case("half_data", lambda h, w_: ([node("Cast", "h", "w", to=F), node("Conv", "x w")], {"h": helper.make_tensor("h", F16, (2, 3, 1, 1), kernel(2, 3, 1, 1).flatten())}))

# Quantized as QDQ: the weights for each output, the maps with one scale.
q = np.round(cw["w"] * 100).clip(-127, 127).astype(np.int8)
qdq = {"q": q, "qs": fl(.01, .011, .012), "qz": np.zeros(3, np.int8), "xs": scalar(1), "xz": np.uint8(0), "ys": scalar(1.5), "yz": np.uint8(10), "b": cw["b"]}
case("qdq", lambda h, w_: ([node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "c"), node("DequantizeLinear", "q qs qz", "w", axis=0), node("Conv", "c w b", "d", pads=[1, 1, 1, 1]),
                            node("QuantizeLinear", "d ys yz", "dq"), node("DequantizeLinear", "dq ys yz", "e"), node("Neg", "e")], qdq), tolerance=0.8)
case("qdq_weights", lambda h, w_: ([node("QuantizeLinear", "w0 qs", "wq", axis=0), node("DequantizeLinear", "wq qs", "w", axis=0), node("Conv", "x w b", pads=[1, 1, 1, 1])],
                                   {"w0": np.abs(cw["w"]), "qs": fl(.01, .011, .012), "b": cw["b"]}), tolerance=0.01)
case("qdq_uint8", lambda h, w_: ([node("DequantizeLinear", "x xs xz", "c"), *body, node("QuantizeLinear", "e ys yz")], {**cw, "xs": scalar(.5), "xz": np.uint8(100), "ys": scalar(0.5), "yz": np.uint8(3)}), dtype=U8, tolerance=0.55)

# Whole networks.


def zoo(h, w_, upsample):
    """The network of the PyTorch examples, small, as PyTorch 1.0 exported it for
    the ONNX model zoo."""
    r = np.random.RandomState(3)
    nodes, weights, last, n = [], {}, "x", [0]

    def k(*shape):
        return (r.randn(*shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def add(op, inputs, **attributes):
        n[0] += 1
        out = str(100 + n[0])
        nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def conv(x, cin, cout, size, stride):
        name = f"conv{n[0]}"
        weights[name + ".weight"], weights[name + ".bias"] = k(cout, cin, size, size), r.randn(cout).astype(np.float32)
        p = size // 2
        x = add("Pad", [x], mode="reflect", pads=[0, 0, p, p, 0, 0, p, p])
        return add("Conv", [x, name + ".weight", name + ".bias"], dilations=[1, 1], group=1, kernel_shape=[size, size], pads=[0, 0, 0, 0], strides=[stride, stride])

    def norm(x, channels):
        name = f"in{n[0]}"
        weights[name + ".weight"], weights[name + ".bias"] = r.uniform(.5, 1.5, channels).astype(np.float32), r.randn(channels).astype(np.float32)
        return add("InstanceNormalization", [x, name + ".weight", name + ".bias"], epsilon=1e-5)

    def up(x):
        if upsample == 7:
            return add("Upsample", [x], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
        return add("Upsample", [x, add("Constant", [], value=numpy_helper.from_array(fl(1, 1, 2, 2)))], mode="nearest")

    x = add("Relu", [norm(conv("x", 3, 4, 9, 1), 4)])
    x = add("Relu", [norm(conv(x, 4, 6, 3, 2), 6)])
    x = add("Relu", [norm(conv(x, 6, 8, 3, 2), 8)])
    y = add("Relu", [norm(conv(x, 8, 8, 3, 1), 8)])
    x = add("Add", [norm(conv(y, 8, 8, 3, 1), 8), x])
    x = add("Relu", [norm(conv(up(x), 8, 6, 3, 1), 6)])
    x = add("Relu", [norm(conv(up(x), 6, 4, 3, 1), 4)])
    x = conv(x, 4, 3, 9, 1)
    nodes[-1].output[0] = "y"
    return nodes, weights


case("zoo_opset8", lambda h, w_: zoo(h, w_, 7), opset=8, old=True, fixed=True, shapes=((16, 16), (16, 20)))
case("zoo_opset9", lambda h, w_: zoo(h, w_, 9), opset=9, old=True, fixed=True, shapes=((16, 16), (20, 16)))
print(f"made {len(made)} models")
