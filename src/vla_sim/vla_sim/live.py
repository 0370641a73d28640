"""Run an arena in real time on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
import threading
import time
from typing import Protocol

import numpy as np

from vla_sim.arena import Arena
from vla_sim.errors import SimulationError
from vla_sim.layout import Layout
from vla_sim.model import TIMESTEP

COMMAND_TIMEOUT = 0.5
ODOMETRY_PERIOD = 0.02

# The picture may take this share of the thread's time; physics needs a few percent.
_RENDER_SHARE = 0.5
# Later than this, lost time is given up: a robot that catches up would jump.
_LARGEST_LAG = 0.1
_LONGEST_SLEEP = 0.02
_RATE_WINDOW = 1.0


@dataclass(frozen=True)
class Rates:
    """What the last second was like.

    Args:
        real_time_factor: Simulated seconds per second.
        frames: Pictures per second.
        frames_total: Pictures since the start.
    """

    real_time_factor: float
    frames: float
    frames_total: int


class Listener(Protocol):
    """Takes what the simulation produces, on the simulation's thread."""

    def stamp(self) -> int:
        """Return the time of now, for a later `frame` or `odometry`, ns."""
        ...

    def frame(self, picture: np.ndarray, stamp_ns: int) -> None:
        """Take the camera's picture of `stamp_ns`, uint8 [480, 640, 3]."""
        ...

    def odometry(self, arena: Arena, stamp_ns: int) -> None:
        """Read the state of the robot at `stamp_ns`; the arena is valid during the call only."""
        ...


class LiveSimulation:
    """Keep an arena in step with the wall clock.

    Physics comes first: a machine too slow for the wanted frame rate gets fewer frames, and a
    stall of more than 0.1 s is given up rather than caught up.

    Args:
        listener: Takes frames and odometry.
        layout: The first layout.
        frame_rate: Wanted pictures per second.
        clock: Monotonic seconds; for tests.
        sleep: Waits so many seconds; for tests.
    """

    def __init__(
        self,
        listener: Listener,
        layout: Layout,
        frame_rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._listener = listener
        self._frame_period = 1.0 / frame_rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_layout: Layout | None = layout
        self._command = (0.0, 0.0)
        self._command_time = -COMMAND_TIMEOUT
        self._rates = Rates(1.0, frame_rate, 0)
        self._error: Exception | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._main, name='simulation', daemon=True)

    @property
    def rates(self) -> Rates:
        """What the last second was like."""
        return self._rates

    def start(self) -> None:
        """Start the thread and wait for the first picture.

        Raises:
            SimulationError: This machine cannot render.
        """
        self._thread.start()
        self._started.wait()
        self.check()

    def check(self) -> None:
        """Raise what ended the simulation's thread, if anything has."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def command(self, speed: float, turn_rate: float) -> None:
        """Set the target velocity in m/s and rad/s; without a newer one it ends after 0.5 s.

        Raises:
            SimulationError: A value is not finite; the older command stays.
        """
        if not (math.isfinite(speed) and math.isfinite(turn_rate)):
            raise SimulationError(f'command is ({speed}, {turn_rate}); expected finite numbers')
        with self._lock:
            self._command = (speed, turn_rate)
            self._command_time = self._clock()

    def reset(self, layout: Layout) -> None:
        """Set up another layout before the next physics step, and forget the command."""
        with self._lock:
            self._next_layout = layout
            self._command_time = -COMMAND_TIMEOUT

    def _main(self) -> None:
        try:
            arena = Arena()
            try:
                self._run(arena)
            finally:
                arena.close()
        except Exception as error:  # handed to the owner by `check`
            self._error = error
        finally:
            self._started.set()

    def _run(self, arena: Arena) -> None:
        self._take_inputs(arena)
        arena.render()
        last = next_frame = next_odometry = window_start = self._clock()
        self._started.set()
        render_cost, frames_total, frames, simulated = 0.0, 0, 0, 0.0
        while not self._stopping.is_set():
            now = self._clock()
            lag = now - last
            if lag > _LARGEST_LAG:
                last, lag = now - _LARGEST_LAG, _LARGEST_LAG
            steps = int(lag / TIMESTEP)
            self._take_inputs(arena)
            arena.advance(steps * TIMESTEP)
            last += steps * TIMESTEP
            simulated += steps * TIMESTEP
            if now >= next_odometry:
                next_odometry = max(next_odometry + ODOMETRY_PERIOD, now)
                self._listener.odometry(arena, self._listener.stamp())
            if now >= next_frame:
                stamp = self._listener.stamp()
                self._listener.frame(arena.render(), stamp)
                done = self._clock()
                render_cost += 0.1 * (done - now - render_cost)
                period = max(self._frame_period, render_cost / _RENDER_SHARE)
                next_frame = max(next_frame + period, done)
                frames, frames_total = frames + 1, frames_total + 1
            window = now - window_start
            if window >= _RATE_WINDOW:
                self._rates = Rates(simulated / window, frames / window, frames_total)
                window_start, frames, simulated = now, 0, 0.0
            wake = min(next_frame, next_odometry) - self._clock()
            self._sleep(min(max(wake, 0.0), _LONGEST_SLEEP))

    def _take_inputs(self, arena: Arena) -> None:
        with self._lock:
            layout, self._next_layout = self._next_layout, None
            fresh = self._clock() - self._command_time < COMMAND_TIMEOUT
            command = self._command if fresh else (0.0, 0.0)
        if layout is not None:
            arena.reset(layout)
        arena.command(*command)
