#!/usr/bin/env bash
# Question: how sure is a network of blurred faces? `keras.ops.image.gaussian_blur` makes them, on whichever backend Keras runs. Is
#   it one function: on each backend, called on an array, and within a model?
# Guess before the run: yes, to the fourth decimal; a blur is a convolution, and that is what all backends do.
# Found: no. On JAX, and on PyTorch alike, the call on an array blurs along rows and along the colours, not along columns, with
#   zeros beyond red and blue: an even (200, 100, 50) becomes (108, 101, 55), darker and half grey. On NumPy and TensorFlow it stays
#   what it is. The same call within a model is right on all of them, and so is the call that names its data_format, although that
#   is the default and what keras.config says: only where nobody names it, two backends take the last axis for columns. Whoever
#   measures with JAX how blur changes an answer measures the change of colour; name data_format.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6, Python 3.11, Linux x86-64; PyTorch 2.14.1 and tensorflow-cpu 2.21.0 tried, too.
# Output seen (the middle of an even picture of (200, 100, 50) after the blur):
#   jax: called (108, 101, 55), called with data_format (200, 100, 50), in a model (200, 100, 50)
#   numpy: called (200, 100, 50), called with data_format (200, 100, 50), in a model (200, 100, 50)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
export KERAS_HOME="$folder"
cat >"$folder/blur.py" <<'PYTHON'
import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1]
import keras
import numpy as np

COLOUR, PLACE = (200, 100, 50), (0, 8, 8)
photo = np.tile(np.array(COLOUR, np.float32), (1, 16, 16, 1))


def blurred(picture, **layout):
    return keras.ops.image.gaussian_blur(picture, (5, 5), (1.0, 1.0), **layout)


def colour(values):
    return tuple(int(round(float(value))) for value in keras.ops.convert_to_numpy(values)[PLACE])


assert keras.config.image_data_format() == "channels_last"
taken = keras.Input((16, 16, 3))
found = {
    "called": colour(blurred(photo)),
    "called with data_format": colour(blurred(photo, data_format="channels_last")),
    "in a model": colour(keras.Model(taken, blurred(taken))(photo)),
}
print(f"{sys.argv[1]}: " + ", ".join(f"{name} {each}" for name, each in found.items()))
right = {name for name, each in found.items() if each == COLOUR}
assert right == set(found) - ({"called"} if sys.argv[1] == "jax" else set()), found
if sys.argv[1] == "jax":
    assert abs(np.subtract(found["called"], (108, 101, 55))).max() <= 1, found
PYTHON
for backend in jax numpy; do
  "$folder/venv/bin/python" "$folder/blur.py" "$backend"
done
