"""Opens and runs ONNX models the way that suits a process full of models. Alone imports onnxruntime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy.typing as npt
import onnxruntime as ort

from localvoice.engines.worker import Stop

Inputs = Mapping[str, npt.NDArray[Any]]
"""Arrays by the names that the model gives them."""


class Session(Protocol):
    """A loaded model. Safe to use from several threads."""

    def run(self, outputs: None, inputs: Inputs, run_options: Any = None) -> list[npt.NDArray[Any]]:
        """All outputs, in the model's order."""
        ...


def open_session(model: Path | bytes, threads: int, keep_memory: bool = True) -> Session:
    """The model, a file or its bytes, on the CPU, with that many threads. Raises what onnxruntime raises.

    `keep_memory`: hold on to what one run took for the next. Without it a run of 0.1 ms takes half as long
    again, one of many ms no longer; with it a single long input leaves the process hundreds of MB larger.
    """
    options = ort.SessionOptions()  # type: ignore[attr-defined]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin on the cores that another model computes on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = keep_memory
    # Warnings about the graph are for whoever exported it.
    options.log_severity_level = 3
    session = ort.InferenceSession(  # type: ignore[attr-defined]
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
    # onnxruntime keeps the bytes it was given beside the weights that it made of them: 60 MB of a voice.
    session._model_bytes = None
    return cast(Session, session)


def run_stoppable(session: Session, inputs: Inputs, stop: Stop) -> list[npt.NDArray[Any]]:
    """Run the model; setting `stop` ends it between two of its nodes, and `Stopped` is raised."""
    options = ort.RunOptions()  # type: ignore[attr-defined]
    stop.on_set(lambda: setattr(options, "terminate", True))
    try:
        return session.run(None, inputs, options)
    except Exception:
        stop.check()
        raise
