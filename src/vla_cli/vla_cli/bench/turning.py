"""A robot that turns on the spot in a live graph: which frame led to a command, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import time

import psutil

from vla_cli.graph import GraphError
from vla_cli.live import LiveGraph
from vla_core.gate.causes import State
from vla_core.types import Status
from vla_ros.conversion import to_ns

NODES = ('gate', 'policy', 'camera', 'monitor', 'sim')
#: s of "turn left" after which it is said again: it ends by itself after 10 s.
TURN = 8.0
_SETTLE, _LOOK, _PERIOD = 2.0, 0.5, 0.02
#: Times as long as frames at 30 Hz would take, after which a robot is given up.
_SLOWEST = 10.0


@dataclass
class Turn:
    """What one robot did.

    Attributes:
        latencies: ms from a frame's stamp to the first command from it, by the frame's stamp.
        late: ms by which each step of the gate came later than 20 ms after the one before; a chunk
            makes it step earlier.
        frames: that were taken meanwhile.
        seconds: that it took.
        cpu: % of a core, by process.
        memory: MiB resident at the end, by process.
    """

    latencies: dict[int, float] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Frames per s."""
        return self.frames / self.seconds


def turn(
    live: LiveGraph, frames: int, on_command: Callable[[int, int], object] | None = None
) -> Turn:
    """Turn until so many frames have led to a command.

    Args:
        live: a graph with the simulator, whose gate is ACTIVE.
        frames: to wait for.
        on_command: takes each frame's stamp and that of its first command, ns.

    Raises:
        GraphError: if that takes ten times as long as it should.
    """
    result = Turn()
    processes = {name: live.process(name) for name in NODES}
    live.say('turn left')
    live.spin(_SETTLE)
    # The gate goes on with this frame, whose first command lies before what is listened to.
    held = to_ns(live.decision.observation_stamp)
    live.forget()
    began, sent = time.monotonic(), live.heartbeats['sim'].progress
    before = {name: _cpu(process) for name, process in processes.items()}
    said = began
    while len(result.latencies) < frames:
        now = time.monotonic()
        if now - began > _SLOWEST * (_SETTLE + frames / 30.0):
            state, reasons = State(live.state.state).name, list(live.state.blockers)
            raise GraphError(
                f'{len(result.latencies)} of {frames} frames obeyed; gate {state}, {reasons}'
            )
        if now - said >= TURN:
            live.say('turn left')
            said = now
        live.spin(_LOOK)
        live.graph.check()
        for decision in live.decisions:
            observed, stamp = to_ns(decision.observation_stamp), to_ns(decision.header.stamp)
            result.late.append(1e3 * max(0.0, decision.dt - _PERIOD))
            known = observed <= held or observed in result.latencies
            if decision.chunk_status == Status.RUNNING and not known:
                result.latencies[observed] = (stamp - observed) * 1e-6
                if on_command is not None:
                    on_command(observed, stamp)
        live.forget()
    result.seconds = time.monotonic() - began
    result.frames = live.heartbeats['sim'].progress - sent
    for name, process in processes.items():
        result.cpu[name] = 100.0 * (_cpu(process) - before[name]) / result.seconds
        result.memory[name] = process.memory_info().rss / 2**20
    return result


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
