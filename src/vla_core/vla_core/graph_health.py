"""Health of the whole graph: who lives, how long each hop takes, what is wrong.

Times called `now` are s on the monitor's monotonic clock; ages are s on the ROS time base.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import enum
import math
import re

from vla_core.action_statistics import ActionLimits, ActionStatistics
from vla_core.envelope_guard import ActionGuard, MARGIN
from vla_core.errors import ConfigError
from vla_core.health import Arrivals, HOPS, Hops, LatencyAlarm, MINIMUM, SPAN, Summary
from vla_core.parameters import parameter
from vla_core.types import ActionChunk, PolicySpec, Status

#: What can be asked of the gate, by the ladder: slow is half speed.
REQUESTS = ('none', 'slow', 'hold', 'controlled_stop')
#: Begin of the names of cameras in `nodes`.
CAMERA = 'camera/'
#: Heartbeat.STATE_IDLE, STATE_BUSY.
_IDLE, _BUSY = 0, 2
_NODE = re.compile(r'[A-Za-z]\w*(/[A-Za-z]\w*)?', re.ASCII)
#: Nodes remembered at most: foreign messages must not fill the memory.
MAX_NODES = 32
#: s, heartbeat age that is healthy in lock-step (docs/explanation/way-of-a-frame.md).
LOCKSTEP_SILENCE = 5.0
#: s after its last heartbeat that a node is remembered which is not among those that must live.
FORGOTTEN = 10.0
#: Consecutive errors at which the gate latches ESTOP (docs/reference/safety.md).
MAX_ERRORS = 5


@dataclass(frozen=True)
class MonitorConfig:
    """Parameters of the monitor."""

    robot: str = parameter(doc='robot file: a name from config/robots, or a path')
    checkpoint: str = parameter(
        default='',
        doc='checkpoint or built-in policy, by name or path, whose training envelope actions are '
        'held against; empty: they are not',
    )
    clock: str = parameter(
        default='steady',
        choices=('steady', 'lockstep'),
        doc='steady for robots, lockstep for evaluation and replay',
    )
    nodes: str = parameter(
        default='gate policy camera/front', doc='nodes that must live, separated by blanks'
    )
    silence: float = parameter(
        default=0.5, unit='s', low=0.1, high=60.0, doc='heartbeat age from which a node is silent'
    )
    latency_limit: float = parameter(
        default=0.5, unit='s', low=0.01, high=60.0, doc='inference longer than this is an alarm'
    )
    warm_up: int = parameter(
        default=5, low=0, high=1000, doc='first inferences of a run, left out of the baseline'
    )
    z_score: float = parameter(
        default=3.0, low=1.0, high=100.0, doc='deviations from its mean at which an axis is odd'
    )
    sigma_floor: float = parameter(
        default=0.2, unit='SI', low=0.001, high=100.0, doc='smallest deviation assumed of an axis'
    )
    jump: float = parameter(
        default=1.0, unit='SI', low=0.001, high=100.0, doc='change between chunks that is odd'
    )
    saturation: float = parameter(
        default=0.98, unit='SI', low=0.001, high=100.0, doc='where the end of an axis begins'
    )
    window: int = parameter(
        default=500, low=MINIMUM, high=100_000, doc='chunks over which actions are averaged'
    )
    odd_share: float = parameter(
        default=0.2, low=0.0, high=1.0, doc='share of odd chunks above which there is an alarm'
    )
    disagreement: float = parameter(
        default=0.5, unit='SI', low=0.001, high=100.0, doc='overlap difference that is an alarm'
    )
    envelope_margin: float = parameter(
        default=MARGIN,
        low=0.0,
        high=100.0,
        doc="deviations beyond the training's smallest and largest action that are still inside",
    )
    on_slow: str = parameter(
        default='none', choices=REQUESTS, doc='what is asked of the gate while inference is slow'
    )
    on_over_limit: str = parameter(
        default='hold', choices=REQUESTS, doc='what is asked above latency_limit'
    )
    on_odd_actions: str = parameter(
        default='none', choices=REQUESTS, doc='what is asked while actions are odd'
    )
    on_outside: str = parameter(
        default='none',
        choices=REQUESTS,
        doc='what is asked while actions or observations are outside of the training envelope',
    )
    black_box_folder: str = parameter(
        default='', doc="folder of the black box's files; empty: black_box in ROS's log folder"
    )


class Level(enum.IntEnum):
    """How well something is; the numbers of HealthReport.LEVEL_*."""

    UNKNOWN = 0
    OK = 1
    WARN = 2
    ERROR = 3


class Alarm(enum.Enum):
    """What can be wrong."""

    SLOW = 'slow'
    OVER_LIMIT = 'over_limit'
    ODD_ACTIONS = 'odd_actions'
    OUTSIDE = 'outside'
    SATURATED = 'saturated'
    DISAGREEMENT = 'disagreement'
    STAMPS = 'stamps'
    SILENT = 'silent'
    STALLED = 'stalled'
    QUIET = 'quiet'
    FAILING = 'failing'

    @property
    def level(self) -> Level:
        """How bad it is by itself."""
        grave = (Alarm.OVER_LIMIT, Alarm.SILENT, Alarm.STALLED, Alarm.FAILING)
        return Level.ERROR if self in grave else Level.WARN


@dataclass(frozen=True)
class Beat:
    """What a node says of itself in a heartbeat."""

    state: int = 0
    state_age: float = 0.0
    progress: int = 0
    errors_total: int = 0
    consecutive_errors: int = 0
    detail: str = ''
    warning: str = ''


@dataclass(frozen=True)
class NodeReport:
    """One node as the monitor sees it; NaN: never, or too rarely heard."""

    name: str
    beat: Beat
    rate: float
    age: float
    silent: bool


@dataclass(frozen=True)
class Report:
    """What is known at one moment."""

    level: Level
    nodes: tuple[NodeReport, ...]
    hops: dict[str, Summary]
    quiet: tuple[str, ...]
    latency: Summary
    baseline: float
    inferences: int
    action_names: tuple[str, ...]
    action_variance: tuple[float, ...]
    anomalies: int
    alarms: tuple[tuple[Alarm, str], ...]
    instruction: str
    envelope: str
    outside: dict[str, tuple[float, int]]


class GraphHealth:
    """Everything the monitor knows; bounded in memory whatever is published."""

    def __init__(self, config: MonitorConfig, spec: PolicySpec | None = None) -> None:
        """Expect the nodes of the configuration, and chunks of the policy with this contract.

        Raises:
            ConfigError: if one of them is no name, or there are none, or more than MAX_NODES.
        """
        self._config = config
        self._spec = spec
        self._limits = ActionLimits(
            *(config.z_score, config.sigma_floor, config.jump, config.saturation),
            config.window,
            config.odd_share,
        )
        # In lock-step a beat only shows that a process lives: it may wait for a slow simulator.
        floor = LOCKSTEP_SILENCE if config.clock == 'lockstep' else 0.0
        self._silence = max(config.silence, floor)
        self._expected = tuple(config.nodes.split())
        if not 0 < len(self._expected) <= MAX_NODES:
            raise ConfigError(f'nodes has {len(self._expected)} names: expected 1 to {MAX_NODES}')
        for name in self._expected:
            if not _NODE.fullmatch(name):
                raise ConfigError(
                    f'nodes has {name!r}: expected names such as gate or camera/front'
                )
        self._nodes = {name: (Arrivals(), Beat()) for name in self._expected}
        #: Camera -> when it last delivered; its first heartbeat counts too.
        self._delivered: dict[str, float] = {}
        #: When the policy last said that it has nothing to do.
        self._idle_at = -math.inf
        self.hops = Hops()
        #: Newest record of an instruction, for a person.
        self.instruction = 'none'
        self._latency = LatencyAlarm(config.latency_limit, config.warm_up)
        self._actions = ActionStatistics((), self._limits)
        self._guard = ActionGuard(spec, config.envelope_margin)
        self._run = 0
        self._resting = False
        self._inferences = 0
        self._anomalies_before = 0

    @property
    def basis(self) -> str:
        """What actions are held against, or why they are not."""
        return self._guard.basis

    def heartbeat(self, name: str, now: float, beat: Beat) -> None:
        """Note a sign of life; names beyond MAX_NODES are ignored."""
        if name in self._nodes or len(self._nodes) < MAX_NODES:
            arrivals = self._nodes[name][0] if name in self._nodes else Arrivals()
            arrivals.record(now)
            self._nodes[name] = arrivals, beat
            if name.startswith(CAMERA) and name in self._expected:
                self._delivered.setdefault(name, now)
            if name == 'policy' and beat.state == _IDLE:
                self._idle_at = now

    def image(self, camera: str, stamp_ns: int, now: float, age: float) -> None:
        """Note an image of one of the cameras among the nodes, `age` s after its stamp."""
        self._delivered[camera] = now
        self.hops.image(stamp_ns, now, age)

    def chunk(self, chunk: ActionChunk, now: float) -> None:
        """Judge a chunk and its inference; a new policy run is judged afresh."""
        if chunk.policy_run != self._run:
            self._run = chunk.policy_run
            self._latency.reset()
            self._follow(())
            self._guard = ActionGuard(self._spec, self._config.envelope_margin)
        self.hops.chunk(chunk.observation_stamp_ns, now, chunk.inference_seconds)
        if chunk.inference_seconds > 0.0:
            self._inferences += 1
            self._latency.record(chunk.inference_seconds)
        # Zeros of an idle, finished or refused instruction say nothing about the policy's habits.
        self._resting = chunk.status != Status.RUNNING
        if not self._resting:
            if chunk.names != self._actions.names:
                self._follow(chunk.names)
            self._actions.record(chunk.data, chunk.stamp_ns, chunk.step_dt, chunk.predicted)
            self._guard.chunk(chunk)

    def reject_chunk(self) -> None:
        """Count a chunk that is not even well formed."""
        self._actions.reject()

    def alarms(self, now: float) -> tuple[tuple[Alarm, str], ...]:
        """List what is wrong, each with its numbers, for a person."""
        self._forget(now)
        found = *self._node_alarms(now), *self._policy_alarms(), *self._outside_alarms()
        return *found, *self._stamp_alarms(), *self._quiet_alarms(now)

    def request(self) -> tuple[str, str]:
        """Say what to ask of the gate, one of REQUESTS, and why.

        Nothing in lock-step: wall-clock latencies must not change a run that is to be repeatable.
        """
        if self._config.clock == 'lockstep':
            return 'none', ''
        wanted = {
            Alarm.SLOW: self._config.on_slow,
            Alarm.OVER_LIMIT: self._config.on_over_limit,
            Alarm.ODD_ACTIONS: self._config.on_odd_actions,
            Alarm.OUTSIDE: self._config.on_outside,
        }
        # A robot that stands by itself is in no danger from a policy that was slow or odd before.
        if self._resting:
            return 'none', ''
        found = (*self._policy_alarms(), *self._outside_alarms())
        asked = [(wanted.get(alarm, 'none'), text) for alarm, text in found]
        return max(asked, key=lambda ask: REQUESTS.index(ask[0]), default=('none', ''))

    def report(self, now: float) -> Report:
        """Sum up."""
        hops = self.hops.summaries(now)
        alarms = self.alarms(now)
        known = hops['inference'].count >= MINIMUM
        level = max(
            (alarm.level for alarm, _ in alarms), default=Level.OK if known else Level.UNKNOWN
        )
        return Report(
            level=level,
            nodes=tuple(
                NodeReport(
                    *(name, beat, arrivals.rate(now), arrivals.age(now)),
                    silent=not arrivals.age(now) <= self._silence,
                )
                for name, (arrivals, beat) in sorted(self._nodes.items())
            ),
            hops=hops,
            quiet=tuple(self._quiet(hops, now)),
            latency=hops['inference'],
            baseline=self._latency.baseline,
            inferences=self._inferences,
            action_names=self._actions.names,
            action_variance=self._actions.variance,
            anomalies=self._anomalies_before + self._actions.anomalies,
            alarms=alarms,
            instruction=self.instruction,
            envelope=self.basis,
            outside=self._guard.outside,
        )

    def _follow(self, names: Sequence[str]) -> None:
        self._anomalies_before += self._actions.anomalies
        self._actions = ActionStatistics(names, self._limits)

    def _forget(self, now: float) -> None:
        """Forget nodes that nobody expects, once they have been gone for a while."""
        for name in [name for name in self._nodes if name not in self._expected]:
            if not self._nodes[name][0].age(now) <= FORGOTTEN:
                del self._nodes[name]

    def _node_alarms(self, now: float) -> list[tuple[Alarm, str]]:
        found = []
        for name, (arrivals, beat) in self._nodes.items():
            age = arrivals.age(now)
            if math.isnan(age):
                found.append((Alarm.SILENT, f'{name}: never heard'))
            elif not age <= self._silence and name in self._expected:
                found.append((Alarm.SILENT, f'{name}: last heard {age:.2f} s ago'))
            elif beat.consecutive_errors >= MAX_ERRORS:
                found.append(
                    (Alarm.FAILING, f'{name}: {beat.consecutive_errors} errors: {beat.detail}')
                )
            elif now - self._delivered.get(name, now) > SPAN:
                spell = now - self._delivered[name]
                found.append((Alarm.STALLED, f'{name}: no image for {spell:.0f} s'))
            elif name == 'policy' and self._too_busy(beat):
                text = f'{name}: busy for {beat.state_age:.1f} s: expected at most '
                found.append((Alarm.STALLED, f'{text}{self._config.latency_limit} s'))
        return found

    def _too_busy(self, beat: Beat) -> bool:
        """Say whether an inference takes too long that has no latency yet: it is not over."""
        return beat.state == _BUSY and not beat.state_age <= self._config.latency_limit

    def _policy_alarms(self) -> list[tuple[Alarm, str]]:
        config, actions, latency = self._config, self._actions, self._latency
        found: list[tuple[Alarm, str]] = []
        if self._resting:
            return found
        if latency.over_limit:
            text = (
                f'inference takes {latency.mean:.3f} s: expected at most {config.latency_limit} s'
            )
            found.append((Alarm.OVER_LIMIT, text))
        if latency.slow:
            text = f'inference takes {latency.mean:.3f} s: expected about {latency.baseline:.3f} s'
            found.append((Alarm.SLOW, text))
        if actions.odd:
            counts = ', '.join(f'{kind} {count}' for kind, count in actions.counts.items())
            found.append(
                (Alarm.ODD_ACTIONS, f'{actions.odd_share:.0%} odd chunks lately ({counts})')
            )
        if actions.disagreement > config.disagreement:
            text = f'chunks contradict each other by {actions.disagreement:.2f} on average'
            found.append((Alarm.DISAGREEMENT, text))
        for name, share in zip(actions.names, actions.saturation, strict=True):
            # A gripper is at one of its ends nearly always.
            if name != 'gripper' and share > 0.95:
                found.append((Alarm.SATURATED, f'{name} is at its end in {share:.0%} of chunks'))
        return found

    def _outside_alarms(self) -> list[tuple[Alarm, str]]:
        """List what the training has not seen: actions here, observations by the policy itself."""
        found = [(Alarm.OUTSIDE, str(finding)) for finding in self._guard.findings]
        found += [
            (Alarm.OUTSIDE, f'{name}: {beat.warning}')
            for name, (_, beat) in self._nodes.items()
            if beat.warning
        ]
        return found

    def _stamp_alarms(self) -> list[tuple[Alarm, str]]:
        return [
            (
                Alarm.STAMPS,
                f'{hop} would take {seconds:.3f} s: two clocks differ, or a stamp is wrong',
            )
            for hop, seconds in self.hops.implausible.items()
        ]

    def _quiet(self, hops: Mapping[str, Summary], now: float) -> dict[str, float]:
        """Return the hops where frames came through and do none any more, and for how long, s.

        Images must come all the time. What follows comes from the policy: while it is idle it
        owes nothing.
        """
        owed = dict.fromkeys(HOPS, now - self._idle_at) | {HOPS[0]: math.inf}
        spells = {name: min(hop.age, owed[name]) for name, hop in hops.items()}
        return {name: spell for name, spell in spells.items() if spell > SPAN}

    def _quiet_alarms(self, now: float) -> list[tuple[Alarm, str]]:
        quiet = self._quiet(self.hops.summaries(now), now)
        if not quiet:
            return []
        return [(Alarm.QUIET, f'nothing for {max(quiet.values()):.0f} s: {", ".join(quiet)}')]
