"""The same graphs as `vla_inference.onnx_policy` in OpenVINO, which is an extra.

The entry point `openvino`. OpenVINO is imported when a policy is made, so that a robot without it
can still name the policies there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.errors import CheckpointError
from vla_core.manifest import load_manifest
from vla_inference.onnx_policy import OnnxPolicy


class OpenVinoGraph:
    """An ONNX graph compiled for the CPU."""

    def __init__(self, precision: str, model: Path, threads: int) -> None:
        """Compile it.

        Args:
            precision: f32 or bf16, in which what is not int8 is computed.
            model: file of the graph.
            threads: of one inference.

        Raises:
            CheckpointError: if OpenVINO is not installed or cannot load the graph.
        """
        openvino = _openvino()
        options = {
            'INFERENCE_PRECISION_HINT': precision,
            'INFERENCE_NUM_THREADS': threads,
            'PERFORMANCE_HINT': 'LATENCY',
            'ENABLE_CPU_PINNING': False,
        }
        try:
            compiled = openvino.Core().compile_model(str(model), 'CPU', options)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise CheckpointError(f'{model.parent.name}/{model.name}: {error}') from error
        self._inputs = {name for port in compiled.inputs for name in port.names}

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute the named outputs; inputs that the graph does not use fall away."""
        used = {name: value for name, value in inputs.items() if name in self._inputs}
        found = self._request.infer(used, share_inputs=True)
        return [found[name].copy() for name in outputs]


def create(checkpoint: Path | None, device: str = 'auto') -> OnnxPolicy:
    """Make the policy for the entry point `openvino`.

    Raises:
        CheckpointError: if no folder is given, the device is not the CPU, or OpenVINO is missing.
    """
    if checkpoint is None:
        raise CheckpointError('policy openvino: no checkpoint given: expected a folder')
    if device not in ('auto', 'cpu'):
        raise CheckpointError(f'policy openvino: device {device!r}: expected auto or cpu')
    _openvino()
    precision = load_manifest(checkpoint).runtime.precision
    return OnnxPolicy(checkpoint, partial(OpenVinoGraph, precision))


def _openvino() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f'policy openvino: {error.name} is not installed: run `make setup-optimise`'
        ) from error
    except ImportError as error:
        raise CheckpointError(f'policy openvino: it cannot be imported: {error}') from error
    return openvino
