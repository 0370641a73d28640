"""How much work one run of an ONNX graph is, from the shapes that onnxruntime reports.

Counted are the products of matrices and the convolutions, two operations per multiply-add; all
else is a few operations per number that they give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from vla_core.errors import VlaError

#: Operators whose weights are the second input.
_PRODUCTS = ('MatMul', 'MatMulInteger', 'Gemm')
_CONVOLUTIONS = ('Conv', 'ConvInteger')
#: Operators that are as much work, but whose shapes say it in another way.
_UNKNOWN = (
    *('Attention', 'ConvTranspose', 'Einsum', 'GRU', 'LSTM', 'RNN'),
    *('QGemm', 'QLinearConv', 'QLinearMatMul'),
)

Shape = Sequence[int]


def operations(kind: str, inputs: Sequence[Shape], output: Shape) -> int:
    """Return the operations of one node.

    Args:
        kind: ONNX operator.
        inputs: shapes of its inputs.
        output: shape of its output.

    Raises:
        VlaError: if it is a product whose work is not known from these.
    """
    if kind in _UNKNOWN:
        raise VlaError(f'operator {kind}: expected one of {(*_PRODUCTS, *_CONVOLUTIONS)}')
    if kind in _CONVOLUTIONS:
        # [channels out, channels in of one group, kernel ...]
        return 2 * prod(output) * prod(inputs[1][1:])
    if kind == 'Gemm':
        # Either factor may be transposed; the first one has output rows times inner columns.
        return 2 * prod(output) * (prod(inputs[0]) // output[0])
    if kind in _PRODUCTS:
        return 2 * prod(output) * inputs[0][-1]
    return 0


def work_of(model: Path, feeds: Mapping[str, np.ndarray]) -> int:
    """Run a graph once, as it was exported, and return its operations.

    Args:
        model: ONNX file.
        feeds: its inputs.

    Raises:
        VlaError: if it holds a product whose work is not known.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    # Fused nodes and packed weights would hide the shapes.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry('session.disable_prepacking', '1')
    with TemporaryDirectory(prefix='vla_work_') as folder:
        options.profile_file_prefix = f'{folder}/nodes'
        session = onnxruntime.InferenceSession(
            str(model), options, providers=['CPUExecutionProvider']
        )
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding='utf-8'))
    return sum(
        operations(event['args']['op_name'], _shapes(event, 'input'), _shapes(event, 'output')[0])
        for event in events
        if event.get('cat') == 'Node' and event['name'].endswith('_kernel_time')
        if event['args']['output_type_shape']
    )


def _shapes(
    event: Mapping[str, Mapping[str, list[dict[str, list[int]]]]], side: str
) -> list[Shape]:
    return [shape for one in event['args'][f'{side}_type_shape'] for shape in one.values()]
