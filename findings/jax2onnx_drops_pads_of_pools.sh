#!/usr/bin/env bash
# Question: networks that are brought from PyTorch to JAX name their pools' pads, padding=((1, 1), (1, 1)), for Flax's "SAME" pads one
#   side alone. jax2onnx writes such networks as ONNX. Does ONNX Runtime see the same map, and the same faces made smaller?
# Guess before the run: to a ten-thousandth, or the converter refuses, as it does lanczos and antialias by name.
# Found: pads that are named are dropped: "VALID" is written, for max_pool and avg_pool, of linen and of nnx. The file declares
#   the smaller map that comes of it, and where a mean or a soft argmax follows nothing refuses. Each pool moves what it sees up and
#   left by one of its input's places: a spot whose place is read behind three of them is 7 pixels off in a photo of 112.
#   min_pool refuses the same pads in plain words, and "SAME" is right, so that a network that was written in Flax passes and one
#   that was brought there does not. resize(method="nearest") takes the pixel left and above where JAX takes the one behind the
#   middle, in every even division: a portrait of half its side is one pixel beside its boxes; two thirds and enlargements are
#   right. Rounding away from zero becomes rounding to even: 2.5 is 3 in JAX and 2 in ONNX. Write jax.numpy.pad (with -inf for
#   max_pool) in front of a pool with "VALID", and compare answers of the file.
# Versions: jax2onnx 0.17.1, jax 0.10.2, flax 0.12.8, onnxruntime 1.32.0, onnx 1.23.2, onnx-ir 1.1.0, scikit-image 0.26.0 (its
#   public-domain portrait of Eileen Collins), scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (JAX, ONNX Runtime):
#   linen.max_pool, ((1, 1), (1, 1)): (8, 8), (7, 7) as declared
#   linen.max_pool, SAME: (8, 8), (8, 8) as declared
#   linen.avg_pool, ((1, 1), (1, 1)): (8, 8), (7, 7) as declared
#   linen.avg_pool, SAME: (8, 8), (8, 8) as declared
#   nnx.max_pool, ((1, 1), (1, 1)): (8, 8), (7, 7) as declared
#   nnx.max_pool, SAME: (8, 8), (8, 8) as declared
#   nnx.avg_pool, ((1, 1), (1, 1)): (8, 8), (7, 7) as declared
#   nnx.avg_pool, SAME: (8, 8), (8, 8) as declared
#   nnx.min_pool, ((1, 1), (1, 1)): linen.pool only supports padding='SAME' or 'VALID'.
#   spot at row 48, column 64 behind 1 pools: 48.0 64.0, 47.0 63.0
#   spot at row 48, column 64 behind 2 pools: 48.0 64.0, 45.0 61.0
#   spot at row 48, column 64 behind 3 pools: 48.0 64.0, 41.0 57.0
#   nearest, 224 to 112: columns 1 3 5 7, 0 2 4 6; 8.6 levels apart
#   nearest, 224 to 56: columns 2 6 10 14, 1 5 9 13; 8.8 levels apart
#   nearest, 224 to 32: columns 3 10 17 24, 3 10 17 24; 0.0 levels apart
#   nearest, 224 to 448: columns 0 0 1 1, 0 0 1 1; 0.0 levels apart
#   0.5, 1.5, 2.5 and -2.5 away from zero: [1.0, 2.0, 3.0, -3.0], [0.0, 2.0, 2.0, -2.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jax2onnx==0.17.1 jax==0.10.2 flax==0.12.8 onnxruntime==1.32.0 \
    onnx==1.23.2 onnx-ir==1.1.0 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import skimage.data
from flax import linen, nnx
from jax2onnx import to_onnx

onnxruntime.set_default_logger_severity(4)
draw = np.random.default_rng(0)
PADS = ((1, 1), (1, 1))


def both(compute, values):
    """What JAX and ONNX Runtime give, and the shape that the file declares."""
    file = to_onnx(compute, [jax.ShapeDtypeStruct(values.shape, values.dtype)])
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: values})[0]
    return np.asarray(compute(jnp.asarray(values))), given, session.get_outputs()[0].shape


noise = draw.normal(size=(1, 16, 16, 3)).astype(np.float32)
for library in (linen, nnx):
    for name in ("max_pool", "avg_pool"):
        for padding in (PADS, "SAME"):
            sizes = dict(window_shape=(3, 3), strides=(2, 2), padding=padding)
            told, given, declared = both(lambda x: getattr(library, name)(x, **sizes), noise)
            print(f"{library.__name__.split('.')[1]}.{name}, {padding}: {told.shape[1:3]}, {given.shape[1:3]} as declared")
            assert tuple(declared) == given.shape and (given.shape == told.shape) == (padding == "SAME")
try:
    both(lambda x: nnx.min_pool(x, window_shape=(3, 3), strides=(2, 2), padding=PADS), noise)
    raise SystemExit("min_pool is written")
except NotImplementedError as error:
    print(f"nnx.min_pool, {PADS}: {error}")


def place(x, pools):
    """Row and column of a bright spot in pixels of the photo, the middle of what is left behind so many pools."""
    for _ in range(pools):
        x = nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=PADS)
    rows, columns = (jnp.arange(size, dtype=jnp.float32) * 2.0**pools for size in x.shape[1:3])
    return jnp.stack([(x.sum((0, 2, 3)) * rows).sum(), (x.sum((0, 1, 3)) * columns).sum()]) / x.sum()


far = (np.arange(112)[:, None] - 48) ** 2 + (np.arange(112)[None] - 64) ** 2
photo = np.exp(-far / 128).astype(np.float32)[None, :, :, None]
for pools in (1, 2, 3):
    told, given, _ = both(lambda x: place(x, pools), photo)
    words = [" ".join(f"{value:.1f}" for value in values) for values in (told, given)]
    print(f"spot at row 48, column 64 behind {pools} pools: {words[0]}, {words[1]}")
    assert np.allclose(told - given, 2**pools - 1, atol=0.1)

portrait = skimage.data.astronaut()[:224, 112:336].astype(np.float32)[None]
ramp = np.broadcast_to(np.arange(224, dtype=np.float32)[None, None, :, None], portrait.shape)
for side in (112, 56, 32, 448):
    columns, taken, _ = both(lambda x: jax.image.resize(x, (1, side, side, 3), "nearest"), np.ascontiguousarray(ramp))
    told, given, _ = both(lambda x: jax.image.resize(x, (1, side, side, 3), "nearest"), portrait)
    words = [" ".join(f"{value:.0f}" for value in values[0, 0, :4, 0]) for values in (columns, taken)]
    print(f"nearest, 224 to {side}: columns {words[0]}, {words[1]}; {abs(told - given).mean():.1f} levels apart")
    assert (columns - taken == (side in (112, 56))).all()
told, given, _ = both(lambda x: jax.lax.round(x, jax.lax.RoundingMethod.AWAY_FROM_ZERO), np.float32([0.5, 1.5, 2.5, -2.5]))
print(f"0.5, 1.5, 2.5 and -2.5 away from zero: {told.tolist()}, {given.tolist()}")
assert told.tolist() == [1, 2, 3, -3] and given.tolist() == [0, 2, 2, -2]
PYTHON
