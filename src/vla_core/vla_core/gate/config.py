"""Numbers of the gate, each once (docs/reference/safety.md), and the parameters of the gate node.

The timeouts are no parameters: a deployment that needs others needs another safety case.
"""

from dataclasses import dataclass

from vla_core.parameters import parameter
from vla_core.robot import OLDEST_OBSERVATION


@dataclass(frozen=True)
class Timing:
    """Spans in s; those of the heartbeat are judged by the wall clock, the rest by the gate's."""

    heartbeat_late: float = 0.20
    heartbeat_lost: float = 0.50
    #: BUSY is never judged before this.
    busy_floor: float = 0.0
    #: Added to the observation stamp before a chunk may be played.
    latency: float = 0.0
    #: Whether a policy that was never heard counts as heard at the start of the gate.
    trust_start: bool = False

    @classmethod
    def lockstep(cls, latency: float) -> 'Timing':
        """Return the spans for simulated time: heartbeats only show that a process lives."""
        return cls(
            heartbeat_late=5.0,
            heartbeat_lost=5.0,
            busy_floor=5.0,
            latency=latency,
            trust_start=True,
        )


#: BUSY this much longer than max_inference is a hang: 0.50 s with the default of 0.2 s.
BUSY_GRACE = 0.30
ESTOP_INPUT_TIMEOUT = 0.50
CHUNK_FAULT = 0.50  # after the chunk lapsed
ODOM_TIMEOUT = 0.50
FREEZE_TIMEOUT = 0.50
HUMAN_TIMEOUT = 0.50
#: s without a step of the gate in which a base may have stopped by itself.
STEP_TIMEOUT = 0.50
MONITOR_TIMEOUT = 1.0  # WARN only
STAMP_AHEAD = 0.050
#: This long without a good chunk, and the order of the sequence is forgotten: by then no robot
#: file lets a chunk play that was heard before.
ORDER_SPAN = OLDEST_OBSERVATION + 1.0
SEQUENCE_RATE = 250.0  # chunks per s, more than the fastest camera has frames
SEQUENCE_SLACK = 10  # chunks that may be missing at once
ID_SLACK = 1000  # texts whose records may be missing, at 50 a second
REQUEST_SPAN = 0.3  # a stop request, or any other momentary cause, stays active for so long
ARMING_SPAN = 1.0
ARMING_SHARE = 0.5
GREEN_SPAN = 1.0  # all arming checks, before `arm`
CLEAR_SPAN = 1.0  # no cause, before `reset`
SETTLE_SPAN = 1.0  # sole writer, before INIT ends: discovery needs that long to show another one
STILL_LINEAR = 0.02  # m/s
STILL_ANGULAR = 0.05  # rad/s
STILL_SPAN = 0.5
STILL_SPAN_BLIND = 1.0  # without odom: zeros published
STOP_LIMIT = 2.0
HOLD_BUDGET = 3
HOLD_WINDOW = 60.0
LONGEST_HOLD = 1.0  # longer than any hiccup is before it is a fault: it counts again
ERRORS_TO_LATCH = 5
ERROR_SPAN = 0.5  # a count whose sender has been silent for so long is no cause any more
#: Scale of speed for a StopRequest SLOW.
REQUESTED_SCALE = 0.5
#: m/s at which a person may drive out of a breach.
ESCAPE_SPEED = 0.1
#: m/s, rad/s: ten times the unit action of the native scale (docs/reference/safety.md).
GROSS = 10.0
#: s; a gate that was suspended must not make up for it by a jump in speed.
LONGEST_ACCEL_STEP = 0.1


@dataclass(frozen=True)
class GateConfig:
    """Parameters of the gate node."""

    robot: str = parameter(doc='robot file: a name from config/robots, or a path')
    clock: str = parameter(
        doc='time base; lockstep needs use_sim_time and a simulated robot',
        default='steady',
        choices=('steady', 'lockstep'),
    )
    lockstep_latency: float = parameter(
        doc='lock-step: age of an observation at which its chunk applies',
        default=0.02,
        unit='s',
        low=0.02,
        high=1.0,
    )
    speed_scale: float = parameter(
        doc='factor on every speed; below 1 the robot is slow', default=1.0, low=0.05, high=1.0
    )
    enable_stamped_cmd_vel: bool = parameter(
        doc='publish cmd_vel as TwistStamped instead of Twist', default=False
    )
    enable_stamped_cmd_vel_human: bool = parameter(
        doc='expect cmd_vel_human as TwistStamped instead of Twist', default=False
    )
    frame_id: str = parameter(doc='frame of the velocities', default='base_link')
