"""Photos on many machines: read, answer and collect as a pipeline of Ray Data; needs the extra `ray`."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from typing_extensions import override

from service.extras import install_command
from service.offline.errors import RunError
from service.offline.predictors import Predictor, ServedModel
from service.offline.run import Emit, Runner
from service.offline.sources import Photo, Place, photos
from service.offline.table import Failure, Outcome

PLACES_A_BLOCK: Final = 64
"""Photos, or archives, that one task reads. Their bytes wait in the memory that Ray's workers share."""
PHOTOS_A_BATCH: Final = 16
"""Photos that a worker is given at a time. What it had of them is answered again where it dies."""
CPUS: Final = 2
"""CPUs of a worker: one photo keeps hardly more of them busy."""
READERS: Final = 2
"""Tasks that read at a time, for each worker."""
RETRIES: Final = 3
"""Times that a worker is started anew, and a batch given to another one, before the run fails."""


class RayRunner(Runner):
    """Answers photos on a cluster of Ray, or on one that is started here for the run.

    A task reads a block of places, and workers, which hold a model each, answer the photos in batches. Ray holds reading back
    while workers are behind, and starts a worker anew that dies.
    """

    def __init__(
        self, model: ServedModel, create: Callable[[], Predictor], address: str | None, workers: int | None, cpus: int = CPUS
    ) -> None:
        """Connect to the cluster, or start one.

        Args:
            model: The model that every worker holds.
            create: Makes the predictor of a worker, in its process; it is pickled.
            address: Of the cluster's head, such as `ray://head:10001`, or `auto`; None starts a cluster on this machine.
            workers: Their number; None for as many as the cluster has CPUs for.
            cpus: CPUs that a worker takes.

        Raises:
            RunError: Ray is not installed, or the cluster is not reached.
        """
        if find_spec("ray") is None:
            raise RunError(f"--engine ray needs the extra `ray`: {install_command('ray')}")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Facet opens no connection that its user did not ask for
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
        warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\..*")  # about blocks, where photos are few
        import ray

        self._ray, self._model, self._create, self._cpus = ray, model, create, cpus
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": None if address else False}
        try:
            ray.init(address, **{name: value for name, value in quiet.items() if value is not None})
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RunError(f"the Ray cluster is not reached: {str(error).splitlines()[0]}") from error
        self._workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // cpus)

    @property
    def model(self) -> ServedModel:
        """The model that every worker holds."""
        return self._model

    @override
    def run(self, places: Iterable[Place], emit: Emit, skip: Callable[[str], bool] = lambda _: False) -> None:
        items = [{"place": _pickled(place)} for place in places if not (isinstance(place, Photo) and skip(place.name))]
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

    def _answers(self, items: list[dict[str, bytes]]) -> Iterator[dict[str, Any]]:
        """Names and pickled outcomes of all photos, in order."""
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        blocks = -(-len(items) // PLACES_A_BLOCK)
        listed = ray.data.from_items(items, override_num_blocks=max(blocks, min(self._workers, len(items))))
        # Reading waits more than it computes, and counts for no CPU: the workers may have them all.
        read = listed.flat_map(_read, num_cpus=0, concurrency=READERS * self._workers)
        answered = read.map_batches(
            _Worker,
            fn_constructor_args=(self._create,),
            batch_size=PHOTOS_A_BATCH,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=self._cpus,
            ray_remote_args_fn=lambda: {"max_restarts": RETRIES, "max_task_retries": RETRIES},
        )
        return iter(answered.iter_rows())


class _Worker:
    """A predictor in a process of its own."""

    def __init__(self, create: Callable[[], Predictor]) -> None:
        self._predictor = create()
        self._loop = asyncio.new_event_loop()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer a batch of photos by `name`, with their `data`, or the `problem` that reading them had."""
        outcomes = self._loop.run_until_complete(self._all(batch))
        return {"name": batch["name"], "outcome": np.array([pickle.dumps(one) for one in outcomes], dtype=object)}

    async def _all(self, batch: dict[str, Any]) -> list[Outcome]:
        async def one(name: str, data: bytes, problem: str) -> Outcome:
            return Failure("unreadable", problem) if problem else await self._predictor.predict(name, data)

        rows = zip(batch["name"], batch["data"], batch["problem"], strict=True)
        return await asyncio.gather(*(one(str(name), bytes(data), str(problem)) for name, data, problem in rows))


def _read(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The photos of one place: their names, and their bytes or why these cannot be read."""
    for photo in photos([pickle.loads(item["place"])]):  # noqa: S301 - of our own making
        try:
            yield {"name": photo.name, "data": photo.read(), "problem": ""}
        except OSError as error:
            yield {"name": photo.name, "data": b"", "problem": error.strerror or str(error)}


def _pickled(place: Place) -> bytes:
    try:
        return pickle.dumps(place)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RunError(f"{place.name}: only files and addresses can be read by the machines of a cluster") from error


def _reason(error: Exception) -> str:
    """The last line that says something: Ray puts tracebacks of its workers into its messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
