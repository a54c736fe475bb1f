"""What `prepare` wrote, read back: crops, labels and what teachers and recognition networks predict of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Floats, Ints, Pixels
from service.models.manifest import AGE, CANONICAL, STEPS
from training.datasets.base import UNKNOWN, Split, number
from training.errors import DataSetError, PreparedError
from training.recipe import ATTRIBUTES, Attribute

CROPS: Final = "crops.npy"
FACES: Final = "faces.npz"
REPORT: Final = "prepare.json"
TEACHER: Final = "teacher.npz"
"""File of a teacher's probabilities, beside the crops."""
TEACHERS: Final = "teachers.json"
"""File of where they came from."""
EMBEDDINGS: Final = "embeddings.npy"
"""File of face embeddings, beside the crops."""

_OLD_NAMES: Final = {TEACHER: "taught.npz", TEACHERS: "taught.json", EMBEDDINGS: "hints.npy"}
BESIDE: Final = (*_OLD_NAMES, *_OLD_NAMES.values())
"""Files of what is predicted of the crops, row by row, under their own names and those of before."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Crops and labels of the pictures of one split that hold a face.

    `crops` is uint8 RGB [N, size, size, 3]; `names` are the files they came from, `sets` the data sets. `labels` is float32
    [N] by attribute: steps of an expectation's scale, which are years of an age, else an index into the attribute's labels; -1
    where unknown. `teacher` are
    a teacher's probabilities (see `training.fit.distillation`): `age` [N, 101], [N, 1] of the second of two labels,
    [N, K] of K others. `embedding` [N, D] is of unit length (see `training.fit.face_embeddings`), zero where there is none.
    `ages` [N, 2] are the bounds of the age, included, both the age itself where it is known to the year.
    """

    crops: Pixels
    names: npt.NDArray[np.str_]
    sets: npt.NDArray[np.str_]
    labels: Mapping[str, Floats]
    attributes: tuple[Attribute, ...] = ATTRIBUTES
    teacher: Mapping[str, Floats] | None = None
    embedding: Floats | None = None
    ages: Floats | None = None

    def __len__(self) -> int:
        return len(self.names)

    def attribute(self, name: str) -> Attribute:
        """The attribute of a name.

        Args:
            name: One of `labels`.

        Returns:
            The attribute.
        """
        return next(attribute for attribute in self.attributes if attribute.name == name)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which prepared pictures are learnt, and which of their ages.

    `real_age` takes the age in years lived, where a set gives it. Faces whose box's longer side is below `face_px` pixels, or
    whose crop is less sharp than `sharpness` (see `service.vision.quality`), are left out.
    """

    real_age: bool = False
    face_px: float = 0.0
    sharpness: float = 0.0


def load_prepared(
    folder: Path,
    split: Split,
    sets: Sequence[str] | None = None,
    *,
    attributes: Sequence[Attribute] = ATTRIBUTES,
    teacher: bool = False,
    embeddings: bool = False,
    part: tuple[int, int] = (0, 1),
    most: int = 0,
    selection: Selection = Selection(),
) -> Prepared:
    """Read what `prepare` wrote of a split, of all data sets or of some.

    Args:
        folder: Folder that `prepare` wrote.
        split: The split.
        sets: Names of data sets, in order; one that is named twice is there twice. All where not given.
        attributes: Whose labels are read; the words of the data sets become indices into theirs.
        teacher: Read what `distill` wrote beside the crops, too.
        embeddings: Read what `embed` wrote beside the crops, too.
        part: A part's number from 0 and the number of parts; no picture of another part is read.
        most: Most pictures, spread evenly over all; 0 for all.
        selection: Which pictures are learnt, and which of their ages.

    Returns:
        The pictures, set by set.

    Raises:
        FileNotFoundError: `prepare`, `distill` or `embed` wrote nothing.
        DataSetError: A word of a data set is none of the attribute's labels, or a named set has no picture of the split.
        PreparedError: Something that is asked of the folder was not measured, or its teacher knows other labels or another
            range.
    """
    with open_faces(folder) as table:
        chosen = _rows(table, folder, split, sets, selection)[part[0] :: part[1]]
        if 0 < most < len(chosen):
            chosen = chosen[np.arange(most) * len(chosen) // most]
        crops = np.load(folder / CROPS, mmap_mode="r")[chosen]
        labels = {one.name: labels_of(table, one, folder, chosen) for one in attributes}
        given = Prepared(crops, table["name"][chosen], table["set"][chosen], labels, tuple(attributes))
        if "ages" in table:
            given = replace(given, ages=table["ages"][chosen].astype(np.float32))
        if selection.real_age and AGE in labels:
            given = _with_real_ages(given, _column(table, folder, "real_age")[chosen].astype(np.float32))
    if teacher:
        given = replace(given, teacher=_teacher(folder, attributes, chosen))
    if embeddings:
        given = replace(given, embedding=np.load(beside(folder, EMBEDDINGS))[chosen].astype(np.float32))
    return given


def count_prepared(folder: Path, split: Split, sets: Sequence[str] | None = None, selection: Selection = Selection()) -> int:
    """How many pictures `load_prepared` would read.

    Args:
        folder: Folder that `prepare` wrote.
        split: The split.
        sets: Names of data sets; all where not given.
        selection: Which pictures are learnt.

    Returns:
        A number of pictures.

    Raises:
        FileNotFoundError: `prepare` wrote nothing.
        DataSetError: A named set has no picture of the split.
        PreparedError: Something that is asked of the folder was not measured.
    """
    with open_faces(folder) as table:
        return len(_rows(table, folder, split, sets, selection))


def identity(
    folder: Path, sets: Mapping[Split, Sequence[str]], attributes: Sequence[Attribute], selection: Selection = Selection()
) -> dict[str, str]:
    """What tells pictures, and what is known of them, apart from those of another `prepare` into the same folder.

    Args:
        folder: Folder that `prepare` wrote.
        sets: Names of data sets by split.
        attributes: Whose labels are read.
        selection: Which pictures are learnt, and which of their ages.

    Returns:
        `pictures`, how many there are, and `labels`, the SHA-256 of their names and labels.

    Raises:
        FileNotFoundError: `prepare` wrote nothing.
        DataSetError: A word of a data set is none of the attribute's labels, or a named set has no picture of the split.
        PreparedError: Something that is asked of the folder was not measured.
    """
    count, digest = 0, sha256()
    with open_faces(folder) as table:
        for split, named in sets.items():
            rows = _rows(table, folder, split, named, selection)
            count += len(rows)
            labels = [labels_of(table, one, folder, rows) for one in attributes]
            if any(one.name == AGE for one in attributes):
                ages = ("ages", "real_age") if selection.real_age else ("ages",)
                labels += [table[name][rows].astype(np.float32) for name in ages if name in table]
            digest.update(json.dumps([split.value, table["name"][rows].tolist(), table["set"][rows].tolist()]).encode())
            for values in labels:
                digest.update(values.tobytes())
    return {"pictures": str(count), "labels": digest.hexdigest()}


def open_faces(folder: Path) -> np.lib.npyio.NpzFile:
    """The arrays of `faces.npz`, by name, which the caller closes.

    Args:
        folder: Folder that `prepare` wrote.

    Returns:
        The open archive.

    Raises:
        FileNotFoundError: `prepare` wrote nothing.
        PreparedError: The file is not what `prepare` writes.
    """
    path = folder / FACES
    try:
        table = np.load(path)
    except (ValueError, EOFError, BadZipFile) as error:
        raise PreparedError(f"{path} is not what prepare writes; prepare again") from error
    if not isinstance(table, np.lib.npyio.NpzFile):
        raise PreparedError(f"{path} is not what prepare writes; prepare again")
    return table


def beside(folder: Path, name: str) -> Path:
    """Path of a file beside the crops, to read: under the name of before where there is none under its own.

    Args:
        folder: Folder that `prepare` wrote.
        name: `TEACHER`, `TEACHERS` or `EMBEDDINGS`.

    Returns:
        The path, whether or not there is a file.
    """
    old = folder / _OLD_NAMES[name]
    return old if old.exists() and not (folder / name).exists() else folder / name


def vocabulary(table: Mapping[str, npt.NDArray[Any]], name: str) -> tuple[str, ...] | None:
    """The words that an attribute's codes in `faces.npz` stand for, in their order.

    Args:
        table: The arrays of `faces.npz`. Before words were written beside them, codes were those of the canonical labels.
        name: Name of the attribute.

    Returns:
        The words, or None where no data set has labels of the attribute.
    """
    if f"labels/{name}" in table:
        return tuple(str(word) for word in table[f"labels/{name}"])
    return CANONICAL.get(name) if name in table else None


def coded(words: Sequence[str | None], name: str) -> dict[str, npt.NDArray[Any]]:
    """Words of an attribute as `faces.npz` holds them; `labels_of` reads them back.

    Args:
        words: The word of every picture, or None.
        name: Name of the attribute.

    Returns:
        `codes/NAME`, int32 [N], -1 where unknown, and `labels/NAME`, the words of the codes: the canonical labels of gender
        and race first, others in the alphabet's order.
    """
    first = CANONICAL.get(name, ())
    vocabulary = (*first, *sorted({word for word in words if word is not None} - set(first)))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    codes = np.array([UNKNOWN if word is None else numbers[word] for word in words], np.int32)
    return {f"codes/{name}": codes, f"labels/{name}": np.array(vocabulary, np.str_)}


def labels_of(table: Mapping[str, npt.NDArray[Any]], attribute: Attribute, folder: Path, rows: Ints | None = None) -> Floats:
    """Labels [N] of an attribute: steps of an expectation's scale, which are years of an age, or indices into its labels; -1
    where unknown. A value beside the range is the nearest one in it.

    Args:
        table: The arrays of `faces.npz`.
        attribute: The attribute.
        folder: Where they lie, for messages.
        rows: Which pictures; all where not given.

    Returns:
        float32 [N].

    Raises:
        DataSetError: A word of these pictures is none of the attribute's labels, or no number where it is an expectation.
        PreparedError: No prepared data set has labels of the attribute.
    """
    chosen = slice(None) if rows is None else rows
    if attribute.name == AGE:
        return np.asarray(_column(table, folder, attribute.name)[chosen], np.float32)
    words = vocabulary(table, attribute.name)
    if words is None:
        raise PreparedError(f"no data set in {folder} has labels of {attribute.name}")
    codes = table[f"codes/{attribute.name}" if f"codes/{attribute.name}" in table else attribute.name][chosen]
    if attribute.kind == "expectation":
        return _steps(words, codes, attribute, folder)
    for code in np.unique(codes[codes >= 0]):
        if words[code] not in attribute.labels:
            raise DataSetError(
                f"{folder}: the {attribute.name} {words[code]!r} is none of the recipe's labels: {', '.join(attribute.labels)}"
            )
    places = np.array([attribute.labels.index(word) if word in attribute.labels else UNKNOWN for word in words])
    return np.where(codes >= 0, places[codes], UNKNOWN).astype(np.float32)


def _steps(words: Sequence[str], codes: Ints, attribute: Attribute, folder: Path) -> Floats:
    """Steps [N] of an expectation whose values are written as words; -1 where unknown."""
    scale, steps = attribute.scale, np.full(len(words) + 1, float(UNKNOWN))
    for code in np.unique(codes[codes >= 0]):
        try:
            steps[code] = np.clip(scale.position(number(attribute.name, words[code])), 0, STEPS)
        except DataSetError as error:
            raise DataSetError(f"{folder}: {error}") from error
    return np.asarray(steps[codes], np.float32)  # an unknown code, -1, is the last step


def _teacher(folder: Path, attributes: Sequence[Attribute], chosen: Ints) -> dict[str, Floats]:
    """A teacher's probabilities of the attributes that it knows."""
    path = beside(folder, TEACHER)
    with np.load(path) as table:
        known = [one for one in attributes if one.name in table]
        for one in known:
            theirs = tuple(table[f"labels/{one.name}"].tolist()) if f"labels/{one.name}" in table else None
            if (theirs or CANONICAL.get(one.name, ())) != one.labels:
                raise PreparedError(f"the labels of {one.name} in {path} are not the recipe's; distil again")
            if f"range/{one.name}" in table and tuple(table[f"range/{one.name}"].tolist()) != one.range:
                raise PreparedError(f"the range of {one.name} in {path} is not the recipe's; distil again")
        return {one.name: table[one.name][chosen].astype(np.float32) for one in known}


