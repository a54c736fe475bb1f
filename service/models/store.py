"""model_store/NAME/VERSION to a verified model: manifest, hashes, signature, golden answers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from service.arrays import Floats
from service.errors import (
    GoldenMismatch,
    ModelDamaged,
    ModelError,
    ModelIncompatible,
    ModelNotFound,
    StoreUnreachable,
    in_own_words,
)
from service.files import replacing
from service.models.evaluation import EVALUATION, Evaluation, evaluation_of_manifest
from service.models.manifest import STEPS, Manifest, Tolerance, Variant
from service.models.runtime import Loader, Network

MANIFEST: Final = "model.json"
GOLDEN: Final = "golden.npz"
CARD: Final = "README.md"
"""For people, made of the manifest and the evaluation."""
UNLISTED: Final = frozenset({MANIFEST, EVALUATION, CARD})
"""Files that no manifest lists: they are outside the digest."""
VARIANT: Final = "variant.json"
"""What is known of a variant, in its folder."""
VARIANTS: Final = ("int8",)
"""Folders of variants in a model's own, by the arithmetic. The manifest does not list them: each lists its own files."""
MAX_GOLDEN_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model: `networks` by name, and what was measured of it, where that is known.

    `digest` is the SHA-256 of its manifest, or, of a variant that was asked for, of the variant's document. `variant` is that
    of the document of a variant that Facet chose by itself, or tried; None where there is none.
    """

    manifest: Manifest
    networks: Mapping[str, Network]
    digest: str
    evaluation: Evaluation | None = None
    variant: str | None = None


class ModelStore:
    """A folder of models, NAME/VERSION each; versions never change once written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self, name: str) -> list[int]:
        """List the versions of a model.

        Args:
            name: Of the model.

        Returns:
            Versions, ascending; none of a model that is not there.
        """
        folder = self.root / name
        if not folder.is_dir():
            return []
        return numbers(path.name for path in folder.iterdir() if path.is_dir())

    def names(self) -> list[str]:
        """List the models.

        Returns:
            Their names, sorted.
        """
        return sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []

    def manifests(self) -> Iterator[Manifest]:
        """Read the manifest of every version of every model; those that cannot be read are left out.

        Yields:
            Manifests, by name and version.
        """
        for name in self.names():
            try:
                versions = self.versions(name)
            except OSError:  # closed to this user, as a volume's own lost+found is
                continue
            for version in versions:
                try:
                    manifest, _ = self._manifest(name, version)
                except ModelError:
                    continue
                yield manifest

    def size(self, manifest: Manifest) -> int:
        """How large a model is.

        Args:
            manifest: One that `manifests` gave.

        Returns:
            Bytes of its files together, without variants; those that are missing count for nothing.
        """
        return self._size(manifest, manifest.files)

    def variants(self, manifest: Manifest) -> dict[str, int]:
        """The variants of a model.

        Args:
            manifest: One that `manifests` gave.

        Returns:
            Bytes of the files of each, by its arithmetic; those that cannot be read are left out.
        """
        found = {}
        for name in VARIANTS:
            with contextlib.suppress(OSError, ValidationError, StoreUnreachable):
                content = self._content(manifest.name, manifest.version, f"{name}/{VARIANT}")
                files = Variant.model_validate_json(content).files
                found[name] = self._size(manifest, [f"{name}/{file}" for file in files])
        return found

    def evaluation(self, name: str, version: int) -> Evaluation | None:
        """What was measured of a model.

        Args:
            name: The model's name.
            version: Its version.

        Returns:
            The document of `evaluation.json`; of a model that was made before there was one, the measurements that stand in
            its manifest; None where there are none, or where those of a manifest have an older structure.

        Raises:
            ModelDamaged: `evaluation.json` cannot be read, or is no such document.
        """
        try:
            content = self._measured(name, version)
            if content is None:
                return evaluation_of_manifest(self._content(name, version))
            return Evaluation.model_validate_json(content)
        except (OSError, ValidationError) as error:
            raise ModelDamaged(f"{EVALUATION} of {name}/{version} cannot be read as an evaluation.") from error

    def find(self, name: str, version: int | None, variant: str | None = None) -> tuple[Manifest, str]:
        """Read the manifest of a model, without its files.

        Args:
            name: Of the model.
            version: 1 or more; None for the newest.
            variant: The arithmetic of a variant; None for the model itself.

        Returns:
            The manifest and the SHA-256 of its file, or that of the variant's document.

        Raises:
            ModelNotFound: The store does not hold it.
            ModelDamaged: The variant's document is not one of this model.
            ModelIncompatible: It is no manifest of this model, or the model has no such variant.
        """
        manifest, digest = self._newest(name, version)
        return (manifest, digest) if variant is None else (manifest, self._variant(manifest, digest, variant)[1])

    def variant(self, name: str, version: int | None, precision: str) -> tuple[Variant, str]:
        """Read the document of a variant, without its files.

        Args:
            name: Of the model.
            version: 1 or more; None for the newest.
            precision: The arithmetic of the variant.

        Returns:
            The document, and its SHA-256.

        Raises:
            ModelNotFound: The store does not hold the model.
            ModelDamaged: It is no document of a variant of this model.
            ModelIncompatible: The model's manifest is none, or it has no such variant.
        """
        manifest, digest = self._newest(name, version)
        return self._variant(manifest, digest, precision)

    def _newest(self, name: str, version: int | None) -> tuple[Manifest, str]:
        """The manifest of a version, or of the newest one, and its file's digest."""
        if version is not None:
            return self._manifest(name, version)
        for newest in reversed(self.versions(name)):
            with contextlib.suppress(ModelNotFound):  # its manifest comes last: this one is being written
                return self._manifest(name, newest)
        raise ModelNotFound(f"The model store holds no model {name!r}.")

    def state(self, name: str, version: int) -> object:
        """What changes whenever a file of a model does, without reading any.

        Args:
            name: Of the model.
            version: Of it.

        Returns:
            Something to compare with what it was before.
        """
        folder = self.root / name / str(version)
        try:
            found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
        except OSError:  # a file that goes while it is looked at
            return version
        return version, [(path.relative_to(folder).as_posix(), known.st_size, known.st_mtime_ns) for path, known in found]

    def load(
        self,
        name: str,
        version: int | None,
        load: Loader,
        *,
        kind: Literal["attributes", "detector"] = "attributes",
        digest: str | None = None,
        variant: str | None = None,
        only: Collection[str] | None = None,
        within: Mapping[str, float] | None = None,
    ) -> Model:
        """Verify a model, load its networks and compare them with its golden answers.

        Args:
            name: Of the model.
            version: 1 or more; None for the newest.
            load: What reads its networks.
            kind: What the model must be.
            digest: SHA-256 in hexadecimal that its manifest, or the variant's document, must have; None for any.
            variant: The arithmetic of the variant whose networks are loaded; None for the model's own. A detector's may have
                some of its networks alone.
            only: Networks of the model's own that are loaded; None for all.
            within: By network, the most by which its answers may differ from the golden ones, where that is less than the
                tolerance; None for the tolerance alone.

        Returns:
            The verified model.

        Raises:
            ModelNotFound: The store does not hold it.
            ModelDamaged: A file is missing, was added or has another hash, or the manifest has another digest.
            ModelIncompatible: Its manifest or a network's signature is not one that is served, or it has no such variant.
            GoldenMismatch: Its outputs differ from its golden answers by more than the tolerance.
        """
        manifest, found = self.find(name, version, variant)
        title = manifest.title
        if digest is not None and found != digest.lower():
            raise ModelDamaged(
                f"The {'manifest' if variant is None else f'{variant} variant'} of {title} is not the pinned one."
            )
        if manifest.kind != kind:
            raise ModelIncompatible(f"{title} is a model of kind {manifest.kind!r}, not {kind!r}.")
        if kind == "attributes" and (manifest.input is None or set(manifest.networks) != {"faces"} or not manifest.attributes):
            raise ModelIncompatible(f"The manifest of {title} lacks an input, the network 'faces' or an attribute.")
        folder = self.root / title
        if variant is None:
            networks = self._networks(folder, manifest, load, only)
            self._compare(folder, manifest, manifest.tolerance, networks, within or {})
        else:
            networks, tolerance = self._networks_of_variant(folder, manifest, variant, found, load)
            self._compare(folder / variant, manifest, {variant: tolerance}, networks, within or {})
        return Model(manifest, networks, found, self.evaluation(name, manifest.version))

    def _networks(self, folder: Path, manifest: Manifest, load: Loader, only: Collection[str] | None) -> dict[str, Network]:
        """A model's own networks, verified."""
        self._verify(folder, manifest)
        wanted = {key: place for key, place in manifest.networks.items() if only is None or key in only}
        networks = {key: load(folder / place) for key, place in wanted.items()}
        self._verify(folder, manifest)  # what was read is what was verified: nobody wrote in between
        return networks

    def _networks_of_variant(
        self, folder: Path, manifest: Manifest, name: str, digest: str, load: Loader
    ) -> tuple[dict[str, Network], Tolerance]:
        """The networks of a variant, verified as the model's own are, and how far its answers may lie from the golden ones."""
        self._verify(folder, manifest)
        title = manifest.title
        content = (folder / name / VARIANT).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ModelDamaged(f"The {name} variant of {title} changed while it was read.")
        variant, place = Variant.model_validate_json(content), folder / name
        given, own = set(variant.networks), set(manifest.networks)
        if given != own and not (manifest.kind == "detector" and given and given < own):
            raise ModelIncompatible(f"The {name} variant of {title} has other networks than the model.")
        verify_variant(place, variant, title)
        networks = {key: load(place / file) for key, file in variant.networks.items()}
        verify_variant(place, variant, title)
        return networks, variant.tolerance

    def _variant(self, manifest: Manifest, digest: str, variant: str) -> tuple[Variant, str]:
        """What is known of a variant of the model whose manifest has this digest, and the SHA-256 of its document."""
        title = manifest.title
        try:
            content = self._content(manifest.name, manifest.version, f"{variant}/{VARIANT}")
        except OSError as error:
            raise ModelIncompatible(f"{title} has no {variant} variant: choose another precision, or make one.") from error
        try:
            found = Variant.model_validate_json(content)
        except ValidationError as error:
            raise ModelDamaged(f"{variant}/{VARIANT} of {title} is not the document of a variant.") from error
        if (found.name, found.version, found.precision, found.manifest) != (manifest.name, manifest.version, variant, digest):
            raise ModelDamaged(f"The {variant} variant of {title} is that of another model or manifest.")
        return found, hashlib.sha256(content).hexdigest()

    def _manifest(self, name: str, version: int) -> tuple[Manifest, str]:
        title = f"{name}/{version}"
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ModelNotFound("A model's name has letters, digits, '-' and '_' alone.")
        try:
            content = self._content(name, version)
        except OSError as error:
            raise ModelNotFound(f"The model store holds no {title}.") from error
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            what = ": ".join(part for part in (place, in_own_words(first["msg"])) if part)
            raise ModelIncompatible(f"The manifest of {title} is not one: {what}.") from error
        if (manifest.name, manifest.version) != (name, version):
            raise ModelIncompatible(f"The manifest of {title} is that of {manifest.title}.")
        return manifest, hashlib.sha256(content).hexdigest()

    def _content(self, name: str, version: int, file: str = MANIFEST) -> bytes:
        """The manifest's file, or a variant's document. Raises `OSError` where it cannot be read."""
        return (self.root / name / str(version) / file).read_bytes()

    def _measured(self, name: str, version: int) -> bytes | None:
        """The content of `evaluation.json`; None where there is none. Raises `OSError` where it cannot be read."""
        path = self.root / name / str(version) / EVALUATION
        return path.read_bytes() if path.is_file() else None

    def _size(self, manifest: Manifest, files: Iterable[str]) -> int:
        """Bytes of some of a model's files; those that are missing count for nothing."""
        folder = self.root / manifest.name / str(manifest.version)
        return sum(path.stat().st_size for path in (folder / name for name in files) if path.is_file())

    @staticmethod
    def _verify(folder: Path, manifest: Manifest) -> None:
        """Every listed file is there with its hash, and no other file is: a SavedModel is a program."""
        present = files_of_model(folder)
        _verify_files(folder, present, manifest.files, manifest.title)
        for place in manifest.networks.values():
            if (Path(place) / "saved_model.pb").as_posix() not in manifest.files:
                raise ModelDamaged(f"The manifest of {manifest.title} does not list the SavedModel in {place!r}.")

    @staticmethod
    def _compare(
        folder: Path,
        manifest: Manifest,
        tolerances: Mapping[str, Tolerance],
        networks: Mapping[str, Network],
        within: Mapping[str, float],
    ) -> None:
        """Golden inputs give the golden answers, within the tolerance of the precision that runs, and the network's bound."""
        answers = _golden(folder / GOLDEN, manifest.title)
        for name, network in networks.items():
            expected = {key.removeprefix(f"{name}/"): value for key, value in answers.items() if key.startswith(f"{name}/")}
            tolerance = tolerances.get(network.precision)
            if tolerance is None or "input" not in expected:
                raise ModelIncompatible(f"{manifest.title} has no golden answers for {network.precision}.")
            given = _answers_to_golden(name, network, expected.pop("input"), manifest)
            if manifest.kind == "attributes":
                _check_outputs(manifest, given, expected)
            _require_close(given, expected, manifest, tolerance, within.get(name, math.inf), network.precision)


