#!/usr/bin/env bash
# Question: Keras lets a network make its photos smaller itself, by a Resizing layer, and writes it as ONNX by one call,
#   export(format="onnx"). A camera has one size, and so the network names it. Does ONNX Runtime make the photos as small as Keras?
# Guess before the run: yes, to a thousandth of a level, or the converter refuses a method.
# Found: of full HD, 1080 by 1920, it makes 223 by 224 where 224 by 224 was asked for. The file names no size but a factor, 224 / 1080
#   as a float32, by which 1080 rows are 223.99998, and a size is what is left of that without its decimals. One row makes a
#   seventh: the backbone's five halvings have edges for 224, so that its last map is 6 by 7, not 7 by 7, and ages by its mean are
#   up to 5 years too old. The file declares 7 by 7. 540 and 2160 rows are as bad, CelebA's 218 by 178 for 128, and one of ten
#   sizes up to 2048 for 112 and 224; 720 rows, 480 and 512 are right, so that a trial with those shows nothing. ONNX
#   Runtime warns where the map itself is an output, else of nothing, and OpenVINO reads the same file as 7 by 7. Where the
#   input's size is left open, the file names the size, and all is right. The method "area", which takes the mean of what each
#   pixel covers, becomes every fourth or fifth pixel of a photo, without a word. Leave the size open, and take bilinear.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1,
#   scikit-image 0.26.0 (its public-domain portrait of Eileen Collins), scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (sizes; ages beside Keras's 20 to 70 of the portrait in eight lights; levels of 255):
#   1080 by 1920, ONNX Runtime: map 6 by 7, 7 by 7 in Keras; ages +1.5 to +5.1
#   1080 by 1920, OpenVINO: map 7 by 7, 7 by 7 in Keras; ages -0.0 to +0.0
#   open size, ONNX Runtime: map 7 by 7, 7 by 7 in Keras; ages +0.0 to +0.0
#   sizes that come out one short:
#     1080 by 1920: 112 is 111 by 112, 224 is 223 by 224
#     540 by 960: 112 is 111 by 112, 224 is 223 by 224
#     218 by 178: 128 is 127 by 128
#     720 by 1280: none
#     480 by 640: none
#   area, 512 by 512 to 112: mean 13.2, at most 232 beside Keras; 0 beside single pixels
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 tf2onnx==1.17.0 \
  onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import keras
import numpy as np
import onnx
import onnxruntime
import openvino
from skimage import data, transform

PORTRAIT = data.astronaut()
FRAME = transform.resize(PORTRAIT, (1080, 1920), preserve_range=True).astype(np.float32)
LIGHTS = np.linspace(0.3, 1, 8).astype(np.float32)


def network(size, target, method="bilinear", body=True):
    """A network of five halvings and a mean over the map, as backbones have them, behind a layer that makes photos smaller."""
    keras.utils.set_random_seed(0)
    start = keras.Input((*size, 3))
    value = keras.layers.Resizing(target, target, interpolation=method)(start)
    if body:
        value = keras.layers.Rescaling(1 / 255)(value)
        for width in (8, 16, 16, 32, 32):
            value = keras.layers.Conv2D(width, 3, 2, "same", activation="relu", kernel_initializer="he_normal")(value)
        value = [value, keras.layers.GlobalAveragePooling2D()(value)]
    return keras.Model(start, value)


def exported(model, photo):
    """What ONNX Runtime and OpenVINO make of the file that Keras writes, as functions."""
    model(photo)
    model.export("m.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model("m.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x}), lambda x: list(compiled(x).values())


def answers(run):
    """The map's size, and the sum of its means for the frame in each light."""
    outputs = [[np.asarray(value) for value in run(FRAME[None] * light)] for light in LIGHTS]
    return "{} by {}".format(*outputs[0][0].shape[1:3]), np.array([output[1].sum() for output in outputs])


def tell(text, run, expected):
    found, sums = answers(run)
    years = 50 * (sums - right) / np.ptp(right)
    print(f"{text}: map {found}, {keras_map} in Keras; ages {years.min():+.1f} to {years.max():+.1f}")
    assert found == expected
    return years


model = network((1080, 1920), 224)
keras_map, right = answers(model)
assert keras_map == "7 by 7"
runtime, other = exported(model, FRAME[None])
declared = [[each.dim_value for each in value.type.tensor_type.shape.dim][1:3] for value in onnx.load("m.onnx").graph.output]
assert declared[0] == [7, 7]
years = tell("1080 by 1920, ONNX Runtime", runtime, "6 by 7")
assert 1 < years.min() < 2 and 4 < years.max() < 6
assert abs(tell("1080 by 1920, OpenVINO", other, "7 by 7")).max() < 0.05
runtime, _ = exported(network((None, None), 224), FRAME[None])
assert abs(tell("open size, ONNX Runtime", runtime, "7 by 7")).max() < 0.05

print("sizes that come out one short:")
SHORT = {(1080, 1920): [112, 224], (540, 960): [112, 224], (218, 178): [128], (720, 1280): [], (480, 640): []}
for size, targets in SHORT.items():
    empty, short = np.zeros((1, *size, 3), np.float32), []
    for target in (112, 128, 224):
        rows, columns = exported(network(size, target, body=False), empty)[0](empty)[0].shape[1:3]
        if (rows, columns) != (target, target):
            assert (rows, columns) == (target - 1, target) and target in targets
            short.append(f"{target} is {rows} by {columns}")
    print("  {} by {}: {}".format(*size, ", ".join(short) or "none"))
    assert len(short) == len(targets)

photo = PORTRAIT[None].astype(np.float32)
model = network((512, 512), 112, "area", body=False)
small = exported(model, photo)[0](photo)[0]
off = abs(small - np.asarray(model(photo)))
single = np.arange(112) * 512 // 112
none = abs(small - photo[:, single][:, :, single]).max()
print(f"area, 512 by 512 to 112: mean {off.mean():.1f}, at most {off.max():.0f} beside Keras; {none:.0f} beside single pixels")
assert 12 < off.mean() < 15 and none < 1e-3
PYTHON
