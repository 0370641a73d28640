"""Sessions of onnxruntime, all opened in one way.

Imports little else: a child that opens one graph has to be quick.
"""

from pathlib import Path

import onnxruntime

from vla_core.errors import CheckpointError


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the options of every session here: threads that sleep, not spin, while they wait."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    return options


def open_session(
    model: Path, threads: int = 1, optimise: bool = True
) -> onnxruntime.InferenceSession:
    """Open an ONNX model.

    Args:
        model: file of the graph.
        threads: of one inference; one, unless the checkpoint asks for more.
        optimise: False for a graph that onnxruntime has optimised before.

    Raises:
        CheckpointError: if onnxruntime cannot load it.
    """
    options = session_options(threads)
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            str(model), options, providers=['CPUExecutionProvider']
        )
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise CheckpointError(f'{model.parent.name}/{model.name}: {error}') from error
