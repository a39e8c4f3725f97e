"""Prints the numbers that values_test.go expects from PyTorch: run it with
any PyTorch from 1.13 and compare."""
import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)


def adam(clip):
    p = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    o = torch.optim.Adam([p], lr=0.1, betas=(0.9, 0.999), eps=1e-8)
    for g in [[0.5, -1.0, 2.0], [1.5, 0.25, -4.0], [-0.75, 3.0, 0.0]]:
        p.grad = torch.tensor(g)
        if clip:
            torch.nn.utils.clip_grad_norm_([p], clip)
        o.step()
        print("adam", clip, p.tolist())
    print("moments", o.state[p]["exp_avg"].tolist(), o.state[p]["exp_avg_sq"].tolist())


adam(0)
adam(1.5)

x = torch.tensor([[[[1.0, 2, 3], [4, 6, 8]], [[-1, 0.5, 0], [2, -3, 1]]]], requires_grad=True)
g = torch.tensor([2.0, -0.5], requires_grad=True)
b = torch.tensor([0.1, 0.3], requires_grad=True)
y = torch.relu(F.instance_norm(x, weight=g, bias=b, eps=1e-5))
y.backward(torch.tensor([1.0, -2, 0.5, 3, 1, -1, 2, 1, -1, 0.5, 0.25, 4]).view_as(x))
print("norm", y.flatten().tolist())
print("norm backward", x.grad.flatten().tolist(), g.grad.tolist(), b.grad.tolist())

x = torch.arange(1.0, 9).view(1, 2, 2, 2)
w = torch.arange(1.0, 19).view(2, 1, 3, 3)
y = F.conv_transpose2d(x, w, torch.tensor([0.5]), stride=2, padding=1, output_padding=1)
print("conv transpose", y.flatten().tolist())

x = torch.arange(1.0, 13).view(1, 1, 3, 4)
print("reflect", F.pad(x, (2, 3, 1, 2), mode="reflect").flatten().tolist())
