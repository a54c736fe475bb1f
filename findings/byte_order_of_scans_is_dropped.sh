#!/usr/bin/env bash
# Question: TIFF may store the high byte first, as older Macs and some scanners do, and Java's ByteBuffer puts floats so. NumPy
#   holds such values as they lie, names them ">u2" or ">f4", and reckons with them rightly; Pillow gives a scan of 16 bits so. Do
#   engines, and what stands before them, take the same values from such an array?
# Guess before the run (one client's code had been seen): each converts or refuses by name; at most one takes the bytes as they lie.
# Found: most take the bytes as they lie, and say nothing: ONNX Runtime as array and as OrtValue, tract, LiteRT, every function of
#   OpenCV that was tried, its writers among them, and imagecodecs when it writes JPEG 2000. The low byte then counts as the high
#   one: a portrait is 80 levels of 255 off in the mean, next to noise. What OpenCV makes of it comes in the machine's order, so
#   that nothing tells later on. Floats between 0 and 1 become anything from 1e-43 to 3e38, or NaN. OpenVINO converts an array that
#   it is called with, and not the same array as a Tensor or a constant. Pillow converts, and imagecodecs refuses for PNG and JPEG
#   XL. Slices, quarter turns, pads, np.ascontiguousarray and Pillow's own crops keep the order; products, np.stack and
#   astype(np.float32) bring the machine's. So a pipeline is right as long as it divides by 65,535 in NumPy, and wrong once the
#   network does that. A scan that was bytes once, times 257, has two equal bytes, so that a trial with one shows nothing. Write
#   np.asarray(photo, dtype=np.uint16), which converts, or read by tifffile or OpenCV. For Java it is known (onnxruntime #26408).
# Versions: onnxruntime 1.32.0, openvino 2026.4.1, tract 0.23.9, ai-edge-litert 2.3.0, opencv-python-headless 5.0.0.93, imagecodecs
#   2026.3.6, pillow 13.0.0, tifffile 2026.3.3, onnx 1.23.2, scikit-image 0.26.0 (its public-domain portrait of Eileen Collins),
#   numpy 2.4.6, Python 3.11, Linux x86-64. TensorFlow 2.21.0 and Keras 3.15.1 convert, MNN 3.6.1 takes the bytes as they lie, JAX
#   0.10.2, tritonclient 2.73.0, kserve 0.21.0 and onnx.numpy_helper refuse; these were tried, too.
# Output seen (how many levels of 255 a scan is off in the mean; the same array in the machine's order is right in all):
#   80: ONNX Runtime run, ONNX Runtime OrtValue, tract, LiteRT, OpenVINO Tensor, OpenVINO constant, OpenCV resize, OpenCV
#     warpAffine, OpenCV blobFromImage, OpenCV PNG, imagecodecs JPEG 2000
#   0: OpenVINO called, Pillow fromarray
#   floats, ONNX Runtime: 9e-44 to 3e+38, 155 NaN of 50176
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 openvino==2026.4.1 tract==0.23.9 \
  ai-edge-litert==2.3.0 opencv-python-headless==5.0.0.93 imagecodecs==2026.3.6 pillow==13.0.0 tifffile==2026.3.3 onnx==1.23.2 \
  scikit-image==0.26.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - 2> log <<'PYTHON' || { cat log; exit 1; }
import base64
import zlib

import cv2
import imagecodecs
import numpy as np
import onnx
import onnxruntime
import openvino
import skimage.data
import tifffile
import tract
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper
from PIL import Image

