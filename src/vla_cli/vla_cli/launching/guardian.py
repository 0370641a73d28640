"""Ends the processes of a launcher that was itself killed; the supervisor starts one per launch.

Standard input is a pipe from the launcher: one line per change, `+ <pid>` or `- <pid>`, each pid
the leader of its own process group. The pipe closes when the launcher ends, in whatever way: what
is still listed then gets SIGINT, later SIGTERM, later SIGKILL. A process of its own, because
nothing inside a killed process can act, and by group, because a node may have children. Run as a
plain script with `python -I -S`: standard library only.
"""

from collections.abc import Iterable
import os
import signal
import sys
import time

# s after the signal before: what the launcher itself grants.
STEPS = ((0.0, signal.SIGINT), (5.0, signal.SIGTERM), (5.0, signal.SIGKILL))


def listed(lines: Iterable[str]) -> set[int]:
    """Follow the launcher's notes until it is gone; return the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        sign, number = line.split()
        if sign == '+':
            groups.add(int(number))
        else:
            groups.discard(int(number))
    return groups


def end(groups: set[int]) -> None:
    """Signal the groups, more firmly each time, until none is left."""
    for delay, number in STEPS:
        deadline = time.monotonic() + delay
        while time.monotonic() < deadline and (groups := {g for g in groups if _signal(g, 0)}):
            time.sleep(0.05)
        groups = {group for group in groups if _signal(group, number)}
        if not groups:
            return


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group; say whether it still exists."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It exists, but changed its user: nothing more to be done than to try again.
        return True
    return True


if __name__ == '__main__':
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    end(listed(sys.stdin))
