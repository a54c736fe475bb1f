"""What a drawn photo says of a face."""

from __future__ import annotations

import numpy as np
import pytest

from service.inference.attributes import Attributes, Expectation, LabelProbabilities
from service.inference.pipeline import AnalysedFace
from service.video.drawing import caption
from service.vision.detection import Face
from service.vision.quality import Quality

FACE = Face(np.array([0.0, 0.0, 10.0, 12.0], np.float32), np.zeros((5, 2), np.float32), 0.99)
QUALITY = Quality(size_px=50, sharpness=10, brightness=0.5, roll=0, yaw=0, noise=0.5, contrast=0.2)
SURE = LabelProbabilities("female", {"male": 0.02, "female": 0.98}, {"male": 0.9, "female": 0.9})


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"age": Expectation(34.2, 29, 40, 0.8), "gender": SURE}, "female, 34 (29-40)"),
        (
            {"race": LabelProbabilities("white", {"black": 0.17, "white": 0.47, "other": 0.36}, {"white": 0.9})},
            "white 47% or other 36%",
        ),
        ({"glasses": LabelProbabilities("no", {"yes": 0.1, "no": 0.9})}, "glasses: no"),
        ({"glasses": LabelProbabilities("no", {"yes": 0.4, "no": 0.6}, {"no": 0.8})}, "glasses: no 60% or yes 40%"),
        ({"age": Expectation(34.2), "skin": Expectation(41.6, 35, 48, 0.8)}, "34, skin: 42 (35-48)"),
        ({}, "face"),
    ],
)
def test_a_caption_names_a_label_where_it_is_sure_and_two_where_it_is_not(attributes: Attributes, words: str) -> None:
    assert caption(AnalysedFace(FACE, attributes, QUALITY, [])) == words
