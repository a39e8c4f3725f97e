"""The forward pass of the paper's network in PyTorch."""
import argparse, contextlib
import torch
import common

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--size', default='256', help='SIDE or WIDTHxHEIGHT')
parser.add_argument('--runs', type=int, default=10)
common.torch_arguments(parser)
a = parser.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(1)
width, height = common.size(a.size)

net, x = common.transformer_net().eval(), 255 * torch.rand(1, 3, height, width)
if a.channels_last:
    net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
if a.compile:
    import torch._inductor.config
    torch._inductor.config.freezing = True  # weights are constants: packed once
    net = torch.compile(net)
autocast = torch.autocast('cpu', torch.bfloat16) if a.bf16 else contextlib.nullcontext()
with torch.inference_mode(), autocast:
    seconds = common.measure(lambda: net(x), 1, a.runs)
common.report(seconds, 1, runs=a.runs, threads=a.threads, width=width, height=height, version=torch.__version__)
