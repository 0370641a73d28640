"""What a figure was measured on, in words that name no computer."""

import os
from pathlib import Path
import platform


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


def kind() -> tuple[str, int]:
    """Return processor and cores: machines alike in these are taken to be equally fast."""
    machine = describe()
    return str(machine['processor']), int(str(machine['cores']))


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