def numbers(names: Iterable[str]) -> list[int]:
    """The names of folders that are versions.

    Args:
        names: Of a model's folders.

    Returns:
        Versions, ascending.
    """
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _answers_to_golden(name: str, network: Network, crops: npt.NDArray[Any], manifest: Manifest) -> Mapping[str, Floats]:
    """What a network gives for its golden input."""
    if not len(crops):
        raise ModelIncompatible(f"{manifest.title} has no golden answers: its golden input is empty.")
    if manifest.input is not None and crops.shape[1:] != (manifest.input.size, manifest.input.size, 3):
        raise ModelIncompatible(f"The golden crops of {manifest.title} are not of the size of its input.")
    try:
        return network(crops)
    except Exception as error:  # whatever the runtime raises on a graph of another signature
        raise ModelIncompatible(f"The network {name!r} of {manifest.title} fails on its golden input.") from error


def _require_close(
    given: Mapping[str, Floats],
    expected: Mapping[str, npt.NDArray[Any]],
    manifest: Manifest,
    tolerance: Tolerance,
    bound: float,
    precision: str,
) -> None:
    """Every golden answer is given, and no output is farther from it than the tolerance and the bound allow."""
    steps = {one.outputs[0]: one.scale.step for one in manifest.attributes if one.kind == "expectation"}
    for key, value in expected.items():
        if key not in given or given[key].shape != value.shape:
            raise ModelIncompatible(f"The output {key!r} of {manifest.title} is missing or has another shape.")
        worst = float(np.max(np.abs(given[key] - value), initial=0))
        most = tolerance.expectation * steps[key] if key in steps else tolerance.other
        if not worst <= min(most, bound):
            raise GoldenMismatch(f"{key} of {manifest.title} is {worst:.3g} from its golden answer in {precision}.")


