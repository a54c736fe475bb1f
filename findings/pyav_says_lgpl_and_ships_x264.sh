#!/usr/bin/env bash
# Question: under which licence is the FFmpeg inside PyAV's wheel, which encodes H.264 and H.265?
# Guess before the run: GPL, since FFmpeg's own configure refuses libx264 and libx265 without --enable-gpl; or LGPL, and then
#   there is no such encoder but for hardware's.
# Found: both at once. The wheel declares BSD-3-Clause. Its libavcodec calls itself "LGPL version 3 or later" and was not configured
#   with --enable-gpl, yet with --enable-libx264 and --enable-libx265; both encoders are there and encode, and the wheel
#   brings the shared libraries of x264 and x265, which are GPL. Who redistributes the wheel, in an image say, cannot go by
#   what av.library_meta, or the wheel's own metadata, says.
# Versions: av 18.1.0 (libavcodec 62), numpy 2.4.6, Linux x86-64 wheel, Python 3.11 to 3.13.
# Output seen:
#   metadata: BSD-3-Clause
#   libavcodec: LGPL version 3 or later
#   --enable-gpl: no, --enable-libx264: yes, --enable-libx265: yes
#   shipped: libx264, libx265
#   libx264 encoded 8 frames, libx265 encoded 8 frames
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from importlib import metadata
from pathlib import Path

import av
import numpy as np
from av._core import library_meta

codec = library_meta["libavcodec"]
options = codec["configuration"].split()
print("metadata:", metadata.metadata("av")["License-Expression"])
print("libavcodec:", codec["license"])
asked = {name: "yes" if name in options else "no" for name in ("--enable-gpl", "--enable-libx264", "--enable-libx265")}
print(", ".join(f"{name}: {value}" for name, value in asked.items()))
shipped = sorted({path.name.split("-")[0] for path in Path(av.__file__).parents[1].glob("av.libs/libx26*")})
print("shipped:", ", ".join(shipped))


def encoded(name: str) -> str:
    with av.open(str(Path(sys.argv[1]) / f"{name}.mp4"), "w") as film:
        stream = film.add_stream(name, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        frames = [av.VideoFrame.from_ndarray(np.full((96, 128, 3), 16 * level, np.uint8)) for level in range(8)]
        for packet in [packet for frame in [*frames, None] for packet in stream.encode(frame)]:
            film.mux(packet)
    with av.open(str(Path(sys.argv[1]) / f"{name}.mp4")) as film:
        return f"{name} encoded {sum(1 for _ in film.decode(video=0))} frames"


print(", ".join(encoded(name) for name in ("libx264", "libx265")))
assert codec["license"] == "LGPL version 3 or later", codec["license"]
assert asked == {"--enable-gpl": "no", "--enable-libx264": "yes", "--enable-libx265": "yes"}
assert shipped == ["libx264", "libx265"]
PYTHON
