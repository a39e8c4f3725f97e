"""Repaints a picture in PyTorch as `stylenet optimize` does at one scale.

The same losses on the same weights of VGG-19: content relu4_2, style relu1_1
to relu5_1, total variation, from the content on, by torch.optim.LBFGS. A step
is an evaluation of the loss and its gradient on both sides. The pictures are
taken as they are, so that nothing depends on how they would be resized.
"""
import argparse, json, time
import numpy as np, torch, torch.nn.functional as F
from PIL import Image
import common

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--content', required=True)
parser.add_argument('--style', required=True)
parser.add_argument('--vgg', required=True, help="VGG-19's weights as safetensors, for RGB 0-255")
parser.add_argument('--steps', type=int, default=20)
parser.add_argument('--history', type=int, default=20)
parser.add_argument('--content-weight', type=float, default=5)
parser.add_argument('--style-weight', type=float, default=100)
parser.add_argument('--total-variation', type=float, default=5e-4)
parser.add_argument('--line-search', action='store_true', help='the strong Wolfe conditions, as ours; otherwise steps of length 1, as is usual')
parser.add_argument('--output', help='write the picture')
common.torch_arguments(parser)
a = parser.parse_args()
torch.set_num_threads(a.threads)
if a.device != 'cpu':
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

CONTENT, STYLE = '4_2', ['1_1', '2_1', '3_1', '4_1', '5_1']
BLOCKS = [2, 2, 4, 4, 1]
MEAN = torch.tensor([123.68, 116.779, 103.939], device=a.device).view(1, 3, 1, 1)
layout = {'memory_format': torch.channels_last} if a.channels_last else {}


def safetensors(path):
    with open(path, 'rb') as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    kinds = {'F16': np.float16, 'F32': np.float32}
    return {name: torch.from_numpy(np.frombuffer(data[slice(*t['data_offsets'])], kinds[t['dtype']]).astype(np.float32).reshape(t['shape']))
            for name, t in header.items() if name != '__metadata__'}


def picture(path):
    x = torch.from_numpy(np.array(Image.open(path).convert('RGB'), np.float32)).permute(2, 0, 1)[None].to(a.device)
    return x.contiguous()


saved, vgg, index = safetensors(a.vgg), {}, 0
for block, convolutions in enumerate(BLOCKS, 1):
    for i in range(1, convolutions + 1):
        weight, bias = (saved[f'features.{index}.{what}'].to(a.device) for what in ('weight', 'bias'))
        vgg[f'{block}_{i}'] = weight.contiguous(**layout), bias
        index += 2
    index += 1  # the pooling


def features(x):
    # The picture itself stays as it is: torch.optim.LBFGS takes no other layout.
    x, results = (x - MEAN).contiguous(**layout), {}
    for name, (weight, bias) in vgg.items():
        if name[2] == '1' and name[0] != '1':
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, weight, bias, padding=1))
        if name in STYLE or name == CONTENT:
            results[name] = x
    return results


def gram(f):
    n, c, h, w = f.shape
    f = f.reshape(n, c, h * w)
    return f @ f.transpose(1, 2) / (c * h * w)


photo = picture(a.content)
with torch.no_grad():
    content = features(photo)[CONTENT]
    painting = features(picture(a.style))
    styles = {l: gram(painting[l]) for l in STYLE}


def cost(x):
    f = features(x)
    total = a.content_weight * F.mse_loss(f[CONTENT], content)
    for l in STYLE:
        total = total + a.style_weight * F.mse_loss(gram(f[l]), styles[l])
    tv = ((x[..., 1:, :] - x[..., :-1, :])**2).sum() + ((x[..., 1:] - x[..., :-1])**2).sum()
    return total + a.total_variation * tv


if a.compile:
    cost = torch.compile(cost, **common.compile_options(a))
x = photo.clone().requires_grad_()
# The first call compiles and chooses algorithms; it is no step.
first = cost(x)
first.backward()
optimiser = torch.optim.LBFGS([x], max_iter=a.steps, max_eval=a.steps, tolerance_grad=-1, tolerance_change=-1,
                              history_size=a.history, line_search_fn='strong_wolfe' if a.line_search else None)
ends, spent = [], []


def closure():
    optimiser.zero_grad()
    value = cost(x)
    value.backward()
    value.item()
    ends.append(time.perf_counter())
    spent.append(time.process_time())
    return value


optimiser.step(closure)
with torch.no_grad():
    loss = cost(x).item()
if a.output:
    Image.fromarray(x.detach()[0].clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(a.output)
seconds, cpu = ((t[-1] - t[0]) / max(len(t) - 1, 1) for t in (ends, spent))
common.report(seconds, 1, cpu_seconds=cpu, steps=len(ends), first=first.item(), loss=loss, threads=a.threads, version=torch.__version__, **common.gpu_facts(a))
