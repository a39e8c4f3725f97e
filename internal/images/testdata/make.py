"""Makes the fixtures of this folder: python3 internal/images/testdata/make.py (Pillow 9.4).

decode/NAME.EXT is a picture, decode/NAME.EXT.png what Pillow reads from it.
resize/source*.png is a picture, resize/source*-WxH.png what Pillow's BILINEAR makes of it.
Formats that Go can encode are made in the tests instead.
"""
import math, os
from PIL import Image

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def scene(w, h, alpha=False):
    """Waves of colour with one hard edge: smooth enough for JPEG, not for a sloppy chroma."""
    im = Image.new('RGBA', (w, h))
    for y in range(h):
        for x in range(w):
            r = 127.5 + 127.5 * math.sin(x * .31 + y * .05)
            g = 127.5 + 127.5 * math.cos(y * .23 - x * .11)
            b = 255 * ((x * 3 + y * 5) % 64) / 63 if x > y else 40
            a = 255 * min(1, max(0, (x + y) / (w + h) * 2 - .4)) if alpha else 255
            im.putpixel((x, y), tuple(round(v) for v in (r, g, b, a)))
    return im if alpha else im.convert('RGB')


def expect(name):
    im = Image.open('decode/' + name)
    im.convert('RGBA' if im.mode in ('RGBA', 'LA', 'PA') else 'RGB').save(f'decode/{name}.png', optimize=True)


def patch(name, change):
    with open('decode/' + name, 'rb') as f:
        data = bytearray(f.read())
    at = data.index(b'\xff\xee\x00\x0eAdobe')
    with open('decode/' + name, 'wb') as f:
        f.write(change(data, at))


def set_ycck(data, at):
    data[at + 15] = 2
    return data


def drop_adobe(data, at):
    return data[:at] + data[at + 16:]


os.makedirs('decode', exist_ok=True)
os.makedirs('resize', exist_ok=True)
rgb = scene(41, 27)
rgb.save('decode/444.jpg', quality=90, subsampling=0)
rgb.save('decode/422.jpg', quality=90, subsampling=1)
rgb.save('decode/420-progressive.jpg', quality=90, subsampling=2, progressive=True)
rgb.convert('L').save('decode/grey.jpg', quality=90)

# Pillow writes CMYK with Adobe's marker and inverted. YCCK is made by storing
# YCbCr of the inks in place of the first three and patching the marker.
c, m, y, k = Image.merge('CMYK', (*rgb.split(), rgb.split()[0].point(lambda v: v // 3))).split()
Image.merge('CMYK', (c, m, y, k)).save('decode/cmyk-adobe.jpg', quality=90)
Image.merge('CMYK', (c, m, y, k)).save('decode/cmyk-plain.jpg', quality=90)
patch('cmyk-plain.jpg', drop_adobe)
ycc = [b.point(lambda v: 255 - v) for b in Image.merge('RGB', (c, m, y)).convert('YCbCr').split()]
Image.merge('CMYK', (*ycc, k)).save('decode/ycck.jpg', quality=90)
patch('ycck.jpg', set_ycck)

rgb.save('decode/lossy.webp', quality=80)
rgb.save('decode/lossless.webp', lossless=True)
scene(41, 27, True).save('decode/lossy-alpha.webp', quality=80)
for name in sorted(os.listdir('decode')):
    if not name.endswith('.png'):
        expect(name)
rgb.save('animated.webp', save_all=True, append_images=[rgb.transpose(Image.FLIP_LEFT_RIGHT)], duration=100)

for name, im in (('source', scene(37, 23)), ('source-alpha', scene(37, 23, True))):
    im.save(f'resize/{name}.png', optimize=True)
    for w, h in ((11, 7), (64, 40), (37, 9), (5, 30), (1, 1)):
        im.resize((w, h), Image.BILINEAR).save(f'resize/{name}-{w}x{h}.png', optimize=True)
