#!/usr/bin/python3
"""Makes external/conv.onnx and conv.onnx.data, as PyTorch's exporter writes a
model since 2.9: the larger weights lie in a file of their own.

Needs PyTorch and onnxscript. Run it in this folder.
"""
import torch

torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.Conv2d(3, 3, 9, padding=4))
torch.onnx.export(net, (torch.rand(1, 3, 32, 32),), "external/conv.onnx", dynamo=True, verbose=False)
