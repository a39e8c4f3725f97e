"""Makes 10bit.avif: a ramp of all 1024 greys of 10 bits, 8 rows of it. Needs
avifenc (apt-get install libavif-bin)."""

import struct
import subprocess
import tempfile
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


row = b"\0" + b"".join(struct.pack(">HHH", *[x * 65535 // 1023] * 3) for x in range(1024))
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1024, 8, 16, 2, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")
with tempfile.NamedTemporaryFile(suffix=".png") as f:
    f.write(png)
    f.flush()
    command = ["avifenc", "--depth", "10", "--min", "5", "--max", "5", "--speed", "6", f.name, "10bit.avif"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
