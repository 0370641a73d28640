"""How much work one run of an ONNX graph is, from what onnxruntime reports of its nodes.

Counted are the products of matrices and the convolutions, two operations per multiply-add; all
else is a few operations per number that they give. The bytes are those of the graph as onnxruntime
runs it: of every node the weights, and what it reads and writes beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

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
#: Operators that look at what they are given in another shape, and move nothing.
_VIEWS = ('Flatten', 'Identity', 'Reshape', 'Shape', 'Squeeze', 'Unsqueeze')

Shape = Sequence[int]
_LEVELS = onnxruntime.GraphOptimizationLevel


class Work(NamedTuple):
    """What one run of a graph takes.

    Attributes:
        operations: two per multiply-add of its products and convolutions.
        weights: bytes of all initialisers, each as often as a node reads it.
        activations: bytes that its nodes read and write beside them.
    """

    operations: int
    weights: int
    activations: int


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


def work_of(model: Path, feeds: Mapping[str, np.ndarray]) -> Work:
    """Run a graph once as it was exported, and once optimised, and return its work.

    Args:
        model: ONNX file.
        feeds: its inputs.

    Raises:
        VlaError: if it holds a product whose work is not known.
    """
    # Fused nodes would hide the shapes, and are what moves the bytes.
    exported, fused = (
        _nodes(model, feeds, level) for level in (_LEVELS.ORT_DISABLE_ALL, _LEVELS.ORT_ENABLE_ALL)
    )
    count = sum(
        operations(node['op_name'], _shapes(node, 'input'), _shapes(node, 'output')[0])
        for node in exported
        if node['output_type_shape']
    )
    moving = [node for node in fused if node['op_name'] not in _VIEWS]
    weights = sum(int(node['parameter_size']) for node in moving)
    read_and_written = ('activation_size', 'output_size')
    activations = sum(int(node[side]) for node in moving for side in read_and_written)
    return Work(count, weights, activations)


def _nodes(
    model: Path, feeds: Mapping[str, np.ndarray], level: onnxruntime.GraphOptimizationLevel
) -> list[dict[str, Any]]:
    """Run a graph once and return what onnxruntime reports of each node that ran."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    # Packed weights would hide the shapes, and their bytes.
    options.graph_optimization_level = level
    options.add_session_config_entry('session.disable_prepacking', '1')
    with TemporaryDirectory(prefix='vla_work_') as folder:
        options.profile_file_prefix = f'{folder}/nodes'
        session = onnxruntime.InferenceSession(
            str(model), options, providers=['CPUExecutionProvider']
        )
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding='utf-8'))
    return [
        event['args']
        for event in events
        if event.get('cat') == 'Node' and event['name'].endswith('_kernel_time')
    ]


def _shapes(node: Mapping[str, list[dict[str, list[int]]]], side: str) -> list[Shape]:
    return [shape for one in node[f'{side}_type_shape'] for shape in one.values()]
