"""What a process frees, it keeps for the next frame."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from vla_ros.memory import keep_freed_memory
if sys.argv[1] == 'kept' and not keep_freed_memory():
    sys.exit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def frames():
    # Three copies at a time, as on the way from the middleware into Python.
    for _ in range(50):
        copies = [bytearray(921_600) for _ in range(3)]
        for copy in copies:
            copy[::4096] = b'1' * len(copy[::4096])
frames()
before = faults()
frames()
print(faults() - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, how], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip('this C library has no mallopt')
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_frames_are_not_faulted_in_again_and_again():
    # 50 x 3 x 225 pages of 4 KiB, most of them anew, unless they are kept.
    assert _faults('kept') < 500
    assert _faults('as it comes') > 10_000
