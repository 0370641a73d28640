"""Static int8: the ranges of all activations are taken from real frames.

Weights int8 per channel, activations uint8 per tensor, as quantise-dequantise pairs that both
runtimes fuse. What is small or sensitive stays float: normalisation of the picture, softmax, layer
norms, the last layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import logging
from pathlib import Path
import tempfile

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    quantize_static,
    QuantType,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
import torch

from vla_inference.onnx_policy import POLICY_FILE
from vla_learning.onnx_graphs import ENCODER_FILE
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.subject import Subject
from vla_learning.optimise.torch_policy import TorchPolicy

#: Layers that give the action and its end: a rounding there is a rounding of the action.
_FLOAT = ('action', 'done')


def quantise(folder: Path, subject: Subject, calibration: Probe) -> None:
    """Turn the float graphs in a folder into int8 ones."""
    _quantise(folder / POLICY_FILE, _frames(subject, calibration), ('Conv', 'MatMul', 'Gemm'))
    if subject.policy.encoder is not None:
        texts = dict.fromkeys(calibration.texts)
        ids = (subject.policy.encoder.tokenize([text]).ids.numpy() for text in texts)
        _quantise(folder / ENCODER_FILE, ({'input_ids': one} for one in ids), ('MatMul', 'Gemm'))


def _frames(subject: Subject, calibration: Probe) -> Iterator[dict[str, np.ndarray]]:
    policy = TorchPolicy(subject)
    for image, text in zip(calibration.images, calibration.texts, strict=True):
        with torch.no_grad():
            words = policy.encode(text).features
        yield {
            'image': image[None],
            'tokens': words.tokens.numpy(),
            'pooled': words.pooled.numpy(),
        }


def _quantise(
    file: Path, inputs: Iterable[dict[str, np.ndarray]], operations: tuple[str, ...]
) -> None:
    names = {port.name for port in onnx.load(file, load_external_data=False).graph.input}
    rows = [{name: value for name, value in row.items() if name in names} for row in inputs]
    missing = names - set(rows[0])
    for row in rows:
        # Masks and types of exported BERTs, where a graph kept them.
        row.update({n: np.full_like(row['input_ids'], n == 'attention_mask') for n in missing})
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / file.name
        # Symbolic shapes fail on a free number of words; names are what is needed.
        quant_pre_process(file, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        logging.getLogger().setLevel(logging.WARNING)
        quantize_static(
            prepared,
            file,
            _Reader(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operations),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[node.name for node in graph.node if _sensitive(node, graph)],
        )


def _sensitive(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """Whether a node is one of the last layers, or multiplies two activations (attention)."""
    if node.op_type not in ('MatMul', 'Gemm'):
        return False
    weights = {one.name for one in graph.initializer}
    if any(f'policy.{name}.' in given for name in _FLOAT for given in node.input):
        return True
    return not weights & set(node.input)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
    def __init__(self, rows: list[dict[str, np.ndarray]]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next inputs; None at the end."""
        return next(self._rows, None)
