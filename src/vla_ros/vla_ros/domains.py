"""ROS domains for tests, benchmarks and evaluations that must not hear each other."""

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
import fcntl
from functools import cache
import os
from pathlib import Path
import tempfile

from vla_core.errors import VlaError

#: Apart from the usual 0; the ports of a domain above 101 can collide with those that Linux hands
#: out.
DOMAINS = range(40, 102)


class DomainError(VlaError):
    """Every domain is taken."""


@contextmanager
def own_domain() -> Iterator[int]:
    """Give a ROS domain that nobody else who asks here uses meanwhile.

    Raises:
        DomainError: if all are taken.
    """
    folder = Path(tempfile.gettempdir()) / f'vla-domains-{os.getuid()}'
    folder.mkdir(exist_ok=True)
    for domain in DOMAINS:
        with (folder / str(domain)).open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield domain
            return
    raise DomainError(f'ROS domains {DOMAINS.start} to {DOMAINS.stop - 1} are all taken')


@cache
def process_domain() -> int:
    """Return a domain that belongs to this process until it ends.

    Raises:
        DomainError: if all are taken.
    """
    return _UNTIL_THE_END.enter_context(own_domain())


_UNTIL_THE_END = ExitStack()
