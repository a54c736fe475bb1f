#!/usr/bin/env bash
# Question: Keras has layers that turn, mirror and brighten faces at random while a network learns, and they may be part of the
#   network. "At inference time, the output will be identical to the input", says RandomBrightness's docstring. export() writes the
#   network for a server. Does the server answer what predict answers?
# Guess before the run: yes; all exports are inference, and leave these layers out as they leave out Dropout.
# Found: it goes on changing faces. export() writes the SavedModel that TensorFlow Serving reads, and each request draws anew: one
#   face is 44 years old and 56 in the next moment, where predict says 51 each time. Every second face is mirrored, all are turned
#   and brighter or darker. So it is with model(x), and with a network that was saved and loaded: these layers take training for
#   true where nobody says, and Dropout takes it for false, so that who looks at Dropout sees inference. predict and the export for
#   LiteRT say false, and so a validation by these shows nothing. Keep such layers out of the network, in the pipeline of
#   photos; or write an ExportArchive whose endpoint says training=False, and ask for one face twice.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0, ai-edge-litert 2.3.0, scikit-image 0.26.0 (its public-domain portrait of Eileen
#   Collins), numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (one face, asked 50 times: ages; and by one layer alone the share that is as predict's):
#   Dropout: 100% as predict, 50.8 to 50.8
#   RandomFlip: 58% as predict, 49.9 to 50.8
#   RandomRotation: 0% as predict, 50.6 to 51.2
#   RandomBrightness: 0% as predict, 46.0 to 55.6
#   RandomGrayscale: 80% as predict, 50.1 to 50.8
#   all of them
#     predict: 50.8 to 50.8
#     model(x, training=False): 50.8 to 50.8
#     model(x): 44.4 to 55.8
#     model(x), saved and loaded: 45.2 to 55.9
#     export: 44.3 to 55.6
#     export, signature of a server: 45.6 to 55.4
#     export, LiteRT: 50.8 to 50.8
#     ExportArchive, training=False: 50.8 to 50.8
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 ai-edge-litert==2.3.0 \
  scikit-image==0.26.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import contextlib
import io

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from skimage import data

TIMES = 50
face = data.astronaut()[None, 0:160, 145:305].astype(np.float32)
keras.utils.set_random_seed(0)
LAYERS = {
    "Dropout": keras.layers.Dropout(0.5),
    "RandomFlip": keras.layers.RandomFlip("horizontal"),
    "RandomRotation": keras.layers.RandomRotation(0.05),
    "RandomBrightness": keras.layers.RandomBrightness(0.1),
    "RandomGrayscale": keras.layers.RandomGrayscale(0.2),
}


def network(*layers):
    """An age of 20 for black to 70 for white, with more weight on the left half and on red, behind layers that change faces."""
    head = keras.layers.Dense(1)
    measure = [keras.layers.AveragePooling2D((160, 80)), keras.layers.Flatten(), head]
    model = keras.Sequential([keras.Input(face.shape[1:]), *layers, *measure])
    head.set_weights([np.array([[0.5], [0.1], [0.1], [0.1], [0.1], [0.1]]) * 50 / 255, np.array([20.0])])
    return model


def ways(model):
    """Functions of what the network answers for a face, by the way it is called."""
    with contextlib.redirect_stdout(io.StringIO()):
        model.export("served", verbose=False)
        model.save("m.keras")
        model.export("m.tflite", format="litert", verbose=False)
        archive = keras.export.ExportArchive()
        archive.track(model)
        signature = [keras.InputSpec(shape=(None, *face.shape[1:]), dtype="float32")]
        archive.add_endpoint("serve", lambda x: model(x, training=False), input_signature=signature)
        archive.write_out("plain", verbose=False)
    served, plain, loaded = tf.saved_model.load("served"), tf.saved_model.load("plain"), keras.models.load_model("m.keras")
    lite = Interpreter("m.tflite")
    lite.allocate_tensors()

    def by_lite(x):
        lite.set_tensor(lite.get_input_details()[0]["index"], x)
        lite.invoke()
        return lite.get_tensor(lite.get_output_details()[0]["index"])

    return {
        "predict": lambda x: model.predict(x, verbose=0),
        "model(x, training=False)": lambda x: model(x, training=False),
        "model(x)": model,
        "model(x), saved and loaded": loaded,
        "export": lambda x: served.serve(x),
        "export, signature of a server": lambda x: next(iter(served.signatures["serving_default"](tf.constant(x)).values())),
        "export, LiteRT": by_lite,
        "ExportArchive, training=False": lambda x: plain.serve(x),
    }


def asked(way):
    return np.array([float(np.asarray(way(face))[0, 0]) for _ in range(TIMES)])


for name, layer in LAYERS.items():
    model = network(layer)
    right = float(model.predict(face, verbose=0)[0, 0])
    ages = asked(ways(model)["export"])
    same = np.mean(abs(ages - right) < 1e-3)
    print(f"{name}: {same:.0%} as predict, {ages.min():.1f} to {ages.max():.1f}")
    assert (same < 0.95) == name.startswith("Random")
print("all of them")
varied = []
for name, way in ways(network(*LAYERS.values())).items():
    ages = asked(way)
    print(f"  {name}: {ages.min():.1f} to {ages.max():.1f}")
    assert np.ptp(ages) > 6 or abs(ages - right).max() < 0.01
    varied += [name] if np.ptp(ages) > 6 else []
assert varied == ["model(x)", "model(x), saved and loaded", "export", "export, signature of a server"]
PYTHON
