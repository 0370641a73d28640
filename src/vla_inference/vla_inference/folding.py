"""Open a large frozen graph in little memory: the same numbers from weights in a mapped file.

An encoder whose weights ship as int8 is widened to float32 when it is opened, with every copy on
the way in this process's heap, for good. Here a child process opens it, writes down what
onnxruntime made of it, and ends; this process maps that file and touches only the rows of the
words that it hears. The answers are equal to the bit.
"""

import ctypes
import logging
from pathlib import Path
import subprocess
import sys
from tempfile import TemporaryDirectory

import onnxruntime

from vla_core.errors import CheckpointError
from vla_inference.sessions import open_session, session_options

#: s for the child, which needs half a second of one core.
PATIENCE = 30.0
#: Bytes from which on a weight goes into the file.
_LARGE = 1024
_GRAPH, _WEIGHTS = 'graph.onnx', 'weights.bin'
_logger = logging.getLogger(__name__)


def open_folded(
    model: Path, threads: int = 1, patience: float = PATIENCE
) -> onnxruntime.InferenceSession:
    """Open an ONNX model like `open_session`, in less memory where a child can prepare it.

    Without one (no space, no time) it is opened as it is: the answers are the same.

    Args:
        model: file of the graph.
        threads: of one inference.
        patience: s for the child.

    Raises:
        CheckpointError: if onnxruntime cannot load it.
    """
    try:
        with TemporaryDirectory(prefix='vla_folded_') as folder:
            graph = Path(folder) / _GRAPH
            _fold_in_child(model, graph, patience)
            # The file stays mapped when its name is gone, and nobody can change it any more.
            return open_session(graph, threads, optimise=False)
    except (OSError, subprocess.SubprocessError, CheckpointError) as error:
        _logger.warning('%s is opened without a child, in more memory: %s', model.name, error)
    return open_session(model, threads)


def fold(model: Path, graph: Path) -> None:
    """Write what onnxruntime makes of a model: a graph, and its weights in a file beside it."""
    options = session_options(threads=1)
    options.optimized_model_filepath = str(graph)
    entry = 'session.optimized_model_external_initializers_'
    options.add_session_config_entry(f'{entry}file_name', _WEIGHTS)
    options.add_session_config_entry(f'{entry}min_size_in_bytes', str(_LARGE))
    onnxruntime.InferenceSession(str(model), options, providers=['CPUExecutionProvider'])


def give_back() -> None:
    """Return to the system what loading has freed; only glibc would keep it, and can be asked."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def _fold_in_child(model: Path, graph: Path, patience: float) -> None:
    """Fold in a process that takes all it needed with it.

    Raises:
        subprocess.SubprocessError: if it fails or takes too long.
    """
    done = subprocess.run(
        [sys.executable, '-m', __name__, str(model), str(graph)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=patience,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise subprocess.SubprocessError(f'the child ended with {done.returncode}: {last}')


if __name__ == '__main__':
    fold(Path(sys.argv[1]), Path(sys.argv[2]))
