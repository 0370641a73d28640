"""Static int8: the ranges of all activations are taken from real frames.

Weights int8 per channel, activations uint8 per tensor, as quantise-dequantise pairs that both
runtimes fuse. Of the network that computes a frame only convolutions are rounded, 97 % of the work
at the full scale, and not the first two groups of them, whose errors all others carry on; the rest
is in the float type of the runtime, and so is the language side: it runs once per instruction, and
its errors are in every frame after that. Only what goes into a layer is rounded: what comes out is
rounded where the next one takes it, after the activation function, in a smaller range. The last
layer is then fitted again to what the rounded ones before it give.

Shape legend: N frames, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging
from pathlib import Path
import re
import tempfile
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    quantize_static,
    QuantType,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from vla_inference.onnx_policy import POLICY_FILE
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.ridge import ridge
from vla_learning.optimise.subject import Subject
from vla_learning.optimise.torch_policy import TorchPolicy

#: Names of convolutions that stay float: the first two groups of the vision trunk.
_FIRST = re.compile(r'/vision/.*\blayers\.[01]/')
#: Weights of the layer that gives the action.
_LAST = 'policy.action.weight'
#: Strength of the ridge with which the last layer is fitted again.
_RIDGE = 1.0
#: Native actions this near ±1 would need an infinite sum before tanh.
_LARGEST = 0.999


def quantise(folder: Path, subject: Subject, calibration: Probe) -> None:
    """Turn the float graph in a folder that computes a frame into an int8 one."""
    rows, actions = _frames(subject, calibration)
    _quantise(folder / POLICY_FILE, rows)
    refit(folder / POLICY_FILE, rows, actions)


def refit(file: Path, rows: Sequence[Mapping[str, np.ndarray]], actions: np.ndarray) -> None:
    """Fit the last layer of a graph so that it gives these actions, changing it little.

    Args:
        file: of the graph; is written again.
        rows: inputs of N frames.
        actions: native, [N, O].
    """
    model = onnx.load(file)
    layer = next(node for node in model.graph.node if _LAST in node.input)
    hidden_name, *names = layer.input
    model.graph.output.append(onnx.ValueInfoProto(name=hidden_name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    used = [port.name for port in session.get_inputs()]
    hidden = np.concatenate(
        [session.run([hidden_name], {name: row[name] for name in used})[0] for row in rows]
    )
    model.graph.output.pop()
    places = {one.name: one for one in model.graph.initializer}
    weight, bias = (numpy_helper.to_array(places[name]) for name in names)
    # Beyond its reach an action is as good as ±1: what goes on there is nothing to mend.
    reach = np.arctanh(_LARGEST)
    given = (hidden @ weight.T + bias).clip(-reach, reach)
    wanted = np.arctanh(actions.clip(-_LARGEST, _LARGEST)) - given
    for name, old, more in zip(names, (weight, bias), ridge(hidden, wanted, _RIDGE), strict=True):
        places[name].CopyFrom(numpy_helper.from_array((old + more).astype(np.float32), name))
    onnx.save(model, file)


def _frames(
    subject: Subject, calibration: Probe
) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Return what goes into the graph, and the native actions that come of it, [N, O]."""
    policy = TorchPolicy(subject)
    languages = {text: policy.encode(text) for text in dict.fromkeys(calibration.texts)}
    rows, actions = [], []
    for number in range(len(calibration)):
        language = languages[calibration.text(number)]
        seen = calibration.observation(number, policy.spec.cameras[0].name)
        actions.append(policy.infer(seen, language).actions.ravel())
        words: Any = language.features
        rows.append(
            {
                'image': calibration.images[number][None],
                'tokens': words.tokens.numpy(),
                'pooled': words.pooled.numpy(),
            }
        )
    return rows, np.stack(actions)


def _quantise(file: Path, inputs: Sequence[Mapping[str, np.ndarray]]) -> None:
    names = {port.name for port in onnx.load(file, load_external_data=False).graph.input}
    rows = [{name: value for name, value in row.items() if name in names} for row in inputs]
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
            op_types_to_quantize=['Conv'],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={'OpTypesToExcludeOutputQuantization': ['Conv']},
            nodes_to_exclude=[node.name for node in graph.node if _FIRST.search(node.name)],
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
    def __init__(self, rows: list[dict[str, np.ndarray]]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next inputs; None at the end."""
        return next(self._rows, None)
