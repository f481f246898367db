"""Opens and runs ONNX models the way that suits a process full of models. Alone imports onnxruntime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy.typing as npt

from localvoice.engines import keep_silent
from localvoice.engines.worker import Stop

keep_silent()
import onnxruntime as ort  # noqa: E402 - only now

Inputs = Mapping[str, npt.NDArray[Any]]
"""Arrays by the names that the model gives them."""


_JUST_ENOUGH: Final = {"max_mem": 0, "arena_extend_strategy": 1}
"""For a store that grows by what is asked for. By default it doubles, and a voice's is 45 MB larger."""
_SHARED_STORE: Final = ("session.use_env_allocators", "1")
_GIVE_BACK: Final = ("memory.enable_memory_arena_shrinkage", "cpu:0")

# One store for all models that share: what a run takes is put together in large blocks, used again from node
# to node, and given back at the end of the run. Each piece by itself from the heap takes a fifth longer, and
# leaves the heap in pieces.
ort.create_and_register_allocator(  # type: ignore[attr-defined]
    ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT),  # type: ignore[attr-defined]
    ort.OrtArenaCfg(_JUST_ENOUGH),  # type: ignore[attr-defined]
)


class Session(Protocol):
    """A loaded model. Safe to use from several threads."""

    def run(self, outputs: None, inputs: Inputs, run_options: Any = None) -> list[npt.NDArray[Any]]:
        """All outputs, in the model's order."""
        ...


def open_session(
    model: Path | bytes, threads: int, keep_memory: bool = True, stop: Stop | None = None
) -> Session:
    """The model, a file or its bytes, on the CPU, with that many threads. Raises what onnxruntime raises.

    `keep_memory`: hold on to what one run took for the next. Without it a run of 0.1 ms takes half as long
    again, one of many ms no longer; with it a single long input leaves the process hundreds of MB larger.
    A session that doesn't is for `run_stoppable`. Setting `stop` ends the loading, which may take seconds,
    and `Stopped` is raised.
    """
    options = ort.SessionOptions()  # type: ignore[attr-defined]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin on the cores that another model computes on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = keep_memory
    if not keep_memory:
        options.add_session_config_entry(*_SHARED_STORE)
    # Warnings about the graph are for whoever exported it.
    options.log_severity_level = 3
    stop = stop or Stop()
    stop.on_set(lambda: options.set_load_cancellation_flag(True))
    try:
        session = ort.InferenceSession(  # type: ignore[attr-defined]
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception:
        stop.check()
        raise
    # onnxruntime keeps the bytes it was given beside the weights that it made of them: 60 MB of a voice.
    session._model_bytes = None
    return cast(Session, session)


def run_stoppable(session: Session, inputs: Inputs, stop: Stop) -> list[npt.NDArray[Any]]:
    """Run the model; setting `stop` ends it between two of its nodes, and `Stopped` is raised.

    Afterwards it holds no memory but its weights.
    """
    options = ort.RunOptions()  # type: ignore[attr-defined]
    options.add_run_config_entry(*_GIVE_BACK)
    stop.on_set(lambda: setattr(options, "terminate", True))
    try:
        return session.run(None, inputs, options)
    except Exception:
        stop.check()
        raise
