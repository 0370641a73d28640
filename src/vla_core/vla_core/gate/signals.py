"""What the gate last heard from everybody but the policy's chunks, and how old it is."""

import math

from vla_core.errors import ObservationError
from vla_core.gate.causes import Cause
from vla_core.gate.config import (
    BUSY_GRACE,
    ESTOP_INPUT_TIMEOUT,
    FREEZE_TIMEOUT,
    HUMAN_TIMEOUT,
    MONITOR_TIMEOUT,
    ODOM_TIMEOUT,
    REQUEST_SPAN,
    SETTLE_SPAN,
    STAMP_AHEAD,
    STEP_TIMEOUT,
    STILL_ANGULAR,
    STILL_LINEAR,
    STILL_SPAN,
    STILL_SPAN_BLIND,
    Timing,
)
from vla_core.gate.limits import Vector, ZERO
from vla_core.gate.messages import Beat, Estop, Human, Inputs, Odom
from vla_core.robot import RobotConfig

#: Nodes whose heartbeats matter here, and how many of them are remembered.
_HEARD = ('policy', 'camera', 'monitor')
MOST_BEATS = 32


def is_moving(velocity: Vector) -> bool:
    """Say whether a finite velocity is at or above the stillness threshold."""
    return math.hypot(*velocity[:3]) >= STILL_LINEAR or math.hypot(*velocity[3:]) >= STILL_ANGULAR


