"""Writes a random VGG-19, as safetensors for RGB 0-255: it costs what the
trained one does."""
import argparse, json
import numpy as np

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('output')
a = parser.parse_args()
random, header, data, index, before = np.random.default_rng(1), {}, [], 0, 3
offset = 0
for convolutions, channels in [(2, 64), (2, 128), (4, 256), (4, 512), (4, 512)]:
    for _ in range(convolutions):
        weight = random.standard_normal((channels, before, 3, 3), np.float32) * np.float32((2 / (9 * before))**.5)
        for what, values in (('weight', weight), ('bias', np.zeros(channels, np.float32))):
            header[f'features.{index}.{what}'] = {'dtype': 'F32', 'shape': list(values.shape), 'data_offsets': [offset, offset + values.nbytes]}
            data.append(values.tobytes())
            offset += values.nbytes
        index, before = index + 2, channels
    index += 1  # the pooling
text = json.dumps(header).encode()
text += b' ' * (-len(text) % 8)
with open(a.output, 'wb') as f:
    f.write(len(text).to_bytes(8, 'little') + text + b''.join(data))