# A network of one cast, from uint16 [224, 224] to float32, as TensorFlow's converter writes it for LiteRT.
CAST = (
    "c-nPRJx>Bb5FO<}LI_|aN<l$EO%SCJZ3to{;lm)YusKOM%_VRcIFQ25*2-8~Qu<RYENo0HDEtkUo^O^pAgG(X&CZ+enT-=s<EXq7r3A$(Mp24T5S*Vhya^o9"
    "J@5%Ut`LoZ$tsZtGM=#J6Hs346Mz&HzXKo)^o`!ow664)aoHTSZRMu{PmbfbZ$Ho-*w+JFPm{!EJ_H+0<Pm_>v@5y~(J?lFLalmMte=)@RlQPd<PY<WJmOC4"
    ";`p8g+m31Jy@6$$9YY@)y}sGC$P4}%7;|mFt=K<Eo{L$(TyJO=m${^3eTwsmAE{ZmGu6~wZgTry-t+f6kMyD`FQQB;vz<!+juBD1y{Ssh%eUja0&f7%w^A<E"
    "6NRpYK5V0vQnQLG%g`)4#|#P2yEz8Rz=`DPG);?^cIy6vfb1tIdKdJEyefN&D``{ZC#hh1*1%3(Ba(}K5<GXzd7W!&_H5I}MvPXW*>303VlxqNT>h(D|HO^q"
    "ip^_^Bvp^vZ1+q5Q6C}0VtjW7LEK@P0r#Gr?=|}aN&{mS"
)
litert = Interpreter(model_content=zlib.decompress(base64.b85decode(CAST)))
litert.allocate_tensors()
KINDS = (("x", TensorProto.UINT16), ("y", TensorProto.FLOAT))
ends = [helper.make_tensor_value_info(name, kind, (224, 224)) for name, kind in KINDS]
graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], "cast", ends[:1], ends[1:])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "cast.onnx")
session = onnxruntime.InferenceSession("cast.onnx", providers=["CPUExecutionProvider"])
compiled = openvino.Core().compile_model("cast.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
runnable = tract.onnx().load("cast.onnx").into_model().into_runnable()


def by_litert(values):
    litert.set_tensor(litert.get_input_details()[0]["index"], values)
    litert.invoke()
    return litert.get_tensor(litert.get_output_details()[0]["index"])


WAYS = {
    "ONNX Runtime run": lambda values: session.run(None, {"x": values})[0],
    "ONNX Runtime OrtValue": lambda values: onnxruntime.OrtValue.ortvalue_from_numpy(values).numpy(),
    "tract": lambda values: runnable.run([values])[0].to_numpy(),
    "LiteRT": by_litert,
    "OpenVINO called": lambda values: compiled(values)[0],
    "OpenVINO Tensor": lambda values: compiled(openvino.Tensor(values))[0],
    "OpenVINO constant": lambda values: np.array(openvino.opset13.constant(values).data),
    "OpenCV resize": lambda values: cv2.resize(values, (224, 224)),
    "OpenCV warpAffine": lambda values: cv2.warpAffine(values, np.eye(2, 3), (224, 224)),
    "OpenCV blobFromImage": lambda values: cv2.dnn.blobFromImage(values)[0, 0],
    "OpenCV PNG": lambda values: cv2.imdecode(cv2.imencode(".png", values)[1], cv2.IMREAD_UNCHANGED),
    "imagecodecs JPEG 2000": lambda values: imagecodecs.jpeg2k_decode(imagecodecs.jpeg2k_encode(values, level=0, reversible=True)),
    "imagecodecs PNG": lambda values: imagecodecs.png_decode(imagecodecs.png_encode(values)),
    "Pillow fromarray": lambda values: np.asarray(Image.fromarray(values)),
}
REFUSES, CONVERT = "imagecodecs PNG", ("OpenVINO called", "Pillow fromarray")
face = skimage.data.astronaut()[:224, 112:336] @ np.array([0.299, 0.587, 0.114])
repeated = (np.round(face) * 257).astype(">u2")
assert all(np.array_equal(take(repeated), repeated) for way, take in WAYS.items() if way != REFUSES)
scan = np.round(face * 257).astype(np.uint16)
tifffile.imwrite("scan.tif", scan, byteorder=">")
values = np.asarray(Image.open("scan.tif"))
assert values.dtype.str == ">u2" and np.array_equal(values, scan) and tifffile.imread("scan.tif").dtype.str == "<u2"
assert np.array_equal(cv2.imread("scan.tif", cv2.IMREAD_UNCHANGED), scan)
told = {}
for way, take in WAYS.items():
    assert np.array_equal(take(scan), scan), way
    try:
        taken = take(values)
    except ValueError:
        assert way == REFUSES
        continue
    told.setdefault(round(np.abs(taken.astype(float) - scan).mean() / 257), []).append(way)
    assert way != REFUSES and np.array_equal(taken, scan if way in CONVERT else scan.byteswap()), way
assert sorted(told) == [0, 80] and tuple(told[0]) == CONVERT
print(*(f"{off}: {', '.join(told[off])}" for off in (80, 0)), sep="\n")
KEEP = (np.ascontiguousarray, np.copy, np.rot90, lambda each: np.pad(each, 2), lambda each: each[None, ::2])
assert all(step(values).dtype.str == ">u2" for step in KEEP)
assert np.asarray(Image.open("scan.tif").crop((0, 0, 9, 9)).resize((5, 5))).dtype.str == ">u2"
assert all(each.dtype.str == "<u2" for each in (np.stack([values]), values * 1, np.asarray(values, dtype=np.uint16)))
taken = np.abs(onnxruntime.OrtValue.ortvalue_from_numpy((face / 255).astype(">f4")).numpy())
assert np.isnan(taken).any() and np.nanmax(taken) > 1e38
ends = f"{np.nanmin(taken[taken > 0]):.0e} to {np.nanmax(taken):.0e}"
print(f"floats, ONNX Runtime: {ends}, {np.isnan(taken).sum()} NaN of {taken.size}")
PYTHON
