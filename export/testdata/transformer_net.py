"""The network that the fast_neural_style example of pytorch/examples trains, as
its file of weights describes it: names, shapes, reflected borders, instance norms
with a scale and a shift, and nearest upsampling.
"""
import torch
from torch import nn


class Convolution(nn.Module):
    """A convolution behind a reflected border, of what may be enlarged before."""

    def __init__(self, inputs, outputs, kernel, stride=1, enlarge=1):
        super().__init__()
        self.enlarge = enlarge
        self.border = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x):
        if self.enlarge > 1:
            x = nn.functional.interpolate(x, scale_factor=self.enlarge, mode="nearest")
        return self.conv2d(self.border(x))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.in1 = Convolution(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)
        self.conv2, self.in2 = Convolution(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x):
        return x + self.in2(self.conv2(torch.relu(self.in1(self.conv1(x)))))


class TransformerNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.in1 = Convolution(3, 32, 9), nn.InstanceNorm2d(32, affine=True)
        self.conv2, self.in2 = Convolution(32, 64, 3, stride=2), nn.InstanceNorm2d(64, affine=True)
        self.conv3, self.in3 = Convolution(64, 128, 3, stride=2), nn.InstanceNorm2d(128, affine=True)
        self.res1, self.res2, self.res3, self.res4, self.res5 = (Residual(128) for _ in range(5))
        self.deconv1, self.in4 = Convolution(128, 64, 3, enlarge=2), nn.InstanceNorm2d(64, affine=True)
        self.deconv2, self.in5 = Convolution(64, 32, 3, enlarge=2), nn.InstanceNorm2d(32, affine=True)
        self.deconv3 = Convolution(32, 3, 9)

    def forward(self, x):
        for conv, norm in (self.conv1, self.in1), (self.conv2, self.in2), (self.conv3, self.in3):
            x = torch.relu(norm(conv(x)))
        for block in self.res1, self.res2, self.res3, self.res4, self.res5:
            x = block(x)
        for conv, norm in (self.deconv1, self.in4), (self.deconv2, self.in5):
            x = torch.relu(norm(conv(x)))
        return self.deconv3(x)
