#!/usr/bin/env bash
# Question: networks of faces are trained on pictures that are changed at random. Keras's layers for it are "safe to use inside a
#   tf.data or grain pipeline", as each one's documentation says. Grain reads with 16 threads and, for speed, in processes
#   (`mp_prefetch`). Is each of 64 pictures changed by a draw of its own, and by another one in the next epoch?
# Guess before the run: yes. Threads and processes sharing a generator is an old trap, which is what "safe" is there to say.
# Found: only with threads switched off, in one process. In processes each one has a copy of the layer, with the state it had when
#   it was sent: two processes draw the same 32 numbers. The copy is made anew for each epoch, so that the second
#   epoch is the first one again: no number of epochs shows the network more than these. Threads take it further, for a number is
#   read and then replaced: those that read at once share it. On a busy machine with four processes all 64 pictures got
#   one draw, in both epochs; without processes some share one, too. Nothing is raised, the pictures look changed, and losses fall.
#   image_dataset_from_directory(format="grain", shuffle=True) has, likewise, one order for all epochs. Put the layers into the model;
#   or take repeat() and then random_map, whose generator knows the picture's place, and hand its number to the layer as a seed.
# Versions: keras 3.15.1, grain 0.2.18, jax 0.10.2 (Keras's backend), numpy 2.4.6, pillow 13.0.0, Python 3.11, Linux x86-64.
# Output seen (draws that differ among 64 pictures, in the first epoch and the second, and pictures with the same draw in both; the
#   numbers with 16 threads depend on the machine, those with one do not):
#   one process, one thread: 64 and 64, 0 the same
#   one process, 16 threads: 51 and 59, 0 the same
#   two processes, one thread each: 32 and 32, 64 the same
#   two processes, 16 threads each: 17 and 17, 35 the same
#   two processes, random_map with a seed for each picture: 64 and 64, 0 the same
#   order of a folder's 64 pictures: 64 at the same place in both epochs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 grain==0.2.18 jax==0.10.2 jaxlib==0.10.2 \
  numpy==2.4.6 pillow==13.0.0
cat > "$folder/draws.py" <<'PYTHON'
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
import grain
import keras
import numpy as np

ONE_THREAD = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
COUNT = 64


def brighter():
    return keras.layers.RandomBrightness(0.4, value_range=(0, 1), seed=1)


def faces():
    return grain.MapDataset.source(np.full((COUNT, 8, 8, 3), 0.5, np.float32))


def pipeline(threads, processes):
    layer = brighter()
    dataset = faces().map(lambda face: np.asarray(layer(face))).to_iter_dataset(*([] if threads else [ONE_THREAD]))
    return dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=processes)) if processes else dataset


def by_place(face, generator):
    layer = brighter()
    draw = layer.get_random_transformation(face, seed=int(generator.integers(2**31)))
    return np.asarray(layer.transform_images(face, draw))


def draws(pictures):
    return [round(float(picture[0, 0, 0]), 5) for picture in pictures]


def compare(name, first, second):
    same = sum(a == b for a, b in zip(first, second, strict=True))
    print(f"{name}: {len(set(first))} and {len(set(second))}, {same} the same")
    return set(first), set(second), same


def epochs(name, dataset):
    return compare(name, draws(dataset), draws(dataset))


def main():
    from absl import flags
    from PIL import Image

    flags.FLAGS(sys.argv[:1])
    layer = brighter()
    stream = draws(np.asarray(layer(face)) for face in faces())
    first, second, same = epochs("one process, one thread", pipeline(False, 0))
    assert first == set(stream) and len(second) == COUNT and not same
    shared = pipeline(True, 0)
    epochs("one process, 16 threads", shared)
    assert min(len(set(draws(shared))) for _ in range(20)) < COUNT
    first, second, same = epochs("two processes, one thread each", pipeline(False, 2))
    assert first == second == set(stream[: COUNT // 2]) and same == COUNT
    first, second, _ = epochs("two processes, 16 threads each", pipeline(True, 2))
    assert first | second <= set(stream[: COUNT // 2])
    seeded = faces().seed(0).repeat(2).random_map(by_place).to_iter_dataset()
    both = draws(seeded.mp_prefetch(grain.MultiprocessingOptions(num_workers=2)))
    first, second, same = compare("two processes, random_map with a seed for each picture", both[:COUNT], both[COUNT:])
    assert len(first | second) == 2 * COUNT
    os.makedirs(sys.argv[1])
    for number in range(COUNT):
        Image.new("L", (8, 8), 4 * number).save(f"{sys.argv[1]}/{number:02d}.png")
    folder = keras.utils.image_dataset_from_directory(
        os.path.dirname(sys.argv[1]), labels=None, format="grain", seed=0, color_mode="grayscale", image_size=(8, 8), verbose=False
    )
    first, second = ([int(face[0, 0, 0]) // 4 for batch in folder for face in np.asarray(batch)] for _ in range(2))
    print(f"order of a folder's 64 pictures: {sum(a == b for a, b in zip(first, second))} at the same place in both epochs")
    assert first == second != sorted(first)


if __name__ == "__main__":
    main()
PYTHON
"$folder/venv/bin/python" "$folder/draws.py" "$folder/photos/faces"
