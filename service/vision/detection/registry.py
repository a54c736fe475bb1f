"""Which file answers for a detector model: the one that its manifest's `architecture` names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from service.errors import GoldenMismatch, ModelIncompatible, ModelNotFound, StoreUnreachable
from service.models.manifest import Manifest
from service.models.runtime import Loader, Network, Precision, again
from service.models.store import Model, ModelStore
from service.models.title import ModelTitle
from service.vision import detection
from service.vision.detection import MIN_FACE_PX, Detector
from service.vision.detection.sharing import SharingDetector

logger = logging.getLogger("facet")

_SHARED = ("registry", "second_look", "sharing")


class Architecture(Protocol):
    """What each file of this folder offers beside the registry."""

    def create(self, networks: Mapping[str, Network], min_face_px: float) -> Detector:
        """Make a detector over a model's networks.

        Args:
            networks: Loaded networks by their names in the manifest.
            min_face_px: Side, in pixels of the picture that is searched, of the smallest face that is looked for.

        Returns:
            A detector that several threads may call.
        """
        ...


def architectures() -> list[str]:
    """Names that a manifest may give.

    Returns:
        The files of this folder, but for those that all share, in order.
    """
    return sorted(module.name for module in iter_modules(detection.__path__) if module.name not in _SHARED)


def create_detector(
    model: Model,
    min_face_px: float = MIN_FACE_PX,
    quick: Callable[[Collection[str]], Mapping[str, Network]] = lambda _: {},
    shared: int = 0,
) -> Detector:
    """The detector of a loaded model.

    Args:
        model: A verified model of kind `detector`.
        min_face_px: Side, in pixels of the picture that is searched, of the smallest face that is looked for.
        quick: Reads some of the model's networks in another arithmetic: those that the architecture wants, which its constant
            `QUICK` names. They are given to it as `quick_NAME`.
        shared: Detectors of one thread beside it, for photos that share the CPUs.

    Returns:
        A detector that several threads may call.

    Raises:
        ModelIncompatible: No file here has the name of the model's architecture.
    """
    architecture = _architecture(model.manifest)
    if architecture is None:
        given, known = model.manifest.architecture, ", ".join(architectures())
        raise ModelIncompatible(f"No detector has the architecture {given!r} of {model.manifest.title}; there is: {known}.")
    wanted: Sequence[str] = getattr(architecture, "QUICK", ())
    rounded = quick(wanted) if wanted else {}
    networks = dict(model.networks) | {f"quick_{one}": rounded[one] for one in wanted if one in rounded}
    alone = architecture.create(networks, min_face_px)
    beside = [
        architecture.create({key: again(network, 1) for key, network in networks.items()}, min_face_px) for _ in range(shared)
    ]
    return SharingDetector(alone, beside) if beside else alone


def load_detector(
    store: ModelStore,
    title: str,
    load: Loader,
    min_face_px: float = MIN_FACE_PX,
    quick: Loader | None = None,
    int8: Loader | None = None,
    shared: int = 0,
) -> tuple[Detector, Model]:
    """Load a detector model from a store.

    Args:
        store: Where it lies.
        title: `NAME` for its newest version, or `NAME/VERSION`.
        load: What reads its networks; detection is exact in float32.
        min_face_px: As `create_detector` takes it.
        quick: What reads networks in an arithmetic that may round more; None for none.
        int8: What reads the networks of its int8 variant, which are taken before those of `quick`; None for none.
        shared: As `create_detector` takes it.

    Returns:
        The detector, and the model that it was made of.

    Raises:
        ModelNotFound: The title is no `ModelTitle`.
        ModelError: The model is not there, damaged, incompatible, or wrong about its golden answers.
    """
    try:
        name, version = ModelTitle.of(title)
    except ValueError as error:
        raise ModelNotFound(f"The model store holds no detector {title!r}.") from error
    manifest, _ = store.find(name, version)
    model = _load(store, manifest, load, quick, int8)

    def rounded(wanted: Collection[str]) -> Mapping[str, Network]:
        if quick is None:
            return {}
        try:
            found = store.load(name, model.manifest.version, quick, kind="detector", digest=model.digest, only=wanted)
        except ModelIncompatible:  # it has golden answers for float32 alone
            return {}
        except GoldenMismatch as error:
            logger.warning("%s This CPU's quick arithmetic is wrong; faces are looked for in f32, which is slower", error)
            return {}
        precisions = {key: network.precision for key, network in model.networks.items()}
        return {key: network for key, network in found.networks.items() if network.precision != precisions[key]}

    return create_detector(model, min_face_px, rounded, shared), model


def _architecture(manifest: Manifest) -> Architecture | None:
    """The file that a manifest names; None where there is none."""
    if manifest.architecture not in architectures():
        return None
    return cast("Architecture", import_module(f"{detection.__name__}.{manifest.architecture}"))


def _load(store: ModelStore, manifest: Manifest, load: Loader, quick: Loader | None, int8: Loader | None) -> Model:
    """The model; networks that its architecture's constant `ROUNDED` names are its int8 variant's, or `quick` reads them, where
    that is right: within the bound that the constant gives to each beside the model's tolerance.
    """
    name, version = manifest.name, manifest.version
    bounds: Mapping[str, float] = getattr(_architecture(manifest), "ROUNDED", {})
    rounding = [one for one in bounds if one in manifest.networks]
    networks: dict[str, Network] = {}

    def take(way: Loader, variant: str | None = None, only: Collection[str] | None = None) -> None:
        try:
            found = store.load(name, version, way, kind="detector", variant=variant, only=only, within=bounds)
        except (ModelIncompatible, StoreUnreachable):  # no variant, no golden answers in this arithmetic, or no copy of it
            return
        except GoldenMismatch as error:
            logger.warning("%s This CPU's quick arithmetic is wrong; faces are looked for in a slower one", error)
            return
        networks.update(found.networks)

    if int8 is not None and rounding:
        take(int8, Precision.INT8.value)
    for one in rounding:
        if quick is not None and one not in networks:
            take(quick, only=[one])
    exact = store.load(name, version, load, kind="detector", only=[one for one in manifest.networks if one not in networks])
    return replace(exact, networks={**exact.networks, **networks})
