"""Photos on many machines: read, answer and collect as a pipeline of Ray Data; needs the extra `ray`."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from typing_extensions import override

from service.extras import install_command
from service.offline.errors import RunError
from service.offline.predictors import Predictor, ServedModel
from service.offline.run import THREADS, Emit, Runner, jobs_of, run
from service.offline.sources import Photo, Place, photos
from service.offline.table import Failure, Outcome

PLACES_A_BLOCK: Final = 64
"""Photos that a worker is given at a time. What it had of them is answered again where it dies."""
BLOCK_BYTES: Final = 16 * 2**20
"""About the bytes of photos from an archive or film that a worker is given at a time."""
CPUS: Final = 2
"""CPUs of a worker: one photo keeps hardly more of them busy."""
READERS: Final = 2
"""Archives and films that are read at a time, for each worker."""
RETRIES: Final = 3
"""Times that a worker is started anew, and a batch given to another one, before the run fails."""


class RayRunner(Runner):
    """Answers photos on a cluster of Ray, or on one that is started here for the run.

    Workers, which hold a model each, read and answer the photos in batches. Tasks beside them read archives and films, so that
    several workers may share the photos of one. Ray holds reading back while workers are behind, and starts a worker anew that
    dies.
    """

    def __init__(
        self,
        model: ServedModel,
        create: Callable[[int], Predictor],
        address: str | None,
        workers: int | None,
        cpus: int = CPUS,
        jobs: int = 0,
    ) -> None:
        """Connect to the cluster, or start one.

        Args:
            model: The model that every worker holds.
            create: Makes the predictor of a worker, in its process, for a number of CPUs; it is pickled.
            address: Of the cluster's head, such as `ray://head:10001`, or `auto`; None starts a cluster on this machine.
            workers: Their number; None for as many as the cluster has CPUs for.
            cpus: Most CPUs that a worker takes; it takes fewer where so many workers would not fit on this machine.
            jobs: Photos that a worker has in work at a time; 0 for as many as keep its CPUs busy.

        Raises:
            RunError: Ray is not installed, or the cluster is not reached.
        """
        if find_spec("ray") is None:
            raise RunError(f"--engine ray needs the extra `ray`: {install_command('ray')}")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Facet opens no connection that its user did not ask for
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
        warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\..*")  # about blocks, where photos are few
        import ray

        self._ray, self._model, self._create = ray, model, create
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": None if address else False}
        try:
            ray.init(address, **{name: value for name, value in quiet.items() if value is not None})
        except Exception as error:  # Ray says by a bare one that a machine did not start in time
            raise RunError(f"the Ray cluster is not reached: {_reason(error)}") from error
        there = int(ray.cluster_resources().get("CPU", 1))
        self._workers = workers or max(1, there // cpus)
        # A cluster elsewhere may start more machines; a worker that does not fit on this one would never be started.
        self._cpus = cpus if address else max(1, min(cpus, there // self._workers))
        self._jobs = jobs or jobs_of(self._cpus)

    @property
    def model(self) -> ServedModel:
        """The model that every worker holds."""
        return self._model

    @override
    def run(self, places: Iterable[Place], emit: Emit, skip: Callable[[str], bool] = lambda _: False) -> None:
        items = [_item(place) for place in places if not (isinstance(place, Photo) and skip(place.name))]
        if not items:
            return
        try:
            for row in self._answers(items):
                outcome: Outcome = pickle.loads(row["outcome"])  # noqa: S301 - of our own worker
                if not isinstance(outcome, Failure) and outcome.digest != self._model.digest:
                    raise RunError("a worker has another model than this machine: give all the same model store")
                if not skip(row["name"]):
                    emit(row["name"], outcome)
        except self._ray.exceptions.RayError as error:
            raise RunError(f"the run on Ray failed: {_reason(error)}") from error

    @override
    def close(self) -> None:
        self._ray.shutdown()

    def _answers(self, items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Names and pickled outcomes of all photos, in order."""
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        context.target_max_block_size = BLOCK_BYTES
        blocks = -(-len(items) // PLACES_A_BLOCK)
        listed = ray.data.from_items(items, override_num_blocks=max(blocks, min(self._workers, len(items))))
        if any(not item["photo"] for item in items):
            # Reading waits more than it computes, and counts for no CPU: the workers may have them all.
            listed = listed.flat_map(_read, num_cpus=0, concurrency=READERS * self._workers)
        answered = listed.map_batches(
            _Worker,
            fn_constructor_args=(self._create, self._cpus, self._jobs),
            batch_size=None,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=self._cpus,
            ray_remote_args_fn=lambda: {"max_restarts": RETRIES, "max_task_retries": RETRIES},
        )
        return iter(answered.iter_rows())


class _Worker:
    """A predictor in a process of its own, which has as many photos in work as the engine of one machine has."""

    def __init__(self, create: Callable[[int], Predictor], cpus: int, jobs: int) -> None:
        self._predictor, self._jobs = create(cpus), jobs
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(2 * jobs + THREADS))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the photos of a batch of pickled places; `outcome` is pickled, too."""
        names: list[str] = []
        outcomes: list[bytes] = []

        def emit(name: str, outcome: Outcome) -> None:
            names.append(name)
            outcomes.append(pickle.dumps(outcome))

        places = (pickle.loads(place) for place in batch["place"])  # noqa: S301 - of our own making
        self._loop.run_until_complete(run(photos(places), self._predictor, emit, jobs=self._jobs))
        return {"name": np.array(names, dtype=object), "outcome": np.array(outcomes, dtype=object)}


def _read(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The photos of one place: a photo as it is, those of an archive or film with their bytes."""
    if item["photo"]:
        yield item
        return
    for photo in photos([pickle.loads(item["place"])]):  # noqa: S301 - of our own making
        yield _item(photo)


def _item(place: Place) -> dict[str, Any]:
    return {"place": _pickled(place), "photo": isinstance(place, Photo)}


def _pickled(place: Place) -> bytes:
    try:
        return pickle.dumps(place)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RunError(f"{place.name}: only files and addresses can be read by the machines of a cluster") from error


def _reason(error: Exception) -> str:
    """The last line that says something: Ray puts tracebacks of its workers into its messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
