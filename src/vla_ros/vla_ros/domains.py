"""ROS domains for tests, benchmarks and evaluations that must not hear each other."""

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
import errno
from functools import cache
import os
import socket

from vla_core.errors import VlaError

#: Apart from the usual 0; the ports of a domain above 101 can collide with those that Linux hands
#: out.
DOMAINS = range(40, 102)
#: Environment of what must hear nobody elsewhere: LOCALHOST alone still asks static peers.
ALONE = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_STATIC_PEERS': ''}


class DomainError(VlaError):
    """Every domain is taken."""


@contextmanager
def own_domain() -> Iterator[int]:
    """Give a ROS domain that nobody else who asks here uses meanwhile.

    Never the exported ROS_DOMAIN_ID: a robot may be alive there.

    Raises:
        DomainError: if all are taken, or none can be kept for this process.
    """
    exported = os.environ.get('ROS_DOMAIN_ID', '').strip().lstrip('0')
    for domain in DOMAINS:
        if str(domain) == exported:
            continue
        # An abstract name: every user of this network stack shares it, the kernel frees it at any
        # death, and no file lies where somebody else could plant a link.
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f'\0vla-domain-{domain}')
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise DomainError(f'ROS domain {domain}: {error.strerror}') from error
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
