"""Real time: physics first, fewer frames on a slow machine, base watchdog, reset."""

import math

import numpy as np
import pytest

from vla_sim.errors import SimulationError
from vla_sim.layout import sample_layout
from vla_sim.live import COMMAND_TIMEOUT, LiveSimulation


class Stage:
    """A clock that moves only when the simulation sleeps or renders, and a script of events."""

    def __init__(self, seconds, render_seconds=0.0, script=()):
        self.now, self._end = 100.0, 100.0 + seconds
        self._render_seconds = render_seconds
        self._script = sorted(script, key=lambda event: event[0])
        self.frames, self.states = [], []
        self.live = LiveSimulation(self, sample_layout(3), 30.0, self.clock, self.sleep)

    def run(self):
        self.live.start()
        self.live._thread.join()
        self.live.check()
        return self

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += max(seconds, 0.0005)
        while self._script and self.now - 100.0 >= self._script[0][0]:
            self._script.pop(0)[1](self)
        if self.now >= self._end:
            self.live._stopping.set()

    def stamp(self):
        return round(self.now * 1e9)

    def frame(self, picture, stamp_ns):
        self.frames.append((stamp_ns, picture.shape))
        self.now += self._render_seconds

    def odometry(self, arena, stamp_ns):
        seconds = stamp_ns * 1e-9 - 100.0
        self.states.append((seconds, arena.sim_time, arena.velocity[0], arena.layout.seed))


def test_physics_follows_the_clock_at_fifty_and_thirty_hertz():
    stage = Stage(2.5).run()
    assert all(abs(seconds - simulated) < 0.011 for seconds, simulated, *_ in stage.states)
    assert len(stage.states) == pytest.approx(125, abs=3)
    assert len(stage.frames) == pytest.approx(75, abs=2)
    assert np.diff([stamp for stamp, _ in stage.frames]).min() > 25e6
    assert stage.live.rates.real_time_factor == pytest.approx(1.0, abs=0.02)
    assert stage.live.rates.frames == pytest.approx(30, abs=1)


def test_slow_rendering_lowers_the_frame_rate_and_keeps_real_time():
    stage = Stage(6.0, render_seconds=0.05).run()
    late = [stamp for stamp, _ in stage.frames if stamp > 103e9]
    assert 9 <= len(late) / 3.0 <= 11
    assert stage.live.rates.real_time_factor == pytest.approx(1.0, abs=0.02)
    assert stage.live.rates.frames < 12


def test_time_lost_in_a_stall_is_given_up():
    def stall(stage):
        stage.now += 2.0

    stage = Stage(4.0, script=[(1.0, stall)]).run()
    seconds, simulated, *_ = stage.states[-1]
    assert seconds - simulated == pytest.approx(1.9, abs=0.05)
    steps = np.diff([simulated for _, simulated, *_ in stage.states])
    assert steps.max() <= 0.1 + 1e-9


def test_robot_stops_when_commands_cease():
    def drive(stage):
        stage.live.command(0.3, 0.0)

    stage = Stage(3.0, script=[(1.0, drive)]).run()
    speeds = {round(seconds, 2): speed for seconds, _, speed, _ in stage.states}
    assert all(speed == pytest.approx(0.0, abs=1e-6) for t, speed in speeds.items() if t < 1.0)
    driving = [speed for t, speed in speeds.items() if 1.1 < t < 1.0 + COMMAND_TIMEOUT]
    assert driving == pytest.approx([0.3] * len(driving), abs=0.01)
    assert driving
    after = [speed for t, speed in speeds.items() if t > 1.1 + COMMAND_TIMEOUT]
    assert after == pytest.approx([0.0] * len(after), abs=1e-3)


def test_reset_changes_the_layout_and_forgets_the_command():
    def drive(stage):
        stage.live.command(0.3, 0.0)

    def reset(stage):
        stage.live.reset(sample_layout(9))

    stage = Stage(1.0, script=[(0.2, drive), (0.5, reset)]).run()
    assert {seed for seconds, *_, seed in stage.states if seconds < 0.5} == {3}
    last = [(speed, seed) for seconds, _, speed, seed in stage.states if seconds > 0.56]
    assert {seed for _, seed in last} == {9}
    assert all(speed == pytest.approx(0.0, abs=1e-6) for speed, _ in last)


def test_command_that_is_not_finite_is_refused():
    live = Stage(1.0).live
    with pytest.raises(SimulationError, match='nan'):
        live.command(0.0, math.nan)


def test_what_ends_the_thread_reaches_the_owner():
    def fail(stage):
        raise OSError('listener broke')

    with pytest.raises(OSError, match='listener broke'):
        Stage(1.0, script=[(0.2, fail)]).run()
