"""TensorRT in float16, through onnxruntime's execution provider."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from vla_core.errors import CheckpointError
from vla_core.policy import Policy
from vla_inference.onnx_policy import OnnxPolicy
from vla_learning.optimise import exported
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.subject import Subject
from vla_learning.optimise.variants import Variant

_PROVIDERS = (
    ('TensorrtExecutionProvider', {'trt_fp16_enable': True}),
    'CUDAExecutionProvider',
    'CPUExecutionProvider',
)


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Write the float graphs; the engine is built when they are opened."""
    exported.build(variant, subject, calibration, folder, threads)


def open(variant: Variant, checkpoint: Path, folder: Path) -> Policy:  # noqa: A001
    """Build the engine; single operations that TensorRT lacks run on the next provider.

    Raises:
        CheckpointError: if TensorRT cannot be loaded: figures of CUDA are none of TensorRT's.
    """

    def session(model: Path, threads: int) -> onnxruntime.InferenceSession:
        session = onnxruntime.InferenceSession(
            str(model), providers=list(_PROVIDERS), enable_fallback=False
        )
        found = session.get_providers()
        if found[0] != _PROVIDERS[0][0]:
            raise CheckpointError(f'{model.name} would run on {found}: expected TensorRT first')
        return session

    return OnnxPolicy(folder, session)
