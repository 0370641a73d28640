"""The ways of running a network that are tried, and which of them this machine can try."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
import shutil
from typing import Protocol, TYPE_CHECKING

from vla_core.errors import ConfigError
from vla_core.policy import Policy

if TYPE_CHECKING:
    from vla_learning.optimise.probe import Probe
    from vla_learning.optimise.subject import Subject

TARGETS = ('cpu', 'cuda', 'edge')
#: What every other variant is compared with.
BASE = 'eager'


class Way(Protocol):
    """A module that makes and opens a variant; it is imported when it is used."""

    def build(
        self, variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
    ) -> None:
        """Write what opening needs into an empty folder."""
        ...

    def open(self, variant: Variant, checkpoint: Path, folder: Path) -> Policy:
        """Open what `build` wrote; `checkpoint` is what it was made of."""
        ...


@dataclass(frozen=True)
class Variant:
    """One way of running a network.

    Attributes:
        name: of the variant.
        text: what it is.
        way: module of this package that makes and opens it.
        targets: for which it is tried.
        needs: modules of other packages.
        device: cpu or cuda.
        int8: weights and activations are quantised.
        policy: entry point with which a robot runs it; empty: no robot does.
        precision: of the runtime, see `vla_core.manifest.Runtime`.
        kept: file that is kept beside the report, for a runtime that is none of this workspace.
    """

    name: str
    text: str
    way: str
    targets: tuple[str, ...] = ('cpu',)
    needs: tuple[str, ...] = ()
    device: str = 'cpu'
    int8: bool = False
    policy: str = ''
    precision: str = 'f32'
    kept: str = ''

    def available(self) -> str:
        """Say what is missing here; empty if nothing is."""
        missing = [name for name in self.needs if util.find_spec(name) is None]
        if missing:
            return f'{missing[0]} is not installed'
        if self.device == 'cuda':
            return _no_cuda(self.way)
        if self.way == 'compiled' and not any(map(shutil.which, ('g++', 'clang++'))):
            return 'torch.compile needs a C++ compiler: neither g++ nor clang++ is in PATH'
        return ''

    def build(self, subject: Subject, calibration: Probe, folder: Path, threads: int) -> None:
        """Make it in an empty folder."""
        self._way().build(self, subject, calibration, folder, threads)

    def open(self, checkpoint: Path, folder: Path) -> Policy:
        """Open it."""
        return self._way().open(self, checkpoint, folder)

    def _way(self) -> Way:
        module: Way = import_module(f'vla_learning.optimise.{self.way}')  # type: ignore[assignment]
        return module


_CPU, _ANY = ('cpu', 'edge'), ('cpu', 'cuda', 'edge')
VARIANTS = (
    Variant(BASE, 'torch as the trainer runs it', 'network', _ANY, ('torch',)),
    Variant('compile', 'torch.compile, weights frozen', 'compiled', needs=('torch',)),
    Variant('torchscript', 'TorchScript trace, frozen', 'traced', needs=('torch',)),
    Variant('dynamic_int8', 'torch, linear layers in dynamic int8', 'network', needs=('torch',)),
    Variant('pruned', '20 % of the channels removed', 'network', needs=('torch',)),
    Variant('sparse', '20 % of the weights set to 0', 'network', needs=('torch',)),
    Variant(
        *('onnx_fp32', 'ONNX Runtime', 'exported', _CPU),
        needs=('onnx', 'onnxruntime'),
        policy='onnx',
    ),
    Variant(
        *('onnx_int8', 'ONNX Runtime, convolutions in static int8', 'exported', _CPU),
        needs=('onnx', 'onnxruntime'),
        int8=True,
        policy='onnx',
    ),
    Variant(
        *('openvino_fp32', 'OpenVINO', 'exported', _CPU),
        needs=('onnx', 'openvino'),
        policy='openvino',
    ),
    Variant(
        *('openvino_bf16', 'OpenVINO in bfloat16', 'exported', _CPU),
        needs=('onnx', 'openvino'),
        policy='openvino',
        precision='bf16',
    ),
    Variant(
        *('openvino_int8', 'OpenVINO, convolutions in static int8', 'exported', _CPU),
        needs=('onnx', 'openvino'),
        int8=True,
        policy='openvino',
        precision='bf16',
    ),
    Variant(
        *('executorch', 'ExecuTorch with XNNPACK', 'edge', ('edge',)),
        needs=('torch', 'executorch'),
        kept='policy.pte',
    ),
    Variant('cuda', 'torch on the GPU', 'gpu', ('cuda',), ('torch',), 'cuda'),
    Variant('cuda_graph', 'torch, one CUDA graph per frame', 'gpu', ('cuda',), ('torch',), 'cuda'),
    Variant(
        *('tensorrt_fp16', 'TensorRT in float16', 'tensorrt', ('cuda',)),
        needs=('onnx', 'onnxruntime'),
        device='cuda',
    ),
)


def find(name: str) -> Variant:
    """Return a variant by name.

    Raises:
        ConfigError: if there is none of that name.
    """
    for variant in VARIANTS:
        if variant.name == name:
            return variant
    raise ConfigError(f'variant {name!r}: expected one of {[v.name for v in VARIANTS]}')


def chosen(target: str, only: tuple[str, ...]) -> list[Variant]:
    """Return the variants of a target, or those that are named, the base first.

    Raises:
        ConfigError: if the target or a name is unknown.
    """
    if target not in TARGETS:
        raise ConfigError(f'target {target!r}: expected one of {TARGETS}')
    if not only:
        return [variant for variant in VARIANTS if target in variant.targets]
    named = {find(name).name for name in only} | {BASE}
    return [variant for variant in VARIANTS if variant.name in named]


def _no_cuda(way: str) -> str:
    import torch

    if not torch.cuda.is_available():
        return 'no CUDA device, or a torch that was built without CUDA'
    if way == 'tensorrt':
        import onnxruntime

        providers = onnxruntime.get_available_providers()
        if 'TensorrtExecutionProvider' not in providers:
            return f'onnxruntime was built with {providers}: expected TensorrtExecutionProvider'
    return ''
