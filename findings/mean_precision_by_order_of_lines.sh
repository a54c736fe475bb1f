#!/usr/bin/env bash
# Question: detectors of faces are compared by their average precision at an overlap of a half. pycocotools is what all name, and
#   hotcoco, globox, map-boxes and mean-average-precision promise the same measure. Do they give one number for one set of boxes?
# Guess before the run: yes, to a thousandth; at worst ties of scores are broken otherwise.
# Found: hotcoco and globox do. map-boxes differs in two ways. It takes the boxes of a photo in the order of their lines, not of their
#   scores: where a face is found twice, and the weak box stands before the sure one, the sure one counts as wrong. The same boxes
#   give 1.0 and 0.5. And it leaves photos without a face out, so that false alarms there, which are what a camera in an empty
#   room gives, cost nothing: 1.0 for 0.5. mean-average-precision counts pixels as whole squares, so that each side has one more.
#   Of pixels that is little, but boxes from 0 to 1, as many detectors give them, then overlap nearly always: boxes that lie
#   beside their faces are all right, 1.0 for 0.0. Nothing is raised in any case. Sort lines by score, and give pixels.
# Versions: pycocotools 2.0.11, hotcoco 1.3.0, globox 2.9.0, map-boxes 1.0.6, mean-average-precision 2024.1.5.0, numpy 2.4.6,
#   Python 3.11, Linux x86-64.
# Output seen (precision by pycocotools, hotcoco, globox, map-boxes and mean-average-precision):
#   sure boxes first: 1.00, 1.00, 1.00, 1.00, 1.00
#   weak boxes first: 1.00, 1.00, 1.00, 0.50, 1.00
#   false alarms without faces: 0.50, 0.50, 0.50, 1.00, 0.50
#   boxes beside, in pixels: 0.00, 0.00, 0.00, 0.00, 0.00
#   boxes beside, from 0 to 1: 0.00, 0.00, 0.00, 0.00, 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 hotcoco==1.3.0 globox==2.9.0 map-boxes==1.0.6 \
  mean-average-precision==2024.1.5.0 numpy==2.4.6
cat >"$folder/precision.py" <<'PYTHON'
import contextlib
import io
import json
import sys

import globox
import hotcoco
import numpy as np
from mean_average_precision import MetricBuilder
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

with contextlib.redirect_stdout(io.StringIO()):
    from map_boxes import mean_average_precision_for_boxes

PHOTOS = range(1, 41)
folder = sys.argv[1]


def box(left, top, right, bottom, form):
    return [left, right, top, bottom] if form == "map-boxes" else [left, top, right - left, bottom - top]


def by_coco(module, faces, found):
    truth = {
        "images": [{"id": photo, "width": 640, "height": 480, "file_name": f"{photo}.jpg"} for photo in PHOTOS],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [
            {"id": at, "image_id": photo, "category_id": 1, "bbox": box(*each, ""), "iscrowd": 0,
             "area": (each[2] - each[0]) * (each[3] - each[1])}
            for at, (photo, each) in enumerate(faces, 1)
        ],
    }  # fmt: skip
    answers = [{"image_id": photo, "category_id": 1, "bbox": box(*each, ""), "score": score} for photo, score, each in found]
    for name, held in (("truth", truth), ("answers", answers)):
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump(held, file)
    reader, judge = (COCO, COCOeval) if module == "pycocotools" else (hotcoco.COCO, hotcoco.COCOeval)
    with contextlib.redirect_stdout(io.StringIO()):
        known = reader(f"{folder}/truth.json")
        evaluation = judge(known, known.loadRes(f"{folder}/answers.json"), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1]


def by_globox(faces, found):
    def boxes(rows):
        return globox.AnnotationSet(
            globox.Annotation(
                str(photo),
                (640, 480),
                [
                    globox.BoundingBox.create(label="face", coords=tuple(row[-1]), box_format=globox.BoxFormat.LTRB,
                                              confidence=row[1] if len(row) == 3 else None)
                    for row in rows if row[0] == photo
                ],
            )
            for photo in PHOTOS
        )  # fmt: skip

    return globox.COCOEvaluator(ground_truths=boxes(faces), predictions=boxes(found)).ap_50()


def by_map_boxes(faces, found):
    truth = np.array([[photo, "face", *box(*each, "map-boxes")] for photo, each in faces], dtype=object)
    answers = np.array([[photo, "face", score, *box(*each, "map-boxes")] for photo, score, each in found], dtype=object)
    return mean_average_precision_for_boxes(truth, answers, iou_threshold=0.5, verbose=False)[0]


def by_builder(faces, found):
    metric = MetricBuilder.build_evaluation_metric("map_2d", async_mode=False, num_classes=1)
    for photo in PHOTOS:
        truth = np.array([[*each, 0, 0, 0] for at, each in faces if at == photo]).reshape(-1, 7)
        answers = np.array([[*each, 0, score] for at, score, each in found if at == photo]).reshape(-1, 6)
        metric.add(answers, truth)
    return metric.value(iou_thresholds=0.5, recall_thresholds=np.arange(0, 1.01, 0.01), mpolicy="soft")["mAP"]


def show(title, faces, found, map_boxes, builder):
    truth = by_coco("pycocotools", faces, found)
    others = by_coco("hotcoco", faces, found), by_globox(faces, found)
    different = by_map_boxes(faces, found), by_builder(faces, found)
    print(f"{title}: " + ", ".join(f"{value:.2f}" for value in (truth, *others, *different)))
    assert np.allclose(others, truth, atol=1e-3)
    assert abs(different[0] - truth - map_boxes) < 0.02 and abs(different[1] - truth - builder) < 0.02


faces = [(photo, [100.0, 100.0, 180.0, 190.0]) for photo in PHOTOS]
sure = [(photo, 0.9 - photo / 1000, each) for photo, each in faces]
weak = [(photo, 0.5 - photo / 1000, [left + 4, top, right + 4, bottom]) for photo, (left, top, right, bottom) in faces]
show("sure boxes first", faces, sure + weak, 0, 0)
show("weak boxes first", faces, weak + sure, -0.5, 0)
half = [row for row in faces if row[0] % 2]
alarms = [(photo, 0.95 - photo / 1000, [300.0, 200.0, 380.0, 290.0]) for photo in PHOTOS if not photo % 2]
show("false alarms without faces", half, [row for row in sure if row[0] % 2] + alarms, 0.5, 0)
beside = [(photo, score, [left + 80, top, right + 80, bottom]) for photo, score, (left, top, right, bottom) in sure]
show("boxes beside, in pixels", faces, beside, 0, 0)
small = [(photo, [value / 640 for value in each]) for photo, each in faces]
show("boxes beside, from 0 to 1", small, [(photo, score, [value / 640 for value in each]) for photo, score, each in beside], 0, 1)
PYTHON
"$folder/venv/bin/python" "$folder/precision.py" "$folder"
