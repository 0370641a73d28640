"""What a figure was measured on, in words that name no computer."""

import os
from pathlib import Path
import platform

#: Fields of /proc/cpuinfo that tell models of one name apart: x86's, then ARM's.
_MODEL = ('cpu family', 'model', 'stepping', 'CPU implementer', 'CPU part', 'CPU revision')
#: Where GPUs on which torch computes have files: NVIDIA's (cards; Jetson; WSL), then AMD's.
_DEVICES = Path('/dev')
_GPUS = ('nvidia[0-9]*', 'nvhost-gpu', 'nvgpu', 'dxg', 'kfd')
_NVIDIA = Path('/proc/driver/nvidia/gpus')


def describe() -> dict[str, object]:
    """Return processor, cores, memory and software of this machine."""
    return {
        'processor': _field('/proc/cpuinfo', 'model name') or platform.machine(),
        'cores': len(os.sched_getaffinity(0)),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        'system': _field('/etc/os-release', 'PRETTY_NAME', '=').strip('"') or platform.system(),
        'python': platform.python_version(),
        'load_average': round(os.getloadavg()[0], 2),
    }


def kind(device: str = 'cpu') -> tuple[str, int]:
    """Return processor and cores: machines alike in these are taken to be equally fast.

    Args:
        device: of the policies that are timed. Any but `cpu` may be a GPU, which is then part of
            the processor's name, where there is one.

    A virtual machine often says no more than "AMD EPYC Processor", an ARM board nothing at all, so
    the numbers of the processor's model are part of its name here.
    """
    machine = describe()
    numbers = '/'.join(filter(None, (_field('/proc/cpuinfo', name) for name in _MODEL)))
    gpu = '' if device == 'cpu' else _gpu()
    name = f'{machine["processor"]} {numbers}'.strip() + (f' with {gpu}' if gpu else '')
    return name, int(str(machine['cores']))


def _gpu() -> str:
    """Name the GPUs; empty without one. torch is not asked: a robot need not have it."""
    if not any(list(_DEVICES.glob(pattern)) for pattern in _GPUS):
        return ''
    models = {_field(str(file), 'Model') for file in _NVIDIA.glob('*/information')}
    return ', '.join(sorted(models - {''})) or 'GPU'


def _field(file: str, name: str, separator: str = ':') -> str:
    """Return the first value of a field; empty if file or field is not there."""
    try:
        lines = Path(file).read_text(encoding='utf-8').splitlines()
    except OSError:
        return ''
    for line in lines:
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip()
    return ''
