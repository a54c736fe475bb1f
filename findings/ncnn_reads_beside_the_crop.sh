#!/usr/bin/env bash
# Question: a face is cut out of a photo by photo[top:bottom, left:right], and channels are put first by transpose(2, 0, 1). NumPy
#   copies nothing for either: the array is a view, whose strides say where its values lie. Do engines and writers of pictures see
#   what the view shows?
# Guess before the run: each copies or refuses by name; none reads the memory under a view as if there were no strides.
# Found: of nine that were tried ncnn alone reads the memory. Mat.from_pixels gets width and height by hand, and takes so many
#   values in a row from where the view begins: instead of a face of 112 by 112 it sees a strip of 25 rows of the photo of 512, cut
#   into pieces and laid below each other, 69 levels of 255 off in the mean. from_pixels_resize does so, too, and Mat of floats with
#   channels first, cloned or not: what ONNX Runtime takes rightly is 69 levels off in ncnn. It is not seen where it is made, for
#   astype, np.copy and differences keep the order of a transposed view. Nothing is raised, and shapes are right. Whole photos are
#   right, and so are crops of the whole width, so that a detector on photos works and what comes after it on its crops does not.
#   Write np.ascontiguousarray(view) before ncnn gets it (and keep that array, for Mat does not), name the stride, or use
#   from_pixels_roi.
# Versions: ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, scikit-image 0.26.0 (its public-domain portrait of Eileen Collins),
#   numpy 2.4.6, Python 3.11, Linux x86-64. OpenVINO 2026.4.1, LiteRT 2.3.0, tract 0.23.9, MNN 3.6.1, OpenCV 5.0.0.93 and PyAV
#   18.1.0 copy, or refuse by name, and simplejpeg refuses; these were tried, too.
# Output seen (levels of 255 in the mean):
#   face, from_pixels: 69.2
#   face, from_pixels_resize: 59.7
#   every second row and column: 85.3
#   red and blue exchanged by a view: 12.6
#   rows of the whole width: 0.0
#   face, copied: 0.0
#   face, with its stride, by its region: 0.0, 0.0
#   transposed to channels, astype: Mat, its clone, ONNX Runtime: 68.7, 68.7, 0.0
#   transposed to channels, np.copy: Mat, its clone, ONNX Runtime: 68.7, 68.7, 0.0
#   transposed to channels, less a mean: Mat, its clone, ONNX Runtime: 62.7, 62.7, 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ncnn==1.0.20261020 onnxruntime==1.32.0 onnx==1.23.2 \
  scikit-image==0.26.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import ncnn
import numpy as np
import onnx
import onnxruntime
import skimage.data
from onnx import TensorProto, helper

RGB = ncnn.Mat.PixelType.PIXEL_RGB
photo = skimage.data.astronaut()
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def pixels(view, order=RGB):
    return np.array(ncnn.Mat.from_pixels(view, order, view.shape[1], view.shape[0])).transpose(1, 2, 0)


def halved(view):
    height, width = view.shape[:2]
    return np.array(ncnn.Mat.from_pixels_resize(view, RGB, width, height, width // 2, height // 2)).transpose(1, 2, 0)


def off(found, right):
    assert found.shape == right.shape
    return np.abs(found - right.astype(float)).mean()


def tell(text, *numbers):
    print(f"{text}: {', '.join(f'{number:.1f}' for number in numbers)}")
    return numbers


face, band, turned = photo[20:132, 170:282], photo[20:132], photo[:256, :, ::-1]
strip = photo.ravel()[(20 * 512 + 170) * 3 :][: face.size].reshape(face.shape)
assert np.array_equal(pixels(face), strip)
assert tell("face, from_pixels", off(pixels(face), face))[0] > 60
assert tell("face, from_pixels_resize", off(halved(face), halved(face.copy())))[0] > 50
assert tell("every second row and column", off(pixels(photo[::2, ::2]), photo[::2, ::2]))[0] > 40
assert tell("red and blue exchanged by a view", off(pixels(turned), turned))[0] > 10
assert tell("rows of the whole width", off(pixels(band), band)) == (0,)
assert tell("face, copied", off(pixels(face.copy()), face)) == (0,)
stride = ncnn.Mat.from_pixels(face, RGB, 112, 112, face.strides[0])
region = ncnn.Mat.from_pixels_roi(photo, RGB, 512, 512, 170, 20, 112, 112)
ways = [off(np.array(each).transpose(1, 2, 0), face) for each in (stride, region)]
assert tell("face, with its stride, by its region", *ways) == (0, 0)
assert np.array_equal(pixels(turned.copy()), pixels(photo[:256], ncnn.Mat.PixelType.PIXEL_RGB2BGR))
layers = (face.transpose(2, 0, 1) / 255).astype(np.float32)
MADE = {"astype": layers, "np.copy": np.copy(layers), "less a mean": layers - layers.mean(axis=(1, 2), keepdims=True)}
for name, floats in MADE.items():
    taken = [np.array(ncnn.Mat(floats)), np.array(ncnn.Mat(floats).clone()), session.run(None, {"x": floats})[0]]
    numbers = tell(f"transposed to channels, {name}: Mat, its clone, ONNX Runtime", *(255 * off(each, floats) for each in taken))
    assert min(numbers[:2]) > 50 and numbers[2] == 0
for floats in (layers.copy(), np.ascontiguousarray(layers)):
    assert np.array_equal(np.array(ncnn.Mat(floats)), layers)
PYTHON
