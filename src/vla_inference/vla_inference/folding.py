"""Open a large frozen graph in little memory: the same numbers from weights in a mapped file.

An encoder whose weights ship as int8 is widened to float32 when it is opened, with copies of it on
the way. Here onnxruntime writes down what it made of the graph, all of that is given back to the
system, and the file is mapped: only the rows of the words that are heard are ever touched. The
answers are equal to the bit.
"""

import ctypes
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

from vla_core.errors import CheckpointError
from vla_inference.sessions import open_session, session_options

#: Bytes from which on a weight goes into the file.
_LARGE = 1024
_GRAPH, _WEIGHTS = 'graph.onnx', 'weights.bin'
_logger = logging.getLogger(__name__)


def open_folded(model: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an ONNX model like `open_session`, but with its weights in a file without a name.

    Where that cannot be written (no space) it is opened as it is: the answers are the same.

    Args:
        model: file of the graph.
        threads: of one inference.

    Raises:
        CheckpointError: if onnxruntime cannot load it.
    """
    try:
        with TemporaryDirectory(prefix='vla_folded_') as folder:
            graph = Path(folder) / _GRAPH
            _fold(model, graph, threads)
            give_back()
            # The file stays mapped when its name is gone, and nobody can change it any more.
            return open_session(graph, threads, optimise=False)
    except (OSError, CheckpointError) as error:
        _logger.warning('%s is opened unfolded, in more memory: %s', model.name, error)
    return open_session(model, threads)


def give_back() -> None:
    """Return to the system what was freed; only glibc would keep it, and can be asked."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def _fold(model: Path, graph: Path, threads: int) -> None:
    """Write what onnxruntime makes of a model: a graph, and its weights in a file beside it.

    Raises:
        CheckpointError: if the model cannot be loaded, or the files cannot be written.
    """
    options = session_options(threads)
    options.optimized_model_filepath = str(graph)
    entry = 'session.optimized_model_external_initializers_'
    options.add_session_config_entry(f'{entry}file_name', _WEIGHTS)
    options.add_session_config_entry(f'{entry}min_size_in_bytes', str(_LARGE))
    try:
        onnxruntime.InferenceSession(str(model), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise CheckpointError(f'{model.parent.name}/{model.name}: {error}') from error
