#!/usr/bin/env bash
# Question: networks that take photos as bytes may judge the light before they make floats: a mean over the photo, by which it is
#   brightened, or a difference of two frames. OpenVINO reads TensorFlow's SavedModel. Does it reckon with bytes as TensorFlow does?
# Guess before the run: yes. A mean needs a wider sum inside, and TensorFlow has one; what does not fit a byte wraps around in both.
# Found: the mean of every photo is 0. OpenVINO sums bytes into a byte, which stops at 255, and divides that by the number of
#   pixels: of two bytes of 200 it makes 127, of five 51, of a portrait nothing, bright or dark. A network that divides by the mean
#   has infinite light, and NaN where the photo is black. Its own operation errs as well, so that the reader is not to blame, and
#   int8 alike; 16 and 32 bits, floats, greatest and least are right. Sums, products and differences wrap around in TensorFlow and
#   stop at 0 and 255 in OpenVINO, so that the difference of two frames, brought back by a cast to int8, knows no pixel that became
#   darker. Nothing is raised, and shapes and types are as declared. Cast to floats before anything is reckoned.
# Versions: openvino 2026.4.1, tensorflow-cpu 2.21.0, scikit-image 0.26.0 (its public-domain portrait of Eileen Collins),
#   scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (TensorFlow, OpenVINO):
#   mean of a photo, portrait: 158 144 130, 0 0 0
#   mean of a photo, half as bright: 79 71 65, 0 0 0
#   mean of a photo, all white: 255 255 255, 0 0 0
#   mean of 1 bytes of 200: 200, 200
#   mean of 2 bytes of 200: 200, 127
#   mean of 5 bytes of 200: 200, 51
#   mean of 100 bytes of 200: 200, 2
#   OpenVINO's own ReduceMean, uint8: 79.2, 0.0
#   OpenVINO's own ReduceMean, int8: 79.2, 0.0
#   OpenVINO's own ReduceMean, uint16: 79.2, 79.0
#   OpenVINO's own ReduceMean, int16: 79.2, 79.0
#   OpenVINO's own ReduceMean, int32: 79.2, 79.0
#   OpenVINO's own ReduceMean, float32: 79.2, 79.2
#   a pixel of the portrait divided by its mean: 1.26 1.22 1.17, inf inf inf
#   greatest and least: 255 0, 255 0
#   [10, 100, 130, 200, 250], twice: 20 200 4 144 244, 20 200 255 255 255
#   [10, 100, 130, 200, 250], 100 less: 166 0 30 100 150, 0 0 30 100 150
#   [10, 100, 130, 200, 250], sum: 178, 255
#   frames of 90, 100 and 110 less one of 100: -10 0 10, 0 0 10
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 tensorflow-cpu==2.21.0 scikit-image==0.26.0 \
    scipy==1.17.1 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 "$folder/venv/bin/python" -W ignore - 2> log <<'PYTHON' || { cat log; exit 1; }
import numpy as np
import openvino
import skimage.data
import tensorflow as tf
from openvino import opset13

tf.get_logger().setLevel("ERROR")
tf.autograph.set_verbosity(0)
portrait = skimage.data.astronaut()[:224, 112:336]
core = openvino.Core()


def both(compute, values):
    """What TensorFlow and OpenVINO give for one SavedModel."""

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(values.shape, values.dtype, name="photo")], autograph=False)
        def __call__(self, photo):
            return {"answer": compute(photo)}

    network = Network()
    tf.saved_model.save(network, "network", signatures={"serving_default": network.__call__})
    compiled = core.compile_model(core.read_model("network"), "CPU")
    return network(tf.constant(values))["answer"].numpy(), compiled({0: values})[0]


def show(name, compute, values):
    told, given = both(compute, values)
    words = [" ".join(f"{value:.0f}" for value in np.ravel(answer)[:6]) for answer in (told, given)]
    print(f"{name}: {words[0]}, {words[1]}")
    assert told.dtype == given.dtype and told.shape == given.shape
    return told, given


for name, photo in (("portrait", portrait), ("half as bright", portrait // 2), ("all white", np.full_like(portrait, 255))):
    told, given = show(f"mean of a photo, {name}", lambda x: tf.reduce_mean(x, [0, 1]), photo)
    assert (told == np.floor(photo.mean((0, 1)))).all() and (given == 0).all()
for number in (1, 2, 5, 100):
    row = np.full(number, 200, np.uint8)
    told, given = show(f"mean of {number} bytes of 200", lambda x: tf.reduce_mean(x, keepdims=True), row)
    assert told[0] == 200 and given[0] == min(200 * number, 255) // number
for kind in (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32):
    small = (portrait[:, :, 0] // 2).astype(kind)
    node = opset13.parameter(small.shape, openvino.Type(np.dtype(kind)))
    own = openvino.Model([opset13.reduce_mean(node, np.int32([0, 1]), False)], [node])
    given = core.compile_model(own, "CPU")({0: small})[0]
    print(f"OpenVINO's own ReduceMean, {np.dtype(kind).name}: {small.mean():.1f}, {given:.1f}")
    assert abs(given - small.mean()) < 1 if kind not in (np.uint8, np.int8) else given == 0
told, given = both(lambda x: tf.cast(x, tf.float32) / tf.cast(tf.reduce_mean(x), tf.float32), portrait)
words = [" ".join(f"{value:.2f}" for value in answer[0, 0]) for answer in (told, given)]
print(f"a pixel of the portrait divided by its mean: {words[0]}, {words[1]}")
assert told.max() < 2 and not np.isfinite(given).any()
told, given = show("greatest and least", lambda x: tf.stack([tf.reduce_max(x), tf.reduce_min(x)]), portrait)
assert (told == given).all()
row = np.uint8([10, 100, 130, 200, 250])
for name, compute, exact in (
    ("twice", lambda x: x * 2, 2 * row.astype(int)),
    ("100 less", lambda x: x - 100, row.astype(int) - 100),
    ("sum", lambda x: tf.reduce_sum(x, keepdims=True), row.sum(dtype=int)),
):
    told, given = show(f"{row.tolist()}, {name}", compute, row)
    assert (told == exact % 256).all() and (given == np.clip(exact, 0, 255)).all()
frames = np.uint8([90, 100, 110])
told, given = show("frames of 90, 100 and 110 less one of 100", lambda x: tf.cast(x - tf.constant(100, tf.uint8), tf.int8), frames)
assert told.tolist() == [-10, 0, 10] and given.tolist() == [0, 0, 10]
PYTHON
