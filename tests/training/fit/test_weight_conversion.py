"""A published network as initial weights: its answers stay, for pixels as ours are, with normalisation unfolded."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from keras import ops

from tests.training import made
from training.errors import TrainingError
from training.fit.weight_conversion import BLOCKS, MEANS, convert_weights, read_arrays
from training.models.architectures import ARCHITECTURES

Arrays = dict[str, npt.NDArray[np.float32]]
SIDE = 64


def published() -> tuple[keras.Model, Arrays]:
    """A MobileNet for blue, green and red less their means, and its arrays with normalisation folded, as they are published.

    Its first convolution looks at nothing beyond the edge, where a network for other pixels sees another colour.
    """
    keras.utils.set_random_seed(3)
    network = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), pooling="avg")
    random, arrays = np.random.default_rng(4), Arrays()
    for name in ["conv1", *(f"conv_{kind}_{block}" for block in range(1, BLOCKS + 1) for kind in ("dw", "pw"))]:
        convolution, normalization = network.get_layer(name), network.get_layer(f"{name}_bn")
        kernel = convolution.get_weights()[0] * (0.02 if name == "conv1" else 1.5)
        if name == "conv1":
            kernel[2], kernel[:, 2] = 0, 0
        convolution.set_weights([kernel])
        count = normalization.gamma.shape[0]
        gamma, variance = random.uniform(0.8, 1.6, count), random.uniform(0.5, 2, count)
        beta, mean = random.normal(0, 0.3, count), random.normal(0, 0.3, count)
        normalization.set_weights([gamma, beta, mean, variance])
        scale = (gamma / np.sqrt(variance + normalization.epsilon)).astype(np.float32)
        if name.startswith("conv_dw"):
            arrays[f"{name}/depthwise_kernel"], arrays[f"{name}_bn/batchnorm_1/mul"] = kernel, scale
        else:
            arrays[f"{name}/convolution/merged_input"] = kernel * scale
        arrays[f"{name}_bn/batchnorm_1/sub"] = (beta - mean * scale).astype(np.float32)
    return network, arrays


def written(folder: Path, arrays: Arrays, half: str = "") -> Path:
    """The arrays as TensorFlow.js keeps them: one after the other, those of one name in half precision."""
    entries, data = [], b""
    for name, values in arrays.items():
        stored = values.astype(np.float16 if name == half else np.float32)
        entry = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        entries.append(entry | ({"quantization": {"dtype": "float16"}} if name == half else {}))
        data += stored.tobytes()
    folder.mkdir()
    (folder / "a.bin").write_bytes(data[:1000])
    (folder / "b.bin").write_bytes(data[1000:])
    manifest = [{"paths": ["a.bin", "b.bin"], "weights": entries}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    return folder / "model.json"


def test_what_it_answers_stays(tmp_path: Path) -> None:
    network, arrays = published()
    prepared = made.prepared(tmp_path / "prepared", 24, 1)
    weights = convert_weights(written(tmp_path / "net", arrays), prepared, tmp_path / "face.weights.h5", SIDE)
    trunk = ARCHITECTURES["mobilenet"](SIDE, str(weights))
    faces = np.random.default_rng(5).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.float32)
    theirs = ops.convert_to_numpy(network(faces[..., ::-1] - np.array(MEANS, np.float32), training=False))
    ours = ops.convert_to_numpy(trunk(faces / 127.5 - 1, training=False))
    assert theirs.std() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * float(theirs.max()))
    deviations = [np.sqrt(layer.get_weights()[3]).mean() for layer in trunk.layers if layer.name.endswith("_bn")]
    # Measured: a normalisation that does nothing would have a deviation of one.
    assert all(abs(value - 1) > 0.05 for value in deviations)
    assert len({round(float(value), 4) for value in deviations}) > 20


def test_halves_are_read_and_other_networks_refused(tmp_path: Path) -> None:
    values = {"first": np.array([[1.5, -2.0]], np.float32), "second": np.full(400, 0.25, np.float32)}
    read = read_arrays(written(tmp_path / "net", values, half="second"))
    assert {name: array.tolist() for name, array in read.items()} == {name: array.tolist() for name, array in values.items()}
    with pytest.raises(TrainingError, match="not the network that can be converted"):
        convert_weights(
            tmp_path / "net/model.json", made.prepared(tmp_path / "prepared", 2, 1), tmp_path / "out.weights.h5", SIDE
        )


def test_a_way_to_store_that_is_unknown_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    entry = {"name": "a", "shape": [4], "dtype": "float32", "quantization": {"dtype": "uint8"}}
    (tmp_path / "a.bin").write_bytes(b"\0\0\0\0")
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["a.bin"], "weights": [entry]}]}))
    with pytest.raises(TrainingError, match="stored as uint8"):
        read_arrays(path)


def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "net", {"first": np.ones(400, np.float32), "second": np.ones(3, np.float32)})
    (path.parent / "b.bin").write_bytes((path.parent / "b.bin").read_bytes()[:-1])
    with pytest.raises(TrainingError, match="ends before second; fetch it again"):
        read_arrays(path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    _, arrays = published()
    arrays["conv_pw_1/convolution/merged_input"] = np.ones((1, 1, 2, 2), np.float32)
    prepared = made.prepared(tmp_path / "prepared", 2, 1)
    with pytest.raises(TrainingError, match="its conv_pw_1 has another shape"):
        convert_weights(written(tmp_path / "net", arrays), prepared, tmp_path / "out.weights.h5", SIDE)


def test_a_file_of_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"ends with \.weights\.h5"):
        convert_weights(tmp_path / "model.json", tmp_path / "prepared", tmp_path / "face.h5", SIDE)
