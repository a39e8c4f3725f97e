"""The forward pass of the paper's network in PyTorch, from a picture in memory to
one in memory: on a GPU, pinned memory, and the copies there and back are part
of it, as they are of `stylenet bench stylize`. on_gpu_seconds is without them."""
import argparse, contextlib
import torch
import common

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--size', default='256', help='SIDE or WIDTHxHEIGHT')
parser.add_argument('--runs', type=int, default=10)
common.torch_arguments(parser)
a = parser.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(1)
width, height = common.size(a.size)
gpu = a.device != 'cpu'
if gpu:
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

net, x = common.transformer_net().eval().to(a.device), 255 * torch.rand(1, 3, height, width)
if a.channels_last:
    net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
if a.compile:
    import torch._inductor.config
    torch._inductor.config.freezing = True  # weights are constants: packed once
    net = torch.compile(net, **common.compile_options(a))
autocast = torch.autocast(a.device, torch.bfloat16) if a.bf16 else contextlib.nullcontext()
facts = {}
with torch.inference_mode(), autocast:
    if not gpu:
        seconds = common.measure(lambda: net(x), 1, a.runs)
    else:
        picture, there = x.pin_memory(), x.to(a.device)
        result = torch.empty(x.shape, pin_memory=True)

        def frame():
            there.copy_(picture, non_blocking=True)
            result.copy_(net(there))  # waits

        def on_gpu():
            net(there)
            torch.cuda.synchronize()

        seconds = common.measure(frame, 10, a.runs)
        facts = {'on_gpu_seconds': common.measure(on_gpu, 1, a.runs), **common.gpu_facts(a)}
common.report(seconds, 1, runs=a.runs, threads=a.threads, width=width, height=height, version=torch.__version__, **facts)
