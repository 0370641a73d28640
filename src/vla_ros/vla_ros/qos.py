"""Quality of service by what the data is for; each with its reason."""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(
    depth: int, *, reliable: bool = True, latched: bool = False, lifespan: float | None = None
) -> QoSProfile:
    profile = QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
    if lifespan is not None:
        profile.lifespan = Duration(seconds=lifespan)
    return profile


#: Frames: only the newest matters; matches every camera driver.
SENSOR = _profile(1, reliable=False)
#: Frames, odometry and /clock in lock-step: each one is waited for, so none may be lost.
EVERY = _profile(50)
#: Odometry: the newest; best effort matches every base driver.
ODOM = _profile(1, reliable=False)
#: Texts: none may be lost, none may be replayed to a policy that starts later.
COMMAND = _profile(10)
#: What is being obeyed, the gate's state: whoever joins late must know.
STATE = _profile(1, latched=True)
#: Records of instructions: each one counts (stop waits), and the newest must reach late joiners.
INSTRUCTION = _profile(10, latched=True)
#: Events: a burst must survive a slow reader.
EVENTS = _profile(100)
#: Decisions: every step is read by recorders; a slow reader must not stall the gate's memory.
DECISION = _profile(50)
#: Heartbeats: a few may wait behind a busy executor; old ones are worthless.
HEARTBEAT = _profile(5)
#: Velocities: the newest only, never replayed after a stall.
VELOCITY = _profile(1)
#: E-stop, first subscription: a latched button that was pressed before the gate started. None of
#: the three may forget a press for the release, or the other button, that comes at once after it.
ESTOP_LATCHED = _profile(10, latched=True)
#: E-stop, second subscription: default publishers, of which no word may be lost.
ESTOP_RELIABLE = _profile(10)
#: E-stop, third subscription: best effort ones.
ESTOP_PLAIN = _profile(10, reliable=False)
#: Stop requests: none may be lost.
REQUEST = _profile(10)
#: Health summary.
HEALTH = _profile(1)


def chunk(lockstep: bool, validity: float) -> QoSProfile:
    """Chunks: the newest only, none older than its `validity` s after a stall."""
    return EVERY if lockstep else _profile(1, lifespan=validity)


def image(lockstep: bool) -> QoSProfile:
    """Frames by clock: every one in lock-step, the newest otherwise."""
    return EVERY if lockstep else SENSOR


def odom(lockstep: bool) -> QoSProfile:
    """Odometry by clock: every one in lock-step, the newest otherwise."""
    return EVERY if lockstep else ODOM
