"""Memory of processes through which whole camera frames pass."""

import ctypes

#: mallopt's names for what is kept, and from which size on a block is mapped by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes: the largest threshold that glibc takes, which also holds the largest frame.
_LARGEST = 32 << 20


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, instead of giving it back and faulting it in anew.

    A frame of 640x480 is copied several times on its way through a process. By default glibc maps
    such blocks and gives them back, and the kernel clears each page again: 0.5 ms of CPU time per
    copy where the copy itself takes 0.08 (decision 0012). What a process keeps is bounded by what
    it once needed.

    Returns:
        Whether the C library knows how; musl, for one, does not.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, 2 * _LARGEST))
