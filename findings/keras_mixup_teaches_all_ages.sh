#!/usr/bin/env bash
# Question: photos that are mixed, two to one, keep a network from learning them by heart. Keras's MixUp and CutMix mix labels by the
#   same share as pixels. Ages are one number for each photo: does a network that estimates them learn from mixed photos?
# Guess before the run: yes, and a year or two worse than without; labels that the layers do not take they refuse.
# Found: it learns nothing, and nothing is raised. The share stands in a column, the ages are a row, and NumPy's rules make a square
#   of them: each of 32 photos gets 32 ages, those of all photos in its batch. Losses lay the one age that the network says
#   beside all of them, so that the best answer is the mean of the crowd, for everybody; the loss falls to the ages' variance, as
#   a hard task would have it. The documentation shows classes as rows of 0 and 1, and names no form that is not taken. Ages as a
#   column, (32, 1), are mixed right and cost half a year at most. MixUp of a detector's boxes has another fault: the boxes of
#   the second photo are put beside those of the first, and their classes below, so that 4 photos of 2 faces each come back
#   with 4 boxes each, and 8 rows of 2 classes. Give ages as a column, and look at shapes behind the layer.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0, numpy 2.4.6, Python 3.11, Linux x86-64; JAX, NumPy and PyTorch give the same shapes.
# Output seen (made photos that are the brighter the older; error and range of the ages that the network says, 5 to 80 are right):
#   not mixed, ages (32,): ages become (32,); 0.2 years off, from 5 to 80
#   not mixed, ages (32, 1): ages become (32, 1); 0.2 years off, from 5 to 80
#   MixUp, ages (32,): ages become (32, 32); 17.8 years off, from 43 to 47
#   MixUp, ages (32, 1): ages become (32, 1); 0.2 years off, from 5 to 80
#   CutMix, ages (32,): ages become (32, 32); 17.4 years off, from 42 to 47
#   CutMix, ages (32, 1): ages become (32, 1); 0.5 years off, from 4 to 81
#   4 photos of 2 faces, MixUp: boxes (4, 4, 4), classes (8, 2)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.4.6
cat > "$folder/mixed.py" <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

COUNT, BATCH = 512, 32
draw = np.random.default_rng(0)
AGES = draw.uniform(5, 80, COUNT).astype(np.float32)
PHOTOS = (AGES[:, None, None, None] * 2.5 + draw.normal(size=(COUNT, 16, 16, 3)) * 20).astype(np.float32)
MIXERS = {
    "not mixed": None,
    "MixUp": keras.layers.MixUp(alpha=0.2, seed=1),
    "CutMix": keras.layers.CutMix(factor=1.0, seed=1),
}


def learnt(mixer, ages):
    """Ages that a network says which has learnt from mixed photos, and the shape of the ages that it was shown."""
    batches = tf.data.Dataset.from_tensor_slices({"images": PHOTOS, "labels": ages}).batch(BATCH)
    if mixer:
        batches = batches.map(lambda batch: mixer(batch, training=True))
    batches = batches.map(lambda batch: (batch["images"], batch["labels"]))
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 60, offset=-1.8), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.5), "mse")
    model.fit(batches, epochs=25, verbose=0)
    return model.predict(PHOTOS, verbose=0)[:, 0], next(iter(batches))[1].shape


for name, mixer in MIXERS.items():
    for ages in (AGES, AGES[:, None]):
        said, shape = learnt(mixer, ages)
        off = np.abs(said - AGES).mean()
        before = str((BATCH, *ages.shape[1:]))
        print(f"{name}, ages {before}: ages become {tuple(shape)}; {off:.1f} years off, from {said.min():.0f} to {said.max():.0f}")
        square = mixer is not None and ages.ndim == 1
        assert tuple(shape) == ((BATCH, BATCH) if square else (BATCH, *ages.shape[1:]))
        assert off > 14 if square else off < 4
boxes = {"boxes": np.ones((4, 2, 4), np.float32), "labels": np.zeros((4, 2), np.int32)}
mixer = keras.layers.MixUp(bounding_box_format="xyxy", seed=1)
mixed = mixer({"images": PHOTOS[:4], "bounding_boxes": boxes}, training=True)["bounding_boxes"]
print(f"4 photos of 2 faces, MixUp: boxes {tuple(mixed['boxes'].shape)}, classes {tuple(mixed['labels'].shape)}")
assert tuple(mixed["boxes"].shape) == (4, 4, 4) and tuple(mixed["labels"].shape) == (8, 2)
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow "$folder/venv/bin/python" "$folder/mixed.py" 2>"$folder/log" ||
    { cat "$folder/log" >&2; exit 1; }
