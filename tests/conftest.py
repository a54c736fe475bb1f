"""What several test modules share."""

from __future__ import annotations

import gc
import io
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from PIL import Image

from service.models.runtime import Network, Precision, Runtime, loader
from service.models.store import ModelStore
from tests import tiny_model
from tests.client import Client, serving

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes is the machine's affair, and a busy one exceeds Hypothesis' deadline.
settings.register_profile("facet", deadline=None)
settings.load_profile("facet")

DEAR = {"architecture", "pictures", "run", "store", "tiny_store"}
"""Fixtures that fit, export or score a network: whatever asks for one is slow."""
SLOW = (
    "clients",
    "deploy/test_aws.py",
    "deploy/test_clients.py",
    "deploy/test_helm.py",
    "deploy/test_kubernetes.py",
    "deploy/test_many_photos.py",
    "deploy/test_model_store.py",
    "deploy/test_policies.py",
    "docs/test_languages.py",
    "docs/test_site.py",
    "service/api/test_batch_route.py",
    "service/api/test_middleware.py",
    "service/api/test_stream.py",
    "service/api/test_failures.py::test_many_bad_requests_leave_nothing_behind",
    "service/inference/test_concurrency.py",
    "service/inference/test_decoding.py",
    "service/inference/test_fairness.py",
    "service/inference/test_pipeline.py::test_a_photo_gets_the_same_answer_alone_and_under_load",
    "service/models/runtime/test_parity.py",
    "service/offline/test_command.py",
    "service/offline/test_predictors.py",
    "service/offline/test_ray_data.py",
    "service/offline/test_sources.py::test_a_bucket_of_s3",
    "service/server/test_connections.py",
    "service/server/test_healthcheck.py",
    "service/server/test_logs.py",
    "service/server/test_serve.py",
    "service/server/test_tls.py",
    "recipes",
    "service/api/test_spans.py::test_a_collector_that_is_gone_fails_no_request",
    "service/models/test_remote.py",
    "service/test_cli.py",
    "service/test_several_models.py",
    "service/test_reloading.py",
    "service/test_several_models.py::test_shipped_models_are_served_beside_one_another",
    "service/tracking/test_session.py::test_runs_grow_rare_but_never_end",
    "service/tracking/test_tracker.py::test_a_crowd_changes_hardly_an_id",
    "service/video/test_annotate.py",
    "service/vision/detection/test_costs.py",
    "service/vision/detection/test_mtcnn.py",
    "service/vision/test_align.py",
    "soak/test_fuzz.py",
    "test_distribution.py",
    "test_imports.py",
    "training/calibration/test_at_least.py",
    "training/calibration/test_photo.py",
    "training/calibration/test_thresholds.py",
    "training/calibration/test_tracks.py",
    "training/comparison/test_run.py",
    "training/datasets/test_duplicates.py",
    "training/datasets/test_explore.py",
    "training/datasets/test_prepare.py",
    "training/evaluation/test_degradations.py",
    "training/evaluation/test_evaluate.py",
    "training/evaluation/test_html_report.py",
    "training/evaluation/test_metric_objects.py",
    "training/evaluation/test_metrics.py",
    "training/evaluation/test_robustness.py",
    "training/fit/test_augmentation.py",
    "training/fit/test_budget.py",
    "training/fit/test_schedules.py",
    "training/fit/test_search.py",
    "training/fit/test_systems.py",
    "training/fit/test_weight_conversion.py",
    "training/models/test_age_head.py",
    "training/models/test_architectures.py",
    "training/models/test_heads.py",
    "training/models/test_learning.py",
    "training/test_artifacts.py",
    "training/test_attributes.py",
    "training/test_command_line.py",
)
"""Folders, files and tests that start processes, build large networks, or draw very many samples."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and what needs a browser."""
    for item in items:
        place = item.nodeid.removeprefix("tests/")
        if place.startswith("browser/"):
            item.add_marker("browser")
        if place.startswith(SLOW) or DEAR & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """Keep what was imported from the garbage collector: to look through TensorFlow's objects takes a third of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of public-domain photos."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def mtcnn_networks() -> Mapping[str, Network]:
    """The three networks of MTCNN out of the model store, run by OpenVINO in float32, as the service runs them."""
    return (
        ModelStore(ROOT / "model_store")
        .load("mtcnn", None, loader(Runtime.OPENVINO, Precision.F32, 2), kind="detector")
        .networks
    )


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with both detectors and a small attribute model, `tiny/1`; not to be written to.

    `TINY_STORE` names one that was written for several processes.
    """
    if written := os.environ.get("TINY_STORE"):
        return Path(written)
    pytest.importorskip("tensorflow")
    return tiny_model.write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that the service runs on."""
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of an app of its own, round fakes, with the settings as they come."""
    async with serving() as started:
        yield started


def encoded(pixels: npt.NDArray[np.uint8], form: str = "PNG", **options: object) -> bytes:
    """Pixels as a file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()
