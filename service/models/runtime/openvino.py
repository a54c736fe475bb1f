"""SavedModels and their variants run by OpenVINO, which reads the folder itself: no TensorFlow."""

from __future__ import annotations

import io
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or the import below reports it to its makers
import openvino as ov  # noqa: E402

from service.arrays import Floats, Pixels  # noqa: E402
from service.errors import ModelIncompatible  # noqa: E402
from service.models.runtime import Loader, Network, Precision  # noqa: E402

ANY_SIZE_CACHE: Final = 64
"""Compiled primitives that are kept of a network that takes any picture size, whose memory would else grow with each size."""

# Never released: on CPUs with AMX the plugin of a core gives the thread that loads it a signal stack of its own. It unmaps it
# with the core, on whichever thread that happens, and the first thread's next signal would end the process.
_CORE: Final = ov.Core()
_CORE.set_property({"ENABLE_MMAP": False})  # weights are the process's own: a file that is overwritten changes no answer

# Its bindings make their table of array types when one is first asked for, and let other threads run meanwhile. A second thread
# that asked then would wait for the table with the interpreter's lock held, and both for ever (OpenVINO 2026.4).
ov.Type.f32.to_dtype()

Config = dict[str, str | int | bool]

_LOADED: Final[weakref.WeakSet[_Network]] = weakref.WeakSet()
_LOADING: Final = threading.Lock()
"""Held while that set changes, or is gone through."""

KEPT_BYTES: Final = 2**20
"""Bytes of the largest picture or batch for whose sake nothing is given back; a search takes some 17 times as much for it."""


def loader(precision: Precision, threads: int) -> Loader:
    """Make the function that reads SavedModel folders with OpenVINO; all networks share one core.

    Args:
        precision: Arithmetic of the networks.
        threads: Most threads that one network uses.

    Returns:
        The function; it raises `ModelIncompatible` for what OpenVINO cannot read. For `int8` it takes the IR of a variant, and
        computes in float32 what is not quantised in it.
    """
    config: Config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # By default the threads of every network, in every process, are pinned to the first CPUs, and the others stay idle.
        "ENABLE_CPU_PINNING": False,
    }
    if precision is not Precision.AUTO:
        config["INFERENCE_PRECISION_HINT"] = Precision.F32.value if precision.variant else precision.value

    def load(place: Path) -> Network:
        kind = "network" if precision.variant else "SavedModel"
        try:
            model = _CORE.read_model(str(place))
            sizes = list(model.inputs[0].partial_shape)[1:3]
            bounded: Config = {"CPU_RUNTIME_CACHE_CAPACITY": ANY_SIZE_CACHE} if any(size.is_dynamic for size in sizes) else {}
            compiled = _CORE.compile_model(model, "CPU", config | bounded)
        except RuntimeError as error:
            raise ModelIncompatible(f"OpenVINO cannot read the {kind}: {_reason(error)}") from error
        return _Network(compiled, precision.variant, config | bounded)

    return load


def _reason(error: RuntimeError) -> str:
    """The last line of what OpenVINO says, which has no place in its sources."""
    return str(error).strip().rpartition("\n")[2]


def release() -> None:
    """Have all networks give back the memory between their layers, but for those that compute at the moment.

    It is as large as their largest picture or batch since then asked for, tens of megabytes, and they keep it for the next one.
    What `KEPT_BYTES` asked for stays, so that it need not be taken anew for the small photo that comes after a rest.
    """
    with _LOADING:
        networks = list(_LOADED)
    for network in networks:
        network.release()


class _Network:
    """A compiled model with one infer request a thread: a request serves one call at a time, and threads are few."""

    def __init__(
        self, compiled: ov.CompiledModel, variant: str | None, config: Config, first: ov.CompiledModel | None = None
    ) -> None:
        self._compiled, self._variant, self._config = compiled, variant, config
        self._first = first or compiled  # what was imported once cannot be exported to be imported again (OpenVINO 2026.4)
        self._local = threading.local()
        self._outputs = [(min(port.get_names(), key=len), port) for port in compiled.outputs]
        self.precision: str = variant or compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._calls, self._largest, self._counting = 0, 0, threading.Lock()
        with _LOADING:
            _LOADED.add(self)

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        request: ov.InferRequest | None = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        with self._computing(batch.nbytes):
            # Given to `infer`, which lists a request's inputs first, it takes a fifth longer for one face in O-Net.
            self._local.batch = np.require(batch, requirements=["C", "W"])  # no tensor keeps what it shares
            request.set_input_tensor(ov.Tensor(self._local.batch, shared_memory=True))
            request.infer(share_outputs=True)
            return {name: np.array(request.get_tensor(port).data, dtype=np.float32) for name, port in self._outputs}

    @contextmanager
    def _computing(self, size: int) -> Iterator[None]:
        """Within the context the network's memory stays; `size` is that of its input, in bytes."""
        with self._counting:
            self._calls += 1
            self._largest = max(self._largest, size)
        try:
            yield
        finally:
            with self._counting:
                self._calls -= 1

    def release(self) -> None:
        """Give back the memory between its layers where it is large, unless it computes; a call that begins meanwhile waits for
        milliseconds.
        """
        with self._counting:
            if not self._calls and self._largest > KEPT_BYTES:
                self._compiled.release_memory()
                self._largest = 0

    def again(self, threads: int) -> Network:
        """Compile what the first time made of the files, which is where the time went."""
        config = self._config | {"INFERENCE_NUM_THREADS": threads}
        stream = io.BytesIO()
        try:
            self._first.export_model(stream)
            compiled = _CORE.import_model(stream.getvalue(), "CPU", config)
        except RuntimeError as error:
            raise ModelIncompatible(f"OpenVINO cannot compile a network again: {_reason(error)}") from error
        return _Network(compiled, self._variant, config, self._first)
