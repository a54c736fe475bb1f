"""A small attribute model of the model store's own form, written by TensorFlow: float16 weights, cast in the graph."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.models.manifest import Manifest
from service.models.store import GOLDEN, write_manifest
from tests.fakes import CROP, TEMPLATE, attributes

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = ("age", "age_distribution", "gender", "race")


def write(folder: Path, *, name: str = "tiny", version: int = 1, outputs: tuple[str, ...] = OUTPUTS) -> Manifest:
    """A random network of two convolutions and its golden answers, as `folder`; the same one every time."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def weights(*shape: int) -> tf.Variable:
        return tf.Variable(rng.normal(0, 1.5 / np.sqrt(np.prod(shape[:-1])), shape).astype(np.float16))

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = weights(3, 3, 3, 16), weights(3, 3, 16, 32)
            self.genders, self.races = weights(32, 1), weights(32, 5)
            # Neighbouring ages are alike, as in a network that was trained: a rounding error moves the age a little.
            waves = np.cos(np.arange(1, 5)[:, np.newaxis] * np.linspace(0, np.pi, 101))
            self.ages = tf.Variable((rng.normal(0, 0.4, (32, 4)) @ waves).astype(np.float16))

        @tf.function(input_signature=[tf.TensorSpec([None, CROP, CROP, 3], tf.uint8, name="faces")])
        def answer(self, faces: tf.Tensor) -> dict[str, tf.Tensor]:
            x = tf.cast(faces, tf.float32) / 127.5 - 1
            for kernel in (self.first, self.second):
                x = tf.nn.tanh(tf.nn.conv2d(x, tf.cast(kernel, tf.float32), 2, "SAME"))
            # Not the mean alone: a mirrored face must get another answer.
            x = 6 * tf.reduce_mean(x * tf.linspace(0.5, 1.5, x.shape[2])[:, tf.newaxis], axis=(1, 2))
            ages = tf.nn.softmax(x @ tf.cast(self.ages, tf.float32))
            answers = {
                "age": tf.reduce_sum(ages * tf.range(101, dtype=tf.float32), axis=1),
                "age_distribution": ages,
                "gender": tf.sigmoid(x @ tf.cast(self.genders, tf.float32))[:, 0],
                "race": tf.nn.softmax(x @ tf.cast(self.races, tf.float32)),
            }
            return {output: tf.identity(answers[output], name=output) for output in outputs}

    model = Tiny()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.answer})
    crops = pictures(8)
    answers = {output: value.numpy() for output, value in model.answer(tf.constant(crops)).items()}
    np.savez(folder / GOLDEN, **{"faces/input": crops, **{f"faces/{output}": value for output, value in answers.items()}})
    return write_manifest(
        folder,
        {
            "name": name,
            "version": version,
            "kind": "attributes",
            "architecture": "two convolutions",
            "created": "2026-01-01",
            "licence": "CC0-1.0",
            "trained_on": ["nothing"],
            "networks": {"faces": "."},
            "input": {"size": CROP, "template": TEMPLATE},
            "attributes": declared(outputs),
            "tolerance": {"f32": {"age": 0.05, "other": 0.005}, "bf16": {"age": 1.0, "other": 0.05}},
        },
    )


def write_store(folder: Path) -> Path:
    """Both detectors and `tiny/1`, as a model store in `folder`."""
    for detector in ("centerface", "mtcnn"):
        shutil.copytree(ROOT / "model_store" / detector, folder / detector)
    write(folder / "tiny" / "1")
    return folder


def declared(outputs: tuple[str, ...]) -> list[dict[str, Any]]:
    """Attributes of a network with these outputs."""
    interval = {"coverage": 0.8, "unit": "years", "bands": [{"below": 200, "low": -6, "high": 7}]}
    return [
        one | {"outputs": [output for output in one["outputs"] if output in outputs]}
        for one in attributes(age={"interval": interval})
        if one["outputs"][0] in outputs
    ]


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Crops of soft coloured blobs, uint8 [count, CROP, CROP, 3]."""
    import cv2

    small = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (CROP, CROP), interpolation=cv2.INTER_CUBIC) for one in small])


if __name__ == "__main__":
    write_store(Path(sys.argv[1]))
