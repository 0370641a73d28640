"""What keys mean while a person demonstrates. Pure."""

from __future__ import annotations

from dataclasses import dataclass
import enum

#: Factor of the speed for one key press, and the bounds of the share of the full speed.
_STEP, _LEAST, _MOST = 1.25, 0.2, 1.0
#: Direction of each key: ahead, to the left. Arrow keys arrive as these letters.
_WAYS = {
    'w': (1, 0),
    's': (-1, 0),
    'a': (0, 1),
    'd': (0, -1),
    'q': (1, 1),
    'e': (1, -1),
}
#: Escape sequences of the arrow keys (ECMA-48, as terminals send them).
ARROWS = {'\x1b[A': 'w', '\x1b[B': 's', '\x1b[D': 'a', '\x1b[C': 'd'}


class Ask(enum.Enum):
    """What a person wants beside driving."""

    BEGIN = 'Enter begins an episode'
    SUCCESS = 'Enter ends it as a success'
    FAILURE = 'f as a failure'
    DISCARD = 'x discards it'
    QUIT = 'Ctrl-D, or Ctrl-C, ends everything'


@dataclass
class Keys:
    """A person's keys become a velocity that lasts until the next key.

    Attributes:
        speed: m/s at full speed.
        turn_rate: rad/s at full speed.
        share: of the full speed.
        recording: an episode is going on.
    """

    speed: float
    turn_rate: float
    share: float = 0.6
    recording: bool = False
    _way: tuple[int, int] = (0, 0)

    @property
    def velocity(self) -> tuple[float, float]:
        """M/s ahead and rad/s to the left."""
        ahead, left = self._way
        # Backwards is slow: nobody looks there.
        forward = ahead * self.speed * self.share * (0.5 if ahead < 0 else 1.0)
        return forward, left * self.turn_rate * self.share

    def press(self, key: str) -> Ask | None:
        """Take a key; return what it asks for. A key without a meaning stops the robot."""
        if key in ('\r', '\n'):
            self._way = (0, 0)
            self.recording = not self.recording
            return Ask.BEGIN if self.recording else Ask.SUCCESS
        if key in ('\x04', '\x03'):
            self._way = (0, 0)
            return Ask.QUIT
        if key in ('f', 'x') and self.recording:
            self._way, self.recording = (0, 0), False
            return Ask.FAILURE if key == 'f' else Ask.DISCARD
        if key in ('+', '-'):
            share = self.share * (_STEP if key == '+' else 1 / _STEP)
            self.share = min(_MOST, max(_LEAST, share))
        else:
            self._way = _WAYS.get(ARROWS.get(key, key), (0, 0))
        return None
