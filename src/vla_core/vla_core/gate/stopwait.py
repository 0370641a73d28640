"""Stop words: from the word until the next instruction (docs/explanation/way-of-a-frame.md).

The word may reach the gate before or after the policy's record of it, and the policy's last chunks
of the old instruction may come at any time in between. The middleware's source timestamp, equal at
every subscriber, says which record belongs to which word.
"""

from collections import OrderedDict

#: Records of stop words that are remembered for words that arrive later than their record.
REMEMBERED = 32


class StopWait:
    """Say which chunks may move the robot after a stop word."""

    def __init__(self) -> None:
        """Start without a stop."""
        self._records: OrderedDict[int, int] = OrderedDict()
        self.end()

    def clear(self) -> None:
        """Forget everything: a new policy run counts its ids afresh."""
        self.end()
        self._records.clear()

    def end(self) -> None:
        """End the wait, whatever is being obeyed: somebody armed the robot."""
        self.waiting = False
        self._unrecorded: int | None = None
        self._last_id = -1

    def word(self, source_stamp: int, held_id: int) -> None:
        """Hear a stop word on `command`.

        Args:
            source_stamp: ns, middleware's source timestamp.
            held_id: instruction of the newest accepted chunk.
        """
        recorded = self._records.get(source_stamp)
        if recorded is None:
            self.waiting = True
            # The policy answers words in order, so the record of the newest covers all.
            self._unrecorded = source_stamp
        else:
            self._stopped_at(recorded, held_id)

    def record(self, source_stamp: int, record_id: int, held_id: int) -> None:
        """Hear the policy's record of a stop word, or of a cancelled goal (source_stamp 0)."""
        if source_stamp:
            self._records[source_stamp] = record_id
            if len(self._records) > REMEMBERED:
                self._records.popitem(last=False)
        if source_stamp == self._unrecorded:
            self._unrecorded = None
        self._stopped_at(record_id, held_id)

    def _stopped_at(self, record_id: int, held_id: int) -> None:
        self._last_id = max(self._last_id, record_id)
        if self._unrecorded is None:
            # A record that is repeated after the next instruction took over must not stop again.
            self.waiting = held_id <= self._last_id
        else:
            self.waiting = True

    def admits(self, instruction_id: int) -> bool:
        """Say whether a chunk of this instruction may move the robot: one after the last stop."""
        return self._unrecorded is None and instruction_id > self._last_id

    def accepted(self, instruction_id: int) -> None:
        """Note that a chunk of this instruction was accepted."""
        if self.admits(instruction_id):
            self.waiting = False
