"""Writes a model whose results fill the range of colours, for comparisons: the
paper's network with random weights as a state_dict, and a picture to stylize."""
import sys
import numpy as np, torch
from PIL import Image
import common

torch.manual_seed(1)
net = common.transformer_net()
with torch.no_grad():
    net.deconv3.conv2d.weight *= 60
    net.deconv3.conv2d.bias.fill_(127)
torch.save(net.state_dict(), sys.argv[1])
y, x = np.mgrid[:187, :251]
waves = np.stack([127.5 + 90 * np.sin(x / 9 + k) + 35 * np.cos(y / (5 + k)) for k in range(3)], -1)
Image.fromarray(np.rint(waves).astype(np.uint8)).save(sys.argv[2])
