"""Numbers in another unit than SI: degrees for radians, millimetres for metres.

A factor of 57 or 1000 is no matter of scatter. It is looked for where two numbers of the same
quantity meet, and named, so that the person who reads the message need not find it out.
"""

from collections.abc import Iterator
import math

#: A value this many times beyond everything known is no overshoot.
FAR = 20.0
DEGREES, MILLIMETRES, KILOMETRES_PER_HOUR = 180.0 / math.pi, 1000.0, 3.6
#: Unit of a contract -> what is taken for it by mistake, and how many of those make one of it.
_MISTAKEN = {
    'rad': {'degrees': DEGREES},
    'rad/s': {'degrees per second': DEGREES},
    'm': {'millimetres': MILLIMETRES},
    'm/s': {'millimetres per second': MILLIMETRES, 'kilometres per hour': KILOMETRES_PER_HOUR},
    # Whatever it is.
    '': {'degrees': DEGREES, 'millimetres': MILLIMETRES},
}
#: Two reaches of one quantity differ by no more than that, unless their units do.
_ALIKE = 3.0
#: 3.6 is close to what two robots may differ by: it is named only if it fits this well.
_CLOSE = 1.1


def suspect(value: float, low: float, high: float, unit: str) -> str:
    """Say in which unit a value is given by mistake; empty if it is not plain that it is.

    Args:
        value: as it came.
        low: least value that is expected, SI.
        high: largest one.
        unit: of the contract; empty where it has none.

    Returns:
        For example `degrees per second instead of rad/s`: the value is FAR beyond the range, and
        would be in it if it were in that unit.
    """
    if not FAR * max(abs(low), abs(high)) < abs(value) < math.inf:
        return ''
    return _name((m for m, f in _mistaken(unit) if low <= value / f <= high), unit)


def compare_reach(limit: float, trained: float, unit: str) -> tuple[str, bool]:
    """Compare a robot's largest speed with what the same axis reached in training.

    Args:
        limit: of the robot file, > 0.
        trained: SI; 0 where the axis was never used.
        unit: of the contract.

    Returns:
        What is suspected, empty if nothing is, and whether it rules the policy out. A robot that
        could be faster only arouses suspicion; a policy trained far beyond FAR times what the
        robot can do would drive at its limits always.
    """
    if not trained > 0.0:
        return '', False
    ratio = max(limit, trained) / min(limit, trained)
    fitting = [
        name
        for name, factor in _mistaken(unit)
        if (ratio > FAR and factor / _ALIKE <= ratio <= factor * _ALIKE)
        or (factor < FAR and factor / _CLOSE <= ratio <= factor * _CLOSE)
    ]
    return _name(iter(fitting), unit), bool(fitting) and ratio > FAR and trained > limit


def _mistaken(unit: str) -> Iterator[tuple[str, float]]:
    return iter(_MISTAKEN.get(unit, {}).items())


def _name(mistaken: Iterator[str], unit: str) -> str:
    names = ' or '.join(mistaken)
    return f'{names} instead of {unit or "SI units"}' if names else ''
