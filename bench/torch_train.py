"""A training step in PyTorch: the paper's network, VGG-19 up to relu4_3.

The losses are those of `stylenet bench train`: content relu3_3, style relu1_2,
relu2_2, relu3_3 and relu4_3, total variation, Adam. VGG-19 has random weights,
which cost what trained ones do. Reading photos is not part of it. On a GPU a
step takes its photos from pinned memory, as ours does.
"""
import argparse, contextlib
import torch, torch.nn.functional as F
import common

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--size', type=int, default=256)
parser.add_argument('--batch', type=int, default=4)
parser.add_argument('--steps', type=int, default=5)
common.torch_arguments(parser)
a = parser.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(1)
gpu = a.device != 'cpu'
if gpu:
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

BLOCKS, STYLE, CONTENT = [(2, 64), (2, 128), (4, 256), (3, 512)], ['1_2', '2_2', '3_3', '4_3'], '3_3'
MEAN = torch.tensor([123.68, 116.779, 103.939], device=a.device).view(1, 3, 1, 1)
layout = {'memory_format': torch.channels_last} if a.channels_last else {}
vgg, before = {}, 3
for block, (convolutions, channels) in enumerate(BLOCKS, 1):
    for i in range(1, convolutions + 1):
        weight = (torch.randn(channels, before, 3, 3) * (2 / (9 * before))**.5).to(a.device)
        vgg[f'{block}_{i}'] = weight.to(**layout) if layout else weight, torch.zeros(channels, device=a.device)
        before = channels


def features(x, up_to):
    x, results = x - MEAN, {}
    for name, (weight, bias) in vgg.items():
        if name[2] == '1' and name[0] != '1':
            x = F.max_pool2d(x, 2)
        x = results[name] = F.relu(F.conv2d(x, weight, bias, padding=1))
        if name == up_to:
            return results


def gram(f):
    n, c, h, w = f.shape
    f = f.reshape(n, c, h * w)
    return f @ f.transpose(1, 2) / (c * h * w)


def loss(y, x, targets):
    with torch.no_grad():
        content = features(x, CONTENT)[CONTENT]
    fy = features(y, STYLE[-1])
    total = F.mse_loss(fy[CONTENT], content)
    for l in STYLE:
        total = total + 5 * F.mse_loss(gram(fy[l]), targets[l].expand(a.batch, -1, -1))
    tv = ((y[..., 1:, :] - y[..., :-1, :])**2).sum() + ((y[..., 1:] - y[..., :-1])**2).sum()
    return total + 1e-6 * tv


net = common.transformer_net().to(a.device)
if layout:
    net = net.to(**layout)
optimiser = torch.optim.Adam(net.parameters(), 1e-3, **({'fused': True} if gpu else {}))
autocast = torch.autocast(a.device, torch.bfloat16) if a.bf16 else contextlib.nullcontext()
with torch.no_grad():
    targets = {l: f for l, f in features(255 * torch.rand(1, 3, 256, 256).to(a.device), STYLE[-1]).items() if l in STYLE}
    targets = {l: gram(f) for l, f in targets.items()}
x = 255 * torch.rand(a.batch, 3, a.size, a.size)
if layout:
    x = x.to(**layout)
photos = x.pin_memory() if gpu else x
x = x.to(a.device)


def cost():
    return loss(net(x), x, targets)


if a.compile:
    cost = torch.compile(cost, **common.compile_options(a))


def step():
    if gpu:
        x.copy_(photos, non_blocking=True)
    if a.graphs:
        torch.compiler.cudagraph_mark_step_begin()
    optimiser.zero_grad()
    with autocast:
        value = cost()
    value.backward()
    optimiser.step()
    value.item()


seconds = common.measure(step, 20 if gpu else 2, a.steps)
common.report(seconds, a.batch, runs=a.steps, threads=a.threads, version=torch.__version__, **common.gpu_facts(a))
