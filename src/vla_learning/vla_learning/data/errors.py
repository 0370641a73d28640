"""What is wrong with a record: which file, which place in it, which field, found and expected."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from vla_core.errors import VlaError

#: Problems that are shown; of a whole data set there may be a million.
_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing that makes a record unusable.

    Attributes:
        file: name of the file, relative to the data set where it lies inside.
        index: which record of the file: `record 3`, `episode 2 frame 7`; empty for the whole file.
        field: name of the field; empty where the record as a whole is meant.
        found: what is there.
        expected: what should be there.
    """

    file: str
    index: str
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = ': '.join(filter(None, (self.file, self.index, self.field)))
        return f'{place} is {self.found}: expected {self.expected}'


class DataError(VlaError):
    """A data set, or a record in it, cannot be used.

    Attributes:
        problem: the same as fields, where it is one record's.
    """

    def __init__(self, message: str | Problem) -> None:
        super().__init__(str(message))
        self.problem = message if isinstance(message, Problem) else None


class Problems:
    """Collects what is wrong with a data set, or stops at the first problem.

    Args:
        skip: leave bad records out and list them, instead of raising.
    """

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.found: list[Problem] = []

    def add(self, file: str, index: str, field: str, found: object, expected: str) -> None:
        """Note a problem.

        Raises:
            DataError: if problems are not to be skipped.
        """
        problem = Problem(file, index, field, str(found), expected)
        if not self.skip:
            raise DataError(problem)
        self.found.append(problem)

    def report(self) -> dict[str, object]:
        """Return counts by field, and every problem, as plain values."""
        counts = Counter(problem.field or 'record' for problem in self.found)
        return {
            'count': len(self.found),
            'by_field': dict(counts),
            'problems': [asdict(problem) for problem in self.found],
        }

    def lines(self) -> list[str]:
        """Return the first problems for a person, one on each line."""
        more = len(self.found) - _SHOWN
        rest = [f'  and {more} more'] if more > 0 else []
        return [f'  {problem}' for problem in self.found[:_SHOWN]] + rest

    def all_bad(self, name: str) -> DataError:
        """Return the error for a data set in which no record is good."""
        count = f'; {len(self.found)} bad records:' if self.found else ''
        return DataError(
            '\n'.join([f'{name}: no usable record: expected at least one{count}', *self.lines()])
        )


def inside(root: Path, relative: str) -> Path | None:
    """Return the path of a file named by a data set, or None where it would leave the data set.

    Absolute names and `..` are refused: a data set from elsewhere must not name the rest of the
    disk. Links are followed; whoever made the folder put them there.
    """
    name = PurePosixPath(relative)
    if not name.parts or name.is_absolute() or '..' in name.parts or '\0' in relative:
        return None
    return root / name