def _check_outputs(manifest: Manifest, given: Collection[str], answers: Mapping[str, npt.NDArray[Any]]) -> None:
    """A network has the outputs that the manifest declares, and the golden answers of N faces the shapes of each kind."""
    if set(given) != set(manifest.outputs) or set(answers) != set(given):
        raise ModelIncompatible(f"{manifest.title} answers {sorted(given)}; its manifest says {sorted(manifest.outputs)}.")
    for attribute in manifest.attributes:
        first, *distribution = (answers[output].shape[1:] for output in attribute.outputs)
        if attribute.kind == "labels" and first != (len(attribute.labels),) and (len(attribute.labels) != 2 or first):
            raise ModelIncompatible(
                f"The output {attribute.outputs[0]!r} of {manifest.title} has not one value for each of the manifest's labels."
            )
        lengths = None if attribute.range is None else (STEPS + 1,)
        if attribute.kind == "expectation" and (
            first or any(len(shape) != 1 or shape != (lengths or shape) for shape in distribution)
        ):
            raise ModelIncompatible(
                f"The outputs of {attribute.name!r} of {manifest.title} are not a value and a distribution for each face."
            )


def _golden(path: Path, title: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a golden archive, by name; no pickled object is ever read."""
    if not path.is_file() or path.stat().st_size > MAX_GOLDEN_BYTES:
        raise ModelDamaged(f"{title} lacks {GOLDEN}, or it is too large.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as golden:
            return {key: golden[key] for key in golden.files}
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ModelDamaged(f"{GOLDEN} of {title} is not an archive of arrays.") from error


def files_of_model(folder: Path) -> set[str]:
    """The files of a model that its manifest must list.

    Args:
        folder: NAME/VERSION in a store.

    Returns:
        Their names, without those of variants.
    """
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if path.parts[0] not in VARIANTS} - UNLISTED


def verify_variant(folder: Path, variant: Variant, title: str) -> None:
    """Hold the files of a variant to its document.

    Args:
        folder: The variant's folder.
        variant: What is known of it.
        title: NAME/VERSION of the model, for messages.

    Raises:
        ModelDamaged: A file is missing, was added or has another hash.
    """
    of = f"the {variant.precision} variant of {title}"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {VARIANT}
    _verify_files(folder, present, variant.files, of)
    for place in variant.networks.values():
        if not {place, Path(place).with_suffix(".bin").as_posix()} <= set(variant.files):
            raise ModelDamaged(f"The document of {of} does not list the network {place!r}.")


def _verify_files(folder: Path, present: Iterable[str], listed: Mapping[str, str], title: str) -> None:
    """Every listed file is there with its hash, and no other file is."""
    start = title[0].upper() + title[1:] if title.startswith("the ") else title
    for unlisted in sorted(set(present) - set(listed)):
        raise ModelDamaged(f"{start} holds a file that its manifest does not list: {unlisted}.")
    for name, expected in listed.items():
        if name not in present:
            raise ModelDamaged(f"{start} lacks {name}.")
        if file_digest(folder / name) != expected:
            raise ModelDamaged(f"The hash of {name} in {title} is not the manifest's.")


def file_digest(path: Path) -> str:
    """Hash a file.

    Args:
        path: Of the file.

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> Manifest:
    """Hash every file of a model's folder and write its `model.json`, as the last step of an export.

    Args:
        folder: NAME/VERSION in a store.
        fields: The manifest's fields, but for `files`.

    Returns:
        The manifest.

    Raises:
        pydantic.ValidationError: The fields are not those of a manifest.
        OSError: A file cannot be read or written.
    """
    files = {name: file_digest(folder / name) for name in sorted(files_of_model(folder))}
    manifest = Manifest.model_validate({**fields, "files": files})
    with replacing(folder / MANIFEST) as new:
        new.write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    return manifest
