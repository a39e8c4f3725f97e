"""Makes metrics/golden.json: python3 internal/images/testdata/make_metrics.py (PyTorch, Pillow).

Measures of decode/A against decode/B, and resize/source.png with the colours of one of
them, in float64 and straight from the papers' formulas. scikit-image 0.25.2 gives the same:
structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
data_range=255), and deltaE_cie76(rgb2lab(a), rgb2lab(b)) but for the digits of its matrix;
`make_metrics.py check` compares.
"""
import json, os, sys
import torch
from PIL import Image

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.set_default_dtype(torch.float64)
PAIRS = [('decode/444.jpg.png', 'decode/422.jpg.png'), ('decode/444.jpg.png', 'decode/lossy.webp.png'), ('decode/444.jpg.png', 'decode/grey.jpg.png')]


def load(name):
    im = Image.open(name).convert('RGB')
    return torch.frombuffer(bytearray(im.tobytes()), dtype=torch.uint8).double().reshape(im.height, im.width, 3)


def ssim(a, b):
    """Wang et al. 2004, eq. 13, of two planes; the window is 11×11 at once, not by lines."""
    d = torch.arange(11.) - 5
    g = torch.exp(-d * d / (2 * 1.5 ** 2))
    window = torch.outer(g, g)[None, None]
    window /= window.sum()
    mean = lambda x: torch.nn.functional.conv2d(x[None, None], window)[0, 0]
    ma, mb = mean(a), mean(b)
    va, vb, vab = mean(a * a) - ma ** 2, mean(b * b) - mb ** 2, mean(a * b) - ma * mb
    c1, c2 = (.01 * 255) ** 2, (.03 * 255) ** 2
    return ((2 * ma * mb + c1) * (2 * vab + c2) / ((ma ** 2 + mb ** 2 + c1) * (va + vb + c2))).mean().item()


def lab(rgb):
    """CIE 15:2004, 8.2.1, of sRGB (IEC 61966-2-1) under D65."""
    c = rgb / 255
    c = torch.where(c > .04045, ((c + .055) / 1.055) ** 2.4, c / 12.92)
    xyz = c @ torch.tensor([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]]).T
    t = xyz / torch.tensor([.9505, 1, 1.0890])
    f = torch.where(t > (6 / 29) ** 3, t ** (1 / 3), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return torch.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def luma(x):
    return x @ torch.tensor([.299, .587, .114])


def root(m, power):
    v, q = torch.linalg.eigh(m)
    return q @ torch.diag(v ** power) @ q.T


def matched(p, like):
    """Gatys et al. 2016, section 5.1: A = root(cov like) · root(cov p)^-1."""
    a, b = p.reshape(-1, 3), like.reshape(-1, 3)
    ca, cb = torch.cov(a.T, correction=0), torch.cov(b.T, correction=0)
    m = root(cb, .5) @ root(ca, -.5)
    return (a - a.mean(0)) @ m.T + b.mean(0)


if sys.argv[1:] == ['check']:
    from skimage.color import deltaE_cie76, rgb2lab
    from skimage.metrics import structural_similarity
    for a, b in PAIRS:
        a, b = load(a), load(b)
        sk = lambda x, y: structural_similarity(x.numpy(), y.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
        print(ssim(luma(a), luma(b)) - sk(luma(a), luma(b)))
        d = deltaE_cie76(rgb2lab(a.numpy() / 255), rgb2lab(b.numpy() / 255)).mean()
        print((lab(a) - lab(b)).norm(dim=-1).mean().item() - d)
    sys.exit()

golden = {'pairs': []}
for a, b in PAIRS:
    x, y = load(a), load(b)
    golden['pairs'].append({
        'a': a, 'b': b, 'luma': ssim(luma(x), luma(y)), 'rgb': sum(ssim(x[..., c], y[..., c]) for c in range(3)) / 3,
        'lab': (lab(x) - lab(y)).norm(dim=-1).mean().item(),
    })
p = matched(load('resize/source.png'), load('decode/444.jpg.png'))
golden['matched'] = [[round(v, 4) for v in p[i].tolist()] for i in (0, 1, 17, 100, 333)]
golden['at'] = [0, 1, 17, 100, 333]
with open('metrics/golden.json', 'w') as f:
    f.write(json.dumps(golden).replace('}, {', '},\n {') + '\n')
