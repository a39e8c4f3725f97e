"""What the peers' benchmarks share: the network, timing and the report."""
import json, resource, statistics, time


def measure(step, warmup, runs):
    """The median seconds of a call, after calls that are not counted. A call
    ends when its result is in the processor's memory."""
    for _ in range(warmup):
        step()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def report(seconds, images, **facts):
    """Prints what `stylenet bench --json` prints, by the same names."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({'images_per_second': images / seconds, 'seconds': seconds, 'peak_mib': peak, **facts}))


def size(text):
    """Width and height of SIDE or WIDTHxHEIGHT."""
    width, _, height = text.partition('x')
    return int(width), int(height or width)


def transformer_net():
    """The network of Johnson 2016 as pytorch/examples builds it."""
    import torch.nn as nn, torch.nn.functional as F

    def norm(c):
        return nn.InstanceNorm2d(c, affine=True)

    class ConvLayer(nn.Module):
        def __init__(self, i, o, k, stride=1, upsample=False):
            super().__init__()
            self.upsample, self.reflection_pad, self.conv2d = upsample, nn.ReflectionPad2d(k // 2), nn.Conv2d(i, o, k, stride)

        def forward(self, x):
            if self.upsample:
                x = F.interpolate(x, mode='nearest', scale_factor=2)
            return self.conv2d(self.reflection_pad(x))

    class Residual(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.conv1, self.in1, self.conv2, self.in2 = ConvLayer(c, c, 3), norm(c), ConvLayer(c, c, 3), norm(c)

        def forward(self, x):
            return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x

    class TransformerNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.in1 = ConvLayer(3, 32, 9), norm(32)
            self.conv2, self.in2 = ConvLayer(32, 64, 3, 2), norm(64)
            self.conv3, self.in3 = ConvLayer(64, 128, 3, 2), norm(128)
            self.res1, self.res2, self.res3, self.res4, self.res5 = (Residual(128) for _ in range(5))
            self.deconv1, self.in4 = ConvLayer(128, 64, 3, upsample=True), norm(64)
            self.deconv2, self.in5 = ConvLayer(64, 32, 3, upsample=True), norm(32)
            self.deconv3 = ConvLayer(32, 3, 9)

        def forward(self, x):
            y = F.relu(self.in3(self.conv3(F.relu(self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))))))
            y = self.res5(self.res4(self.res3(self.res2(self.res1(y)))))
            return self.deconv3(F.relu(self.in5(self.deconv2(F.relu(self.in4(self.deconv1(y)))))))

    return TransformerNet()


def torch_arguments(parser):
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--channels-last', action='store_true', help='the NHWC memory format')
    parser.add_argument('--compile', action='store_true', help='torch.compile: PyTorch 2 and a C++ compiler')
    parser.add_argument('--bf16', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--graphs', action='store_true', help='CUDA graphs, with --compile and --device cuda')


def compile_options(a):
    """What torch.compile takes beside the function."""
    return {'mode': 'reduce-overhead'} if a.graphs else {}


def gpu_facts(a):
    """What a report says of a GPU."""
    if a.device == 'cpu':
        return {}
    import torch
    return {'device': torch.cuda.get_device_name(), 'gpu_peak_mib': torch.cuda.max_memory_reserved() / 2**20,
            'cuda': torch.version.cuda, 'cudnn': torch.backends.cudnn.version()}