class Signals:
    """Ages and levels of the inputs; every comparison is written so that NaN means "too old"."""

    def __init__(self, robot: RobotConfig, timing: Timing) -> None:
        """Start deaf: nothing was heard, nothing is known."""
        self._robot = robot
        self.timing = timing
        self._beats: dict[tuple[str, str], Beat] = {}
        self._first_wall = math.nan
        #: s from the step before to this one.
        self.silence = 0.0
        self._momentary: dict[Cause, float] = {}
        self._estop: dict[str, bool] = {}
        self.estop_publishers = 0
        self._estop_seen = -math.inf
        self.writers = 0
        self._sole_since = math.inf
        self._odom_at = -math.inf
        self._odom_invalid = False
        # Whether it moves, since when that is so, and for how long it had moved until then.
        self._motion = (False, -math.inf, 0.0)
        self._slow_since = math.inf
        self._human: Vector = ZERO
        self._human_at = -math.inf
        self._human_moved = -math.inf
        self._human_void_at = -math.inf

    def level(self, now: float, dt: float, inputs: Inputs, published: Vector) -> None:
        """Take the levels that come with every step, before its messages.

        Args:
            now: s.
            dt: s since the step before.
            inputs: of this step.
            published: command of the step before, which the robot has followed until now.
        """
        if math.isnan(self._first_wall):
            self._first_wall = inputs.wall
        self.silence = dt
        self.estop_publishers = inputs.estop_publishers
        if inputs.estop_publishers > 0:
            self._estop_seen = now
        self.writers = inputs.writers
        if inputs.writers != 1:
            self._sole_since = math.inf
        elif self._sole_since == math.inf:
            self._sole_since = now
        if not self._robot.odom_required:
            self._take_motion(is_moving(published), any(published), now)

    def _take_motion(self, moving: bool, restless: bool, now: float) -> None:
        if moving is not self._motion[0]:
            self._motion = (moving, now, self.moving_span(now))
        if restless:
            self._slow_since = math.inf
        elif self._slow_since == math.inf:
            self._slow_since = now

    def beat(self, beat: Beat) -> None:
        """Hear a heartbeat.

        Raises:
            ObservationError: if an age in it is not finite and >= 0, or it is one node too many.
        """
        for name in ('state_age', 'unchanged_age'):
            if not 0.0 <= getattr(beat, name) < math.inf:
                raise ObservationError(
                    f'heartbeat of {beat.node}: {name} {getattr(beat, name)}: '
                    'expected finite, >= 0'
                )
        if beat.node not in _HEARD:
            return
        key = (beat.node, beat.slot)
        if key not in self._beats and len(self._beats) >= MOST_BEATS:
            self._bury(beat.at)
            if len(self._beats) >= MOST_BEATS:
                raise ObservationError(
                    f'heartbeat of {beat.node} {beat.slot[:40]!r}: '
                    f'expected at most {MOST_BEATS} nodes'
                )
        self._beats[key] = beat

    def _bury(self, wall: float) -> None:
        """Forget cameras that have died: their names, true or not, must not use up the places."""
        self._beats = {
            (node, slot): beat
            for (node, slot), beat in self._beats.items()
            if not slot or wall - beat.at < self.timing.heartbeat_lost
        }

    def check_odom(self, odom: Odom, now: float) -> None:
        """Look at the numbers of odom.

        Raises:
            ObservationError: if one is not finite, or the stamp is too far ahead.
        """
        if not (all(map(math.isfinite, odom.velocity)) and odom.at <= now + STAMP_AHEAD):
            raise ObservationError(
                f'odom {odom.velocity}, {now - odom.at:.3f} s old: expected finite numbers, and '
                f'a stamp at most {STAMP_AHEAD} s ahead'
            )

    def is_overtaken(self, odom: Odom) -> bool:
        """Say whether a newer one was heard before."""
        return min(odom.at, self._odom_at) < self._odom_at

    def odom(self, odom: Odom, now: float) -> None:
        """Hear the robot's speed, from odom that was looked at."""
        self._odom_invalid = False
        if not now - self._odom_at < ODOM_TIMEOUT:
            # Nobody knows what the robot did in the gap.
            self._motion = (False, now, 0.0)
            self._slow_since = math.inf
        self._odom_at = min(now, odom.at)
        if self._robot.odom_required:
            moving = is_moving(odom.velocity)
            self._take_motion(moving, moving, now)

    def void_odom(self) -> None:
        """Note that odom was not valid; the last good one goes on ageing."""
        self._odom_invalid = True

    def human(self, human: Human) -> None:
        """Hear a person's velocity.

        Raises:
            ObservationError: if a number is not finite.
        """
        if not all(map(math.isfinite, human.velocity)):
            raise ObservationError(f'cmd_vel_human {human.velocity}: expected finite numbers')
        if human.at < self._human_at:  # A newer one was heard before.
            return
        self._human_at = human.at
        self._human_void_at = -math.inf
        # Axes that the robot does not have are no wish to move it.
        self._human = tuple(
            value if axis else 0.0
            for value, axis in zip(human.velocity, self._robot.axes, strict=True)
        )
        if any(self._human):
            self._human_moved = human.at

    def void_human(self, now: float) -> None:
        """Take the person's velocity as zero: an invalid one came, "keep last" is no answer."""
        self._human = ZERO
        self._human_void_at = now

    def estop(self, estop: Estop) -> None:
        """Hear the e-stop input; true on either subscription wins."""
        self._estop[estop.subscription] = estop.pressed

    def raise_momentary(self, cause: Cause, now: float) -> None:
        """Make a cause active for REQUEST_SPAN."""
        self._momentary[cause] = now + REQUEST_SPAN

    # -- judgement ---------------------------------------------------------------------------

    def heartbeat_age(self, wall: float) -> float:
        """Return s since the policy's last heartbeat; NaN: never heard."""
        entry = self._beats.get(('policy', ''))
        return math.nan if entry is None else wall - entry.at

    @property
    def busy_age(self) -> float:
        """Return s for which the policy has been busy by its last heartbeat."""
        entry = self._beats.get(('policy', ''))
        return entry.state_age if entry is not None and entry.busy else 0.0

    def heartbeat_cause(self, wall: float) -> Cause:
        """Judge the policy's heartbeat: NONE, or the worst of what is wrong with it."""
        entry = self._beats.get(('policy', ''))
        never = self._first_wall if self.timing.trust_start else -math.inf
        age = wall - (never if entry is None else entry.at)
        busy = self.busy_age
        healthy = max(self._robot.max_inference, self.timing.busy_floor)
        if not age < self.timing.heartbeat_lost:
            return Cause.HEARTBEAT_LOST
        if not busy < healthy + BUSY_GRACE:
            return Cause.POLICY_HUNG
        if not age < self.timing.heartbeat_late:
            return Cause.HEARTBEAT_LATE
        if not busy <= healthy:
            return Cause.BUSY_TOO_LONG
        return Cause.NONE

    def node_errors(self, wall: float) -> int:
        """Return the largest count of consecutive errors among living policy and camera nodes."""
        return max(
            (
                beat.consecutive_errors
                for beat in self._beats.values()
                if beat.node in ('policy', 'camera')
                and wall - beat.at < self.timing.heartbeat_lost
            ),
            default=0,
        )

    def moving_span(self, now: float) -> float:
        """Return s for which the robot has been moving of late, FREEZE_TIMEOUT at most.

        It runs down as fast as it runs up, so that one slow sample among many does not hide that
        the robot moves.
        """
        moving, since, span = self._motion
        span += now - since if moving else since - now
        return min(max(span, 0.0), FREEZE_TIMEOUT)

    def camera_frozen(self, now: float, wall: float) -> bool:
        """Say whether a camera showed one picture all the while the robot was moving."""
        if self.moving_span(now) < FREEZE_TIMEOUT:
            return False
        return self.unchanged_age(wall) >= FREEZE_TIMEOUT

    def unchanged_age(self, wall: float) -> float:
        """Return the longest s for which a living camera has shown one picture."""
        return max(
            (
                beat.unchanged_age
                for beat in self._beats.values()
                if beat.node == 'camera' and wall - beat.at < self.timing.heartbeat_lost
            ),
            default=0.0,
        )

    def monitor_absent(self, wall: float) -> bool:
        """Say whether the monitor's heartbeat is missing: a warning only."""
        entry = self._beats.get(('monitor', ''))
        limit = max(MONITOR_TIMEOUT, self.timing.heartbeat_lost)
        return entry is None or not wall - entry.at < limit

    def camera_absent(self, wall: float) -> bool:
        """Say whether no camera lives that would say that its picture is frozen."""
        return not any(
            wall - beat.at < self.timing.heartbeat_lost
            for beat in self._beats.values()
            if beat.node == 'camera'
        )

    @property
    def estop_heard(self) -> bool:
        """Whether the e-stop input has ever said anything."""
        return bool(self._estop)

    def odom_age(self, now: float) -> float:
        """Return s; NaN: never heard."""
        return math.nan if self._odom_at == -math.inf else now - self._odom_at

    def odom_cause(self, now: float) -> Cause:
        """Judge odom where the robot requires it."""
        if not self._robot.odom_required or now - self._odom_at < ODOM_TIMEOUT:
            return Cause.NONE
        return Cause.ODOM_INVALID if self._odom_invalid else Cause.ODOM_LOST

    def estop_input_span(self, now: float) -> float:
        """Return s for which the e-stop input has had no publisher."""
        return now - self._estop_seen

    def estop_input_lost(self, now: float) -> bool:
        """Say whether a required e-stop input has been without publisher for too long."""
        return self._robot.estop_required and not self.estop_input_span(now) < ESTOP_INPUT_TIMEOUT

    def estop_pressed(self) -> bool:
        """Say whether the input is true."""
        return any(self._estop.values())

    def second_writer(self) -> bool:
        """Say whether somebody else publishes on cmd_vel too."""
        return self.writers > 1

    def settled(self, now: float) -> bool:
        """Say whether the gate has been the sole writer long enough to have heard of others."""
        return now - self._sole_since >= SETTLE_SPAN

    def momentary(self, now: float) -> list[Cause]:
        """Return the causes raised less than REQUEST_SPAN ago."""
        if not self._momentary:
            return []
        self._momentary = {cause: end for cause, end in self._momentary.items() if now < end}
        return list(self._momentary)

    def still(self, now: float) -> bool:
        """Say whether the robot stands: by fresh odom, or, without odom, by the zeros sent."""
        if self._robot.odom_required:
            return now - self._odom_at < ODOM_TIMEOUT and now - self._slow_since >= STILL_SPAN
        return now - self._slow_since >= STILL_SPAN_BLIND

    def hung(self) -> bool:
        """Say whether the gate itself has been silent for so long that a base stops."""
        return not self.silence < STEP_TIMEOUT

    def human_velocity(self, now: float) -> Vector:
        """Return the person's velocity, zero when it is not fresh."""
        return self._human if now - self._human_at < HUMAN_TIMEOUT else ZERO

    def human_moves(self, now: float) -> bool:
        """Say whether a person wants to move the robot now."""
        return any(self.human_velocity(now))

    def human_rests(self, now: float) -> bool:
        """Say whether the person has let go: zeros or silence; a broken message is neither."""
        return not self.human_moves(now) and not now - self._human_void_at < HUMAN_TIMEOUT

    def human_silence(self, now: float) -> float:
        """Return s since the person wanted to move the robot."""
        return now - self._human_moved

    def human_lost(self, now: float) -> bool:
        """Say whether the person has been silent, or sent zeros, for too long."""
        return not self.human_silence(now) < HUMAN_TIMEOUT
