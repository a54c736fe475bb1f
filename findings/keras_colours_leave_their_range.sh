#!/usr/bin/env bash
# Question: networks of faces are trained on photos whose saturation and brightness are changed at random, by Keras's layers for it.
#   These take values from 0 to 255 unless another `value_range` is named. Do values stay in there, for floats and bytes alike?
# Guess before the run: yes; each layer asks for the range so that it can cut off what lies beyond it.
# Found: no, in either layer. RandomSaturation turns pictures into hue, saturation and brightness, multiplies the saturation, which
#   lies between 0 and 1, and cuts it off at 255. Below a factor of 0.5 all is well. At 0.6 red (255, 0, 0) is (255, -127, -127),
#   at 0.8 skin is (200, -40, -160), and at 1.0, "full saturation", values reach -64,770: one such picture drowns a batch, and
#   its normalisation. Of pictures from 0 to 1 the same layer is right. RandomColorJitter carries the layer inside. Bytes it
#   refuses. RandomBrightness takes bytes and adds to them as bytes: who is lighter than 179 is dark after +0.3, so that sun on
#   a forehead (240, 250, 230) is (60, 70, 50). Of floats it is right; RandomColorJitter makes floats first. On JAX bytes
#   are not darkened at all. Divide by 255 and name value_range=(0, 1), or cast to float before and leave saturation to others.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6, Python 3.11, Linux x86-64; tensorflow-cpu 2.21.0 is like NumPy.
# Output seen (colours written as (200, 140, 110), (255, 0, 0), (30, 40, 50) and (240, 250, 230), on NumPy):
#   numpy
#     RandomSaturation 0.3, skin and red: (200, 174, 161), (255, 146, 146); of 0 to 1: (200, 174, 161), (255, 146, 146)
#     RandomSaturation 0.5, skin and red: (200, 140, 110), (255, 0, 0); of 0 to 1: (200, 140, 110), (255, 0, 0)
#     RandomSaturation 0.6, skin and red: (200, 110, 65), (255, -127, -127); of 0 to 1: (200, 110, 65), (255, 0, 0)
#     RandomSaturation 0.8, skin and red: (200, -40, -160), (255, -765, -765); of 0 to 1: (200, 67, 0), (255, 0, 0)
#     RandomSaturation 1.0, skin and red: (200, -33800, -50800), (255, -64770, -64770); of 0 to 1: (200, 67, 0), (255, 0, 0)
#     RandomColorJitter, saturation 0.6: (200, 110, 65), (255, -127, -127)
#     RandomBrightness +0.3, floats: (255, 216, 186), (255, 76, 76), (106, 116, 126), (255, 255, 255)
#       of bytes: (20, 216, 186), (75, 76, 76), (106, 116, 126), (60, 70, 50)
#     RandomBrightness -0.3, floats: (124, 64, 34), (178, 0, 0), (0, 0, 0), (164, 174, 154)
#       of bytes: (124, 64, 34), (179, 180, 180), (210, 220, 230), (164, 174, 154)
#   jax
#     the same, but RandomBrightness -0.3 of bytes: (200, 140, 110), (255, 0, 0), (30, 40, 50), (240, 250, 230)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/colours.py" <<'PYTHON'
import keras
import numpy as np

SKIN, RED, DARK, SUN = (200, 140, 110), (255, 0, 0), (30, 40, 50), (240, 250, 230)
FLOATS = np.array([[SKIN, RED, DARK, SUN]], np.float32)
BYTES = FLOATS.astype(np.uint8)
layers = keras.layers


def changed(layer, picture):
    return np.asarray(layer(picture, training=True))[0]


def saturated(factor, top):
    layer = layers.RandomSaturation((factor, factor), value_range=(0, top), seed=1)
    return changed(layer, FLOATS * (top / 255)) * (255 / top)


def words(values):
    return ", ".join(str(tuple(int(each) for each in colour)) for colour in np.round(values))


print(keras.backend.backend())
for factor in (0.3, 0.5, 0.6, 0.8, 1.0):
    of_255, of_1 = saturated(factor, 255), saturated(factor, 1)
    print(f"  RandomSaturation {factor}, skin and red: {words(of_255[:2])}; of 0 to 1: {words(of_1[:2])}")
    assert of_1.min() > -0.01 and of_1.max() < 255.01
    # Red has all the saturation there is, so more of it changes nothing.
    assert np.allclose(of_255, of_1, atol=0.1) if factor <= 0.5 else of_255[1, 1] < -100
jitter = layers.RandomColorJitter(value_range=(0, 255), saturation_factor=(0.6, 0.6), seed=1)
print(f"  RandomColorJitter, saturation 0.6: {words(changed(jitter, FLOATS)[:2])}")
assert changed(jitter, FLOATS).min() < -100
assert changed(layers.RandomColorJitter(brightness_factor=(0.3, 0.3), seed=1), BYTES).max() == 255
try:
    changed(layers.RandomSaturation((0.3, 0.3), seed=1), BYTES)
    raise SystemExit("RandomSaturation takes bytes")
except ValueError:
    pass
answers = {}
for factor in (0.3, -0.3):
    layer = layers.RandomBrightness((factor, factor), seed=1)
    right, answers[factor] = changed(layer, FLOATS), changed(layer, BYTES)
    print(f"  RandomBrightness {factor:+}, floats: {words(right)}\n    of bytes: {words(answers[factor])}")
    assert right.min() >= 0 and right.max() <= 255 and answers[factor].dtype == np.uint8
# The sum of a byte and a number goes round: 240 and 76 are 60.
assert np.array_equal(answers[0.3], BYTES[0] + np.uint8(76))
assert np.abs(answers[-0.3] - right).max() > 70
if keras.backend.backend() == "jax":
    assert np.array_equal(answers[-0.3], BYTES[0])
PYTHON
for backend in numpy jax; do
    KERAS_BACKEND=$backend "$folder/venv/bin/python" "$folder/colours.py"
done