def _rows(
    table: Mapping[str, npt.NDArray[Any]], folder: Path, split: Split, sets: Sequence[str] | None, selection: Selection
) -> Ints:
    """Rows of a split's good pictures, set by set where some are named."""
    of_split = (table["split"] == split.value) & _good_enough(table, folder, selection)
    if sets is None:
        return np.flatnonzero(of_split)
    rows = [np.flatnonzero(of_split & (table["set"] == name)) for name in sets]
    for name, found in zip(sets, rows, strict=True):
        if not len(found):
            raise DataSetError(f"{folder} has no {split.value} picture of {name}{_why_none(table, split, name)}")
    return np.concatenate(rows)


def _why_none(table: Mapping[str, npt.NDArray[Any]], split: Split, name: str) -> str:
    """What there is instead of a split's good pictures of a set, and what would give some."""
    own = table["set"] == name
    counts = {one: int((own & (table["split"] == one.value)).sum()) for one in Split}
    if counts[split]:
        return f" that is large and sharp enough, of {counts[split]}; see data.min_face_px and data.min_sharpness"
    if own.any():
        others = " and ".join(f"{count} of {one.value}" for one, count in counts.items() if count)
        return f", but {others}; the column split of labels.csv says which are {split.value}"
    return f", but of {', '.join(sorted(set(table['set'].tolist())))}; prepare with that data set"


def _good_enough(table: Mapping[str, npt.NDArray[Any]], folder: Path, selection: Selection) -> Bools:
    """Whether each face is large and sharp enough [N]."""
    good = np.ones(len(table["split"]), np.bool_)
    if selection.face_px > 0:
        box = _column(table, folder, "box")
        good &= (box[:, 2:] - box[:, :2]).max(axis=1) >= selection.face_px
    if selection.sharpness > 0:
        good &= _column(table, folder, "sharpness") >= selection.sharpness
    return good


def _column(table: Mapping[str, npt.NDArray[Any]], folder: Path, name: str) -> npt.NDArray[Any]:
    if name not in table:
        raise PreparedError(f"{folder} does not hold the {name.replace('_', ' ')} of its faces; prepare again")
    return table[name]


def _with_real_ages(given: Prepared, real: Floats) -> Prepared:
    """Ages in years lived where they are known, and as they were elsewhere."""
    known = real != UNKNOWN
    ages = None if given.ages is None else np.where(known[:, np.newaxis], real[:, np.newaxis], given.ages)
    return replace(given, labels={**given.labels, AGE: np.where(known, real, given.labels[AGE])}, ages=ages)
