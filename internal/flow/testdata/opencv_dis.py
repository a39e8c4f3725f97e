"""Optical flow by OpenCV's DIS, for comparison.

usage: opencv_dis.py PRESET RUNS < FRAMES > FLOW

FRAMES are width and height (int32, little endian) and two pictures of bytes; FLOW
is (height, width, 2) of float32, and the seconds that a run takes go to stderr.
PRESET is 0 (ultrafast), 1 (fast) or 2 (medium). Needs opencv-python-headless.
"""
import sys
import time

import cv2
import numpy as np

data = sys.stdin.buffer.read()
w, h = np.frombuffer(data[:8], "<i4")
a, b = np.frombuffer(data[8:], np.uint8).reshape(2, h, w)
dis = cv2.DISOpticalFlow_create(int(sys.argv[1]))
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    flow = dis.calc(a, b, None)
    times.append(time.perf_counter() - start)
sys.stdout.buffer.write(flow.astype("<f4").tobytes())
print(sorted(times)[len(times) // 2], file=sys.stderr)
