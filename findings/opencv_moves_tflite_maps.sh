#!/usr/bin/env bash
# Question: TFLite is the format of small networks for faces, hair and landmarks, and OpenCV reads it. BlazeFace and the
#   face mesh come out right. Do the layers come out right that other such networks have?
# Guess before the run: yes, within a thousandth of LiteRT, or OpenCV names the layer that it cannot read.
# Found: four layers are others, in OpenCV 4 and 5, and nothing is said. A dilated convolution with "SAME" edges moves its map up and
#   left by the dilation less one. Its size is right, and layers in a row add up: dilations of 2, 4 and 8, as segmenters have
#   them, move a face by 11 pixels of the map. A softmax over the channels, which says face or no face at each place, is taken
#   along each row of places, so that a row without a face has one, too. Averages with "SAME" edges count the border as
#   zeros: a map of ones has 0.44 in its corners. The second half of a split is the first. The cause of the softmax is that
#   TFLite has channels last, and OpenCV puts them second. OpenVINO reads all four right.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, tensorflow-cpu 2.21.0 (writes the files, and its LiteRT is the measure),
#   openvino 2026.4.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (row and column of a dot; sum over the two channels; corner of an average of ones; half that is given):
#   LiteRT: [20, 17], dilations in a row [20, 17]; 1.00 to 1.00; 1.00; 2
#   OpenVINO: [20, 17], dilations in a row [20, 17]; 1.00 to 1.00; 1.00; 2
#   OpenCV 4.14: [19, 16], dilations in a row [9, 6]; 0.00 to 1.54; 0.44; 1
#   OpenCV 5.0: [19, 16], dilations in a row [9, 6]; 0.00 to 1.54; 0.44; 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in write four five; do
  python3 -m venv "$folder/$name"
done
"$folder/write/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 openvino==2026.4.1 numpy==2.4.6
"$folder/four/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==4.14.0.94 numpy==2.4.6
"$folder/five/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cat >"$folder/write.py" <<'PYTHON'
import sys

import numpy as np
import tensorflow as tf

SHAPE = (1, 32, 32, 2)
keeps = np.zeros((3, 3, 2, 2), np.float32)
keeps[1, 1] = np.eye(2)


class Layers(tf.Module):
    """Networks whose weights leave the picture as it is."""

    def convolutions(self, x, *dilations):
        for dilation in dilations:
            x = tf.nn.conv2d(x, keeps, 1, "SAME", dilations=dilation)
        return x

    def dilation_2(self, x):
        return self.convolutions(x, 2)

    def dilations_2_4_8(self, x):
        return self.convolutions(x, 2, 4, 8)

    def softmax(self, x):
        return tf.nn.softmax(x)

    def average(self, x):
        return tf.nn.avg_pool2d(x, 3, 1, "SAME")

    def split(self, x):
        return tf.split(x, 2, -1)[1]


layers = Layers()
for name in ("dilation_2", "dilations_2_4_8", "softmax", "average", "split"):
    function = tf.function(getattr(layers, name), input_signature=[tf.TensorSpec(SHAPE, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], layers)
    with open(f"{sys.argv[1]}/{name}.tflite", "wb") as file:
        file.write(converter.convert())
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import sys

import numpy as np

folder, reader = sys.argv[1:]


def run(name, picture):
    path = f"{folder}/{name}.tflite"
    if reader == "LiteRT":
        import tensorflow as tf

        network = tf.lite.Interpreter(path)
        network.allocate_tensors()
        network.set_tensor(network.get_input_details()[0]["index"], picture)
        network.invoke()
        return network.get_tensor(network.get_output_details()[0]["index"])
    if reader == "OpenVINO":
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        return openvino.Core().compile_model(path, "CPU", settings)(picture)[0]
    import cv2

    network = cv2.dnn.readNetFromTFLite(path)
    network.setInput(np.ascontiguousarray(picture.transpose(0, 3, 1, 2)))
    return network.forward().transpose(0, 2, 3, 1)


dot = np.zeros((1, 32, 32, 2), np.float32)
dot[0, 20, 17] = 1
told = []
for name in ("dilation_2", "dilations_2_4_8"):
    heat = run(name, dot)[0, ..., 0]
    told.append([int(place) for place in np.unravel_index(heat.argmax(), heat.shape)])
scores = np.random.default_rng(0).normal(size=dot.shape).astype(np.float32) * 3
sums = run("softmax", scores)[0].sum(axis=-1)
corner = run("average", np.ones_like(dot))[0, 0, 0, 0]
halves = run("split", np.broadcast_to(np.float32([1, 2]), dot.shape).copy())
half = int(np.unique(halves).item())
print(f"{reader}: {told[0]}, dilations in a row {told[1]}; {sums.min():.2f} to {sums.max():.2f}; {corner:.2f}; {half}")
if reader.startswith("OpenCV"):
    assert told == [[19, 16], [9, 6]] and sums.max() > 1.2 and sums.min() < 0.1 and abs(corner - 4 / 9) < 1e-3 and half == 1
else:
    assert told == [[20, 17]] * 2 and np.allclose(sums, 1, atol=1e-3) and abs(corner - 1) < 1e-3 and half == 2
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3
"$folder/write/bin/python" "$folder/write.py" "$folder" 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
for reader in write:LiteRT write:OpenVINO "four:OpenCV 4.14" "five:OpenCV 5.0"; do
  "$folder/${reader%%:*}/bin/python" "$folder/read.py" "$folder" "${reader#*:}" 2>"$folder/errors" ||
    { cat "$folder/errors" >&2; exit 1; }
done
