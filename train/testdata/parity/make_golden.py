"""Makes golden.safetensors: what PyTorch computes for the training step.

    python3 make_golden.py            # needs torch and numpy; writes beside itself

A small network of the PyTorch example's kind is trained for eleven steps with
the recipe of configs/parity.yaml. Every input is made by the integer formulas
below, which parity_test.go repeats exactly, so that nothing but the results
needs to be stored: the gradient of every parameter at step 0 ("gradient." +
name), and for every step the losses before it ("losses": total and its parts
content, style and total variation, then each style layer without its weight).

It computes in float64, so that the golden carries no rounding of its own.
"""
import json, os, struct, zlib
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

SIZE, BATCH, STEPS = 36, 2, 11
STYLE_HEIGHT, STYLE_WIDTH = 48, 56
CONTENT_WEIGHT, STYLE_WEIGHT, TV_WEIGHT, LR = 1.0, 5.0, 1e-6, 1e-3
CONTENT, STYLE = 'relu3_3', ['relu1_2', 'relu2_2', 'relu3_3', 'relu4_3']


# Formulas, in integers: every language gets the same values.

def mix(seed, i):
    """A hash of 32 bits of a name's CRC and an index."""
    u, low = np.uint64, np.uint64(0xFFFFFFFF)
    x = (u(seed) + np.asarray(i).astype(u) * u(0x9E3779B9)) & low
    x = ((x ^ x >> u(16)) * u(0x7FEB352D)) & low
    x = ((x ^ x >> u(15)) * u(0x846CA68B)) & low
    return x ^ x >> u(16)


def uniform(name, shape, centre, spread):
    """Float32 values within centre ± spread."""
    x = mix(zlib.crc32(name.encode()), np.arange(int(np.prod(shape))))
    v = centre + spread * ((x.astype(np.float64) + .5) / 2**31 - 1)
    return torch.from_numpy(v.astype(np.float32).astype(np.float64).reshape(shape))


