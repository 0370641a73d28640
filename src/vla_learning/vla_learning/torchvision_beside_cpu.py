"""Import torchvision, also where its CUDA build stands beside a CPU build of torch.

Such a torchvision fails on import ("operator torchvision::nms does not exist"), and transformers,
torchmetrics and timm with it. Declaring the two operators it misses is enough for models and
transforms; only calling `ops.nms` or `io` still fails. Import this module before any of them:

    from vla_learning import torchvision_beside_cpu  # noqa: F401

A matching pair, or a machine without torchvision, is left as it is.
"""

import contextlib
import importlib
import sys

import torch

_MISSING = ('nms', 'qnms')
_SCHEMA = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
#: Keeps the declared operators: they vanish with it.
_LIBRARY: list[torch.library.Library] = []


def _import_torchvision() -> None:
    try:
        importlib.import_module('torchvision')
        return
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
    for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
        del sys.modules[name]
    library = torch.library.Library('torchvision', 'DEF')
    for operator in _MISSING:
        library.define(operator + _SCHEMA)
    _LIBRARY.append(library)
    importlib.import_module('torchvision')


with contextlib.suppress(ModuleNotFoundError):
    _import_torchvision()
