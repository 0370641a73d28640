"""What a black box holds, and how it is written: JSON lines (docs/reference/black-box.md).

The first line says what the file is, every other line is one step of the gate or one note. A line
stands for itself, so that a torn file is readable up to the tear. Enumerations are written as
names: they must mean the same in ten years.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
import json
import math
from pathlib import Path
from typing import Any, TypeVar

from vla_core.errors import VlaError

FORMAT, VERSION = 'vla-black-box', 1
#: Bytes of a file that is read at all; far above what is ever written.
MAX_BYTES = 64 << 20
#: Velocities in a step: linear x y z (m/s), angular x y z (rad/s).
WIDTH = 6
#: Integers that a message can hold, signed and unsigned: anything else is of no writer of ours.
_LEAST_INT, _MOST_INT = -(2**63), 2**64
#: What JSON has no numbers for.
_SPECIAL = ('nan', 'inf', '-inf')
_HEADER = {'trigger': str, 'stamp_ns': int, 'written': str, 'robot': str, 'namespace': str}
_T = TypeVar('_T', bound='Step | Note')


class BlackBoxError(VlaError):
    """A file is no black box."""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of the gate; the fields of Decision.msg. An age that is NaN: never heard."""

    stamp_ns: int
    tick: int
    dt: float
    state: str
    cause: str
    causes: tuple[str, ...]
    wanted: tuple[float, ...]
    allowed: tuple[float, ...]
    published: tuple[float, ...]
    speed_scale: float
    gripper: float
    heartbeat_age: float
    chunk_age: float
    observation_age: float
    odom_age: float
    observation_ns: int
    policy_run: int
    sequence: int
    step_index: int
    instruction_id: int
    chunk_status: str
    errors_total: int
    consecutive_errors: int


@dataclass(frozen=True, slots=True)
class Note:
    """One event of the gate; the fields of SafetyEvent.msg."""

    stamp_ns: int
    what: str
    from_state: str
    to_state: str
    cause: str
    axis: str
    value: float
    limit: float
    text: str


@dataclass(frozen=True)
class Header:
    """The first line.

    Attributes:
        trigger: why it was written.
        stamp_ns: ROS time of that moment.
        written: UTC, for a person.
        robot: name of the robot file.
        namespace: of the robot.
        limits: axis or age -> its limits, SI.
    """

    trigger: str
    stamp_ns: int
    written: str
    robot: str
    namespace: str
    limits: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Recording:
    """A file that was read.

    Attributes:
        header: its first line.
        steps: in order.
        notes: in order.
        torn: what is wrong from which line on; empty: the file is whole.
    """

    header: Header
    steps: tuple[Step, ...]
    notes: tuple[Note, ...]
    torn: str = ''


def header_line(header: Header) -> bytes:
    """Return the first line of a file."""
    return _line({'format': FORMAT, 'version': VERSION, **asdict(header)})


def line_of(entry: Step | Note) -> bytes:
    """Return the line of a step or a note (20 us)."""
    kind = 'step' if isinstance(entry, Step) else 'note'
    values = {name: getattr(entry, name) for name in entry.__slots__}
    return _line({'kind': kind} | values)


def read(path: Path) -> Recording:
    """Read a black box, up to its first line that is not whole.

    Raises:
        BlackBoxError: if the file cannot be read, is too large, or does not begin as a black box.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BlackBoxError(f'{path}: {size} bytes: expected at most {MAX_BYTES}')
        first, *rest = path.read_bytes().split(b'\n')
    except OSError as error:
        raise BlackBoxError(f'{path}: {error.strerror}: expected a black box') from error
    try:
        header = _header(_object(first))
    except BlackBoxError as error:
        raise BlackBoxError(f'{path}: line 1: {error}') from error
    steps, notes, torn = [], [], ''
    for number, line in enumerate(rest, start=2):
        if not line and number == len(rest) + 1:
            break
        try:
            values = _object(line)
            kind = _checked(values.get('kind'), str, 'kind')
            if kind == 'step':
                steps.append(_entry(Step, values))
            elif kind == 'note':
                notes.append(_entry(Note, values))
            # Any other kind was added by a newer writer.
        except BlackBoxError as error:
            left = len(rest) + 1 - number
            torn = f'line {number}: {error}; {left} more after it'
            break
    return Recording(header, tuple(steps), tuple(notes), torn)


def _line(values: Mapping[str, Any]) -> bytes:
    plain = {name: _plain(value) for name, value in values.items()}
    text = json.dumps(plain, ensure_ascii=False, separators=(',', ':'))
    # A lone surrogate in a foreign text has no UTF-8.
    return text.encode('utf-8', 'replace')


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:80]
        raise BlackBoxError(f'{line[:40]!r}: expected one JSON object: {reason}') from error
    if not isinstance(values, dict):
        raise BlackBoxError(f'a {type(values).__name__}: expected a JSON object')
    return values


def _header(values: dict[str, Any]) -> Header:
    found = values.get('format'), values.get('version')
    if found != (FORMAT, VERSION):
        raise BlackBoxError(f'format {found!r}: expected {(FORMAT, VERSION)!r}')
    limits = _checked(values.get('limits'), dict, 'limits')
    return Header(
        **{name: _checked(values.get(name), kind, name) for name, kind in _HEADER.items()},
        limits={
            what: {name: _finite(value, name) for name, value in _checked(of, dict, what).items()}
            for what, of in limits.items()
        },
    )


def _entry(kind: type[_T], values: dict[str, Any]) -> _T:
    names = {field.name: field.type for field in fields(kind)}
    # A newer writer may add fields; the ones known today must be there.
    return kind(**{name: _field(values.get(name), wanted, name) for name, wanted in names.items()})


def _field(value: Any, wanted: Any, name: str) -> Any:
    if wanted is float:
        return _number(value, name)
    if wanted in (int, str):
        return _checked(value, wanted, name)
    items = _checked(value, list, name)
    if name == 'causes':
        return tuple(_checked(item, str, name) for item in items)
    if len(items) != WIDTH:
        raise BlackBoxError(f'{name} of {len(items)} numbers: expected {WIDTH}')
    return tuple(_number(item, name) for item in items)


def _number(value: Any, name: str) -> float:
    try:
        if type(value) in (int, float) or value in _SPECIAL:
            return float(value)
    except OverflowError:
        pass
    raise BlackBoxError(f'{name} is {str(value)[:40]!r}: expected a number, or one of {_SPECIAL}')


def _finite(value: Any, name: str) -> float:
    number = _number(value, name)
    if not math.isfinite(number):
        raise BlackBoxError(f'{name} is {number}: expected a finite number')
    return number


def _checked(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise BlackBoxError(f'{name} is {str(value)[:40]!r}: expected a {kind.__name__}')
    if isinstance(value, int) and not _LEAST_INT <= value < _MOST_INT:
        raise BlackBoxError(f'{name} has {value.bit_length()} bits: expected 64 at most')
    return value
