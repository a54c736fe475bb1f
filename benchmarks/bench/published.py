"""The published stack: the mtcnn package, a crop of each box and a TensorFlow SavedModel behind Flask.

    python -m benchmarks.bench.published PORT SAVED_MODEL

`POST /predict` takes a photo and answers each face's boxes and outputs; `GET /health/ready` answers once all is loaded.
"""

from __future__ import annotations

import argparse
import io
import os
import threading
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import flask
import numpy as np
import tensorflow as tf
from mtcnn import MTCNN
from PIL import Image


def create_app(saved_model: Path, size: int) -> flask.Flask:
    """Load both networks and make the application.

    Args:
        saved_model: Folder of the attribute network, with the signature `serving_default` of uint8 crops.
        size: Side of a crop in pixels.

    Returns:
        The application, warm.
    """
    detector = MTCNN()
    loaded = tf.saved_model.load(str(saved_model))
    signature = loaded.signatures["serving_default"]
    one_at_a_time = threading.Lock()  # the detector keeps the state of a call

    def predict(data: bytes) -> dict[str, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        found = detector.detect_faces(pixels)
        boxes = [face["box"] for face in found]
        crops = [
            tf.image.resize(pixels[max(y, 0) : y + height, max(x, 0) : x + width], (size, size))
            for x, y, width, height in boxes
        ]
        outputs = signature(tf.cast(tf.stack(crops), tf.uint8)) if crops else {}
        return {
            "faces": [{"box": box} for box in boxes],
            "outputs": {name: one.numpy().tolist() for name, one in outputs.items()},
        }

    app = flask.Flask(__name__)
    app.extensions["facet.loaded"] = loaded  # the signature does not keep its variables alive

    def answer_photo() -> flask.Response:
        data = flask.request.get_data()
        with one_at_a_time:
            answer = predict(data)
        return flask.jsonify(answer)

    app.add_url_rule("/predict", view_func=answer_photo, methods=["POST"])
    app.add_url_rule("/health/ready", "ready", lambda: flask.jsonify({"status": "ready"}))
    blank = io.BytesIO()
    Image.new("RGB", (size, size)).save(blank, "PNG")
    predict(blank.getvalue())
    return app


def main() -> None:
    """Serve on a port of this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("port", type=int)
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("--size", type=int, required=True, help="side of a crop in pixels")
    given = parser.parse_args()
    create_app(given.saved_model, given.size).run("127.0.0.1", given.port, threaded=True)


if __name__ == "__main__":
    main()
