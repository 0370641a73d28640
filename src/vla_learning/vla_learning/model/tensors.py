"""Files of tensors, read without ever running what they might contain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import pickle
import struct
import zipfile

from safetensors import SafetensorError
from safetensors.torch import load_file
import torch
from torch import nn, Tensor

from vla_core.errors import CheckpointError

#: Largest file that is read, in bytes; BERT-base and ResNet-50 together are 0.55 GB.
LARGEST = 8 << 30
#: torch's unpickler checks little: bytes that were changed fail wherever they are used.
_DAMAGED = (
    *(SafetensorError, zipfile.BadZipFile, OSError, EOFError, struct.error, MemoryError),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError),
    ValueError,
)


def read_tensors(file: Path, section: str | None = None) -> dict[str, Tensor]:
    """Read named tensors from .safetensors, or from a .pth that holds nothing else.

    Args:
        file: what to read; any suffix but .safetensors is taken for torch's own format.
        section: key under which a .pth keeps the tensors; None: at its top.

    Raises:
        CheckpointError: if the file is missing, too large, damaged, holds anything but tensors
            and plain values, or has no such section.
    """
    try:
        size = file.stat().st_size
    except OSError as error:
        raise CheckpointError(f'{file.name}: {error.strerror}: expected a readable file') from (
            error
        )
    if size > LARGEST:
        raise CheckpointError(f'{file.name}: {size} bytes: expected at most {LARGEST}')
    try:
        if file.suffix == '.safetensors':
            return load_file(file)
        if zipfile.is_zipfile(file):
            _check_archive(file)
        # weights_only: tensors and plain values; no code can come out of the file.
        found = torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'{file.name}: holds more than tensors and plain values, and is not loaded: {error}'
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f'{file.name}: damaged, or no file of tensors: {error}') from error
    if section is not None:
        if not isinstance(found, dict) or section not in found:
            keys = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise CheckpointError(f'{file.name}: no {section!r} in {keys}: expected a dictionary')
        found = found[section]
    if not isinstance(found, dict):
        raise CheckpointError(f'{file.name}: a {type(found).__name__}: expected a state dict')
    for name, value in found.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise CheckpointError(
                f'{file.name}: {name!r} is a {type(value).__name__}: expected a tensor'
            )
    return dict(found)


def _check_archive(file: Path) -> None:
    """Refuse a small archive that would unpack to a huge one."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST:
        raise CheckpointError(f'{file.name}: unpacks to {size} bytes: expected at most {LARGEST}')


def load_into(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Give a module its tensors, all of them and no other.

    Args:
        module: takes them.
        state: by name.
        where: the file they come from, for messages.

    Raises:
        CheckpointError: if a tensor is missing, unknown, or of another shape; names the first.
    """
    expected = module.state_dict()
    for name in sorted(expected.keys() ^ state.keys()):
        problem = 'missing' if name in expected else 'unknown'
        raise CheckpointError(
            f'{where}: tensor {name} is {problem}, of {len(state)}: expected the {len(expected)} '
            'of this network'
        )
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f'{where}: tensor {name} has shape {tuple(value.shape)}: '
                f'expected {tuple(expected[name].shape)}'
            )
    module.load_state_dict(state)
