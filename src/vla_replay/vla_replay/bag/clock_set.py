"""A clock that was set while a bag was recorded: two moments of the drive share their stamps."""

from dataclasses import dataclass
import re

from vla_replay.bag.reader import BagReader
from vla_replay.errors import BagError

#: Fact of a bag: where its clock was set, parted by `; `.
CLOCK_SET = 'clock_set'
_FORM = re.compile(r'from (\d+\.\d+) s to (\d+\.\d+) s')


@dataclass(frozen=True)
class Jump:
    """One time that a clock was set.

    Attributes:
        before_ns: stamps before it are at most this.
        after_ns: stamps after it are at least this.
    """

    before_ns: int
    after_ns: int

    def __str__(self) -> str:
        """Say it as the fact of a bag does."""
        return f'from {self.before_ns / 1e9:.3f} s to {self.after_ns / 1e9:.3f} s'


def refuse_clock_set(bag: BagReader) -> None:
    """Refuse a bag whose order of stamps is not that of the drive.

    Raises:
        BagError: if its recorder noted that the clock was set.
    """
    told = bag.custom.get(CLOCK_SET, '')
    if told:
        raise BagError(
            f'{bag.path}: {CLOCK_SET}: the clock of its stamps was set {told}: expected a bag of '
            'one clock; take a part before or behind it (vla bag trim)'
        )


def left_in_part(told: str, begin_ns: int, end_ns: int) -> str:
    """Return what of the fact holds for the stamps from `begin_ns` until before `end_ns`."""

    def holds(one: str) -> bool:
        found = _FORM.fullmatch(one)
        if found is None:
            return True
        before, after = (float(seconds) * 1e9 for seconds in found.groups())
        return begin_ns <= before and end_ns > after

    return '; '.join(one for one in told.split('; ') if holds(one))