def picture(name, height, width):
    """RGB bytes (3, height, width): two triangle waves and noise."""
    seed = zlib.crc32(name.encode())
    y, x = np.mgrid[:height, :width]
    planes = []
    for c in range(3):
        value = 2 * (mix(seed, 16 + (c * height + y) * width + x).astype(np.int64) >> 24)
        for wave in range(2):
            r = int(mix(seed, 2 * c + wave))
            m = ((1 + (r & 15)) * x + (1 + (r >> 4 & 15)) * y + (r >> 8)) % 512
            value += 3 * np.where(m < 256, m, 511 - m)
        planes.append(value // 8)
    return torch.from_numpy(np.stack(planes).astype(np.float64))


def fill(name, parameter):
    """Initial values. In VGG-19 they make the style layers' losses of one size.
    In the network they are large beside ten steps of Adam: a network that the
    first steps turn over amplifies rounding, PyTorch's own as well."""
    shape = tuple(parameter.shape)
    if len(shape) == 4:
        fan_in = shape[1] * shape[2] * shape[3]
        gain = 9 if name.startswith('features.') else 36
        return uniform(name, shape, 0, float(np.sqrt(gain / fan_in)))
    if '.conv2d.' not in name and name.endswith('.weight') and not name.startswith('features.'):
        return uniform(name, shape, 1, .25)
    return uniform(name, shape, 0, .25)


# The loss.

MEAN = torch.tensor([123.68, 116.779, 103.939], dtype=torch.float64).view(1, 3, 1, 1)
BLOCKS = [(2, 64), (2, 128), (4, 256), (3, 512)]


def vgg19():
    layers, feature, before = [], 0, 3
    for block, (convolutions, channels) in enumerate(BLOCKS, 1):
        if block > 1:
            layers.append(('pool', None, None))
            feature += 1
        for i in range(1, convolutions + 1):
            weight = torch.empty(channels, before, 3, 3)
            name = f'features.{feature}'
            layers.append((f'relu{block}_{i}', fill(name + '.weight', weight), fill(name + '.bias', torch.empty(channels))))
            feature, before = feature + 2, channels
    return layers


VGG = vgg19()


def features(x, up_to):
    x, results = x - MEAN, {}
    for name, weight, bias in VGG:
        if name == 'pool':
            x = F.max_pool2d(x, 2)
            continue
        x = results[name] = F.relu(F.conv2d(x, weight, bias, padding=1))
        if name == up_to:
            return results


def gram(f):
    n, c, h, w = f.shape
    f = f.reshape(n, c, h * w)
    return f @ f.transpose(1, 2) / (c * h * w)


def losses(y, x, targets):
    fy, fx = features(y, STYLE[-1]), features(x, CONTENT)
    content = F.mse_loss(fy[CONTENT], fx[CONTENT])
    style = [F.mse_loss(gram(fy[l]), targets[l].expand(len(y), -1, -1)) for l in STYLE]
    tv = ((y[..., 1:, :] - y[..., :-1, :])**2).sum() + ((y[..., 1:] - y[..., :-1])**2).sum()
    parts = [CONTENT_WEIGHT * content, STYLE_WEIGHT * sum(style), TV_WEIGHT * tv]
    return [sum(parts), *parts, *style]


# The network: c9s1-8,d16,d16,R16,R16,u16,u8,c9s1-3 with the example's names.

class ConvLayer(nn.Module):
    def __init__(self, i, o, k, stride=1, upsample=False):
        super().__init__()
        self.upsample, self.pad, self.conv2d = upsample, nn.ReflectionPad2d(k // 2), nn.Conv2d(i, o, k, stride)

    def forward(self, x):
        return self.conv2d(self.pad(F.interpolate(x, mode='nearest', scale_factor=2) if self.upsample else x))


def norm(c):
    return nn.InstanceNorm2d(c, affine=True)


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.in1, self.conv2, self.in2 = ConvLayer(c, c, 3), norm(c), ConvLayer(c, c, 3), norm(c)

    def forward(self, x):
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.in1 = ConvLayer(3, 8, 9), norm(8)
        self.conv2, self.in2 = ConvLayer(8, 16, 3, 2), norm(16)
        self.conv3, self.in3 = ConvLayer(16, 16, 3, 2), norm(16)
        self.res1, self.res2 = Residual(16), Residual(16)
        self.deconv1, self.in4 = ConvLayer(16, 16, 3, upsample=True), norm(16)
        self.deconv2, self.in5 = ConvLayer(16, 8, 3, upsample=True), norm(8)
        self.deconv3 = ConvLayer(8, 3, 9)

    def forward(self, x):
        for i in '123':
            x = F.relu(getattr(self, 'in' + i)(getattr(self, 'conv' + i)(x)))
        x = self.res2(self.res1(x))
        x = F.relu(self.in4(self.deconv1(x)))
        x = F.relu(self.in5(self.deconv2(x)))
        return self.deconv3(x)


def write_safetensors(path, tensors):
    header, data = {}, b''
    for name, t in tensors.items():
        values = t.detach().numpy().astype('<f4').tobytes()
        header[name] = {'dtype': 'F32', 'shape': list(t.shape), 'data_offsets': [len(data), len(data) + len(values)]}
        data += values
    head = json.dumps(header, separators=(',', ':')).encode()
    head += b' ' * (-len(head) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(head)) + head + data)


def main():
    torch.set_default_dtype(torch.float64)
    net = Network()
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(fill(name, p))
        style = features(picture('style', STYLE_HEIGHT, STYLE_WIDTH)[None], STYLE[-1])
        targets = {l: gram(style[l]) for l in STYLE}
    optimiser = torch.optim.Adam(net.parameters(), LR)
    golden, rows = {}, []
    for step in range(STEPS):
        x = torch.stack([picture(f'photo {step * BATCH + i}', SIZE, SIZE) for i in range(BATCH)])
        row = losses(net(x), x, targets)
        optimiser.zero_grad()
        row[0].backward()
        if step == 0:
            golden = {'gradient.' + name: p.grad.clone() for name, p in net.named_parameters()}
        optimiser.step()
        rows.append(torch.stack([v.detach() for v in row]))
        print(step, *(f'{v.item():.7g}' for v in row))
    golden['losses'] = torch.stack(rows)
    write_safetensors(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden.safetensors'), golden)


if __name__ == '__main__':
    main()
