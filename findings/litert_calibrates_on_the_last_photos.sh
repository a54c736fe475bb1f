#!/usr/bin/env bash
# Question: ai-edge-quantizer makes int8 of a network for LiteRT, the engine of phones, and wants photos to learn how large its values
#   become. Here an age that runs from 20 to 70 is read off faces in more and less light. Does int8 keep it, in any order of photos?
# Guess before the run: it keeps it to two years, for the range is from the least to the greatest value of all; the order is the same.
# Found: the order is nearly all. The range starts as the first photo's, and each photo moves it a twentieth of the way to its own,
#   so that the last sixty decide, of however many. Sorted from old to young int8 knows no one above 22. Shuffled, the range
#   is a mean of some sixty, and no one is above 35: the third that is oldest is 23 years too young. Sorted from young to old it is 7
#   years off at most. Both modes of calibration do so, and no option of Quantizer changes it. TensorFlow's own converter is right to
#   a quarter of a year with the same photos. Give all photos as
#   one batch, which is right as well, or take a Calibrator with min_max_update by hand.
# Versions: ai-edge-quantizer 0.10.0, ai-edge-litert 2.3.0, tensorflow-cpu 2.21.0, keras 3.15.1, scikit-image 0.26.0 (its
#   public-domain portrait of Eileen Collins), scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (years off at most, in the mean of the oldest third, and the greatest age that is told):
#   TensorFlow, old to young: 0.2, -0.0, 70
#   old to young: 48.3, -35.7, 22
#   shuffled: 35.3, -22.7, 35
#   young to old: 7.2, -1.1, 63
#   old to young, the other mode: 48.3, -35.7, 22
#   old to young, as one batch: 0.2, -0.0, 70
#   old to young, min_max_update: 0.2, -0.0, 70
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 \
  tensorflow-cpu==2.21.0 keras==3.15.1 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import contextlib
import io

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
from ai_edge_quantizer.utils import qsv_utils
from skimage import data

PHOTOS = 200
rng = np.random.default_rng(0)
face = data.astronaut()[0:160:2, 145:305:2].astype(np.float32) / 255
lights = np.exp(rng.uniform(np.log(0.1), 0, size=(PHOTOS, 1, 1, 1)))
photos = np.clip(face * lights + rng.normal(size=(PHOTOS, *face.shape)) * 0.01, 0, 1).astype(np.float32)

# Two convolutions and a mean; the last layer is set so that the photos' ages run from 20 to 70.
layers = [keras.layers.Conv2D(width, 3, 2, "same", activation="relu") for width in (8, 16)]
layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
model = keras.Sequential([keras.Input(face.shape), *layers])
layers[0].set_weights([rng.normal(0.08, 0.1, size=(3, 3, 3, 8)), np.zeros(8)])
layers[1].set_weights([rng.normal(0.02, 0.05, size=(3, 3, 8, 16)), np.zeros(16)])
layers[3].set_weights([np.ones((16, 1)), np.zeros(1)])
raw = model.predict(photos, verbose=0)
layers[3].set_weights([np.full((16, 1), 50 / np.ptp(raw)), 20 - 50 * raw.min() / np.ptp(raw) * np.ones(1)])
ages = model.predict(photos, verbose=0)[:, 0]
rising, shuffled = np.argsort(ages), rng.permutation(PHOTOS)
oldest = rising[-PHOTOS // 3 :]


def quiet(function, *values, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*values, **options)


def by_tensorflow(order):
    maker = tf.lite.TFLiteConverter.from_keras_model(model)
    maker.optimizations = [tf.lite.Optimize.DEFAULT]
    maker.representative_dataset = lambda: ([photos[i : i + 1]] for i in order)
    return quiet(maker.convert)


floats = bytes(quiet(tf.lite.TFLiteConverter.from_keras_model(model).convert))
signature, ends = next(iter(Interpreter(model_content=floats).get_signature_list().items()))


def by_quantizer(order, batch=1, by_hand=False, **options):
    maker = quantizer.Quantizer(floats)
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    samples = {signature: [{ends["inputs"][0]: photos[order[i : i + batch]]} for i in range(0, PHOTOS, batch)]}
    if by_hand:
        manager = recipe_manager.RecipeManager()
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        quiet((measure := calibrator.Calibrator(floats, qsv_update_func=qsv_utils.min_max_update)).calibrate, samples, manager)
        ranges = measure.get_model_qsvs()
    else:
        ranges = quiet(maker.calibrate, samples, **options)
    return bytes(quiet(maker.quantize, ranges).quantized_model)


def tell(text, network):
    """Print and give how far int8 is off, and its greatest age."""
    interpreter = Interpreter(model_content=bytes(network))
    interpreter.allocate_tensors()
    start, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    told = []
    for value in photos[:, None]:
        if start["dtype"] == np.int8:
            scale, zero = start["quantization"]
            value = np.clip(np.round(value / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(start["index"], value)
        interpreter.invoke()
        answer = float(interpreter.get_tensor(end["index"])[0, 0])
        told.append((answer - end["quantization"][1]) * end["quantization"][0] if end["dtype"] == np.int8 else answer)
    error = np.array(told) - ages
    print(f"{text}: {abs(error).max():.1f}, {error[oldest].mean():+.1f}, {max(told):.0f}")
    return abs(error).max(), max(told)


assert tell("TensorFlow, old to young", by_tensorflow(rising[::-1]))[0] < 0.5
orders = (("old to young", rising[::-1], 20, 24), ("shuffled", shuffled, 30, 42), ("young to old", rising, 58, 67))
for text, order, least, most in orders:
    error, greatest = tell(text, by_quantizer(order))
    assert least < greatest < most and abs(error - (70 - greatest)) < 1
profiler = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
assert tell("old to young, the other mode", by_quantizer(rising[::-1], mode=profiler))[1] < 24
assert tell("old to young, as one batch", by_quantizer(rising[::-1], batch=PHOTOS))[0] < 0.5
assert tell("old to young, min_max_update", by_quantizer(rising[::-1], by_hand=True))[0] < 0.5
PYTHON
