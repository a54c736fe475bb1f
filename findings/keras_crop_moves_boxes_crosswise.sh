#!/usr/bin/env bash
# Question: detectors of faces are trained on pictures that are cropped, turned and sheared at random. Keras's layers take the
#   boxes along (`bounding_box_format`). How far is a box from the pixels of its face?
# Guess before the run: within a pixel and a half in all layers. At inference RandomCrop cuts the middle out, and of a picture
#   that is too small it takes the largest window of the crop's shape: so its documentation says.
# Found: RandomCrop exchanges the two offsets. A box goes to the left by what was cut off above, and up by what was cut off on
#   the left, so that of 20 crops no box is on its face; nothing is raised, and boxes of either kind look like boxes. RandomShear
#   shears boxes width / height times as far as pixels: right in squares, a third too far in pictures of 4 : 3. At inference
#   RandomCrop gives picture and box back uncut, and cuts the mask. A picture that is too small it stretches, off the middle,
#   and the box is not scaled. The other layers are right, and all backends agree. Whoever trains a detector on square
#   pictures with a little cropping sees a loss that falls, for boxes are near faces; draw some boxes before, and crop by hand.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6, Python 3.11, Linux x86-64; tensorflow-cpu 2.21.0 tried, too.
# Output seen (left, upper, right and lower bound of a face's pixels, and its box, on NumPy; JAX's differ by its random numbers):
#   numpy
#     RandomFlip, RandomRotation, RandomZoom, RandomTranslation, RandomPerspective: within 1.5 pixels
#     RandomCrop: [44, 20, 84, 70], box [40.0, 24.0, 80.0, 74.0]
#     RandomCrop of 20 seeds: 20 boxes beside their face
#     RandomShear of 200 by 150: [68, 40, 118, 90], box [70.7, 40.0, 124.0, 90.0]
#     RandomShear of 200 by 200: [68, 40, 118, 90], box [68.0, 40.0, 118.0, 90.0]
#     RandomCrop to 112 at inference: picture (160, 200), [60, 40, 100, 90], box [60.0, 40.0, 100.0, 90.0], mask (112, 112)
#     RandomCrop to 112 of 200 by 100: [35, 39, 65, 73], box [85.0, 0.0, 115.0, 15.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$folder/boxes.py" <<'PYTHON'
import keras
import numpy as np

BOX = [60, 40, 100, 90]


def face(height, width, left, upper, right, lower):
    picture = np.zeros((height, width, 3), np.float32)
    picture[upper:lower, left:right] = 255
    return picture


def bounds(picture):
    rows, columns = np.nonzero(picture[..., 0] > 127)
    return [int(value) for value in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def moved(layer, picture, box, training=True):
    mask = picture.astype(np.int32)
    boxes = {"boxes": np.array([box], np.float32), "labels": np.array([1], np.int32)}
    answer = layer({"images": picture, "bounding_boxes": boxes, "segmentation_masks": mask}, training=training)
    found = np.asarray(answer["bounding_boxes"]["boxes"])[0]
    return np.asarray(answer["images"]), [round(float(value), 1) for value in found], np.asarray(answer["segmentation_masks"])


def of(layer, **options):
    return getattr(keras.layers, layer)(bounding_box_format="xyxy", seed=1, **options)


GOOD = {
    "RandomFlip": of("RandomFlip", mode="horizontal"),
    "RandomRotation": of("RandomRotation", factor=(0.05, 0.05), fill_mode="constant"),
    "RandomZoom": of("RandomZoom", height_factor=(0.2, 0.2), width_factor=(0.1, 0.1), fill_mode="constant"),
    "RandomTranslation": of("RandomTranslation", height_factor=(0.1, 0.1), width_factor=(0.2, 0.2), fill_mode="constant"),
    "RandomPerspective": of("RandomPerspective", factor=1.0, scale=0.3),
}
print(keras.backend.backend())
for name, layer in GOOD.items():
    picture, box, _ = moved(layer, face(160, 200, *BOX), BOX)
    assert np.abs(np.subtract(bounds(picture), box)).max() <= 1.5, (name, bounds(picture), box)
print(f"  {', '.join(GOOD)}: within 1.5 pixels")
wrong = 0
for seed in range(20):
    layer = keras.layers.RandomCrop(120, 150, seed=seed, bounding_box_format="xyxy")
    picture, box, mask = moved(layer, face(160, 200, *BOX), BOX)
    pixels = bounds(picture)
    left, upper = np.subtract(BOX[:2], pixels[:2])
    assert pixels == bounds(mask) and box == [max(a - b, 0) for a, b in zip(BOX, [upper, left] * 2, strict=True)]
    wrong += left != upper
    if seed == 1:
        print(f"  RandomCrop: {pixels}, box {box}")
print(f"  RandomCrop of 20 seeds: {wrong} boxes beside their face")
assert wrong >= 15
for height in (150, 200):
    picture, box, _ = moved(of("RandomShear", x_factor=(0.2, 0.2), fill_mode="constant"), face(height, 200, *BOX), BOX)
    pixels = bounds(picture)
    print(f"  RandomShear of 200 by {height}: {pixels}, box {box}")
    # A fifth of a row's height goes to the right or to the left, in the box by the picture's width and height more.
    assert np.allclose(np.subtract(box, BOX), np.subtract(pixels, BOX) * (200 / height), atol=0.1)
crop = of("RandomCrop", height=112, width=112)
picture, box, mask = moved(crop, face(160, 200, *BOX), BOX, training=False)
print(f"  RandomCrop to 112 at inference: picture {picture.shape[:2]}, {bounds(picture)}, box {box}, mask {mask.shape[:2]}")
assert picture.shape == (160, 200, 3) and mask.shape == (112, 112, 3) and box == bounds(picture) == BOX
middle = [85, 35, 115, 65]
picture, box, mask = moved(crop, face(100, 200, *middle), middle)
pixels = bounds(picture)
print(f"  RandomCrop to 112 of 200 by 100: {pixels}, box {box}")
assert pixels[3] - pixels[1] > pixels[2] - pixels[0] == 30 and box[0] == 85
PYTHON
for backend in numpy jax; do
    KERAS_BACKEND=$backend "$folder/venv/bin/python" "$folder/boxes.py"
done
