"""Play episodes on a lock-step graph and judge them by the simulator's truth."""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import math

from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_interfaces.msg import Decision
from vla_learning.evaluation.tasks import BLIND, motion_fulfilled, Sentence, SWAPPED, Task
from vla_ros.conversion import to_ns, twist_from_msg
from vla_ros.lockstep import LockstepError, TICK
from vla_sim.lockstep import LockstepDriver

#: s of simulated time for a goal, and for a motion.
TIME_LIMIT, MOTION_TIME = 60.0, 3.0
#: m to the surface of the object.
NEAR = 0.35
#: At rest (docs/reference/safety.md): m/s, rad/s, for so many s.
STILL_SPEED, STILL_TURN_RATE, STILL_TIME = 0.02, 0.05, 0.5
#: s after the end of an instruction in which the robot may come to rest.
REST = 0.6
#: s of standing in a new layout before anything is said.
SETTLE = 0.12
_POSE_EVERY = 5
#: Ticks before a sentence that is only said: the policy hears at most 50 texts a second.
_PAUSE = 2
#: s between two attempts to get the gate armed, and how many there are.
_ARMING_PAUSE, _ARMING_ATTEMPTS = 0.5, 40
#: Begins the end of an episode that the gate ended.
_GATE = 'gate '
#: End of an episode in which the graph fell silent.
SILENT = 'SILENT'
_GOING_ON = (State.ARMING, State.ACTIVE, State.HOLD)


@dataclass(frozen=True)
class Outcome:
    """What became of an episode.

    Attributes:
        task: what was asked for.
        success: as the task's category counts it; a goal also has to be called DONE.
        wrong_object: at rest near another object than the one that counts, and not near that one.
        end: status of the instruction at the end; the gate's state if that stopped the robot;
            SILENT if the graph fell silent.
        gap: m to the surface of the object that counts; NaN for motions.
        seconds: simulated.
        digest: of every decision, hex; equal runs have equal digests.
        poses: x, y, yaw every 0.1 s.
    """

    task: Task
    success: bool
    wrong_object: bool
    end: str
    gap: float
    seconds: float
    digest: str
    poses: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Answer:
    """What became of a sentence that was only said; None: the graph fell silent."""

    sentence: Sentence
    refused: bool | None


class _Witness:
    """Sees every tick: how far the robot turned, since when it rests, what was decided."""

    def __init__(self, driver: LockstepDriver) -> None:
        self._driver = driver
        self._hash = hashlib.sha256()
        self._still_ticks = 0
        self._began = driver.tick_number
        self._yaw = driver.arena.pose[2]
        self.turn = 0.0
        self.poses = [driver.arena.pose]

    @property
    def seconds(self) -> float:
        return (self._driver.tick_number - self._began) * TICK

    @property
    def at_rest(self) -> bool:
        return self._still_ticks * TICK >= STILL_TIME

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def tick(self) -> State:
        """Let one tick pass; return the gate's state."""
        driver, arena = self._driver, self._driver.arena
        decision = driver.tick()
        self._hash.update(repr(essence(decision)).encode())
        speed, turn_rate = arena.velocity
        still = abs(speed) < STILL_SPEED and abs(turn_rate) < STILL_TURN_RATE
        self._still_ticks = self._still_ticks + 1 if still else 0
        yaw = arena.pose[2]
        self.turn += math.remainder(yaw - self._yaw, math.tau)
        self._yaw = yaw
        if (driver.tick_number - self._began) % _POSE_EVERY == 0:
            self.poses.append(arena.pose)
        return State(decision.state)


def essence(decision: Decision) -> tuple[object, ...]:
    """Return what a repetition of the run must repeat; ages of the wall clock are left out."""
    return (
        decision.tick,
        decision.state,
        decision.cause,
        list(decision.causes),
        to_ns(decision.observation_stamp),
        decision.sequence,
        decision.step_index,
        decision.instruction_id,
        decision.chunk_status,
        twist_from_msg(decision.wanted),
        twist_from_msg(decision.allowed),
        twist_from_msg(decision.published),
    )


def make_ready(driver: LockstepDriver) -> None:
    """Be the person who arms the robot: let time pass until the gate is ACTIVE.

    Raises:
        LockstepError: if it is not after 20 s.
    """
    answer = ''
    for _ in range(_ARMING_ATTEMPTS):
        state = State(driver.tick(round(_ARMING_PAUSE / TICK)).state)
        if state is State.ACTIVE:
            return
        if state is State.STOPPED:
            _, answer = driver.arm()
        elif state is State.ESTOP:
            _, answer = driver.release()
    raise LockstepError(f'gate is {state.name} after {driver.time:.1f} s, not ACTIVE: {answer}')


def play(driver: LockstepDriver, task: Task) -> Outcome:
    """Play one episode; the gate is ACTIVE and the robot at rest before and after it.

    Raises:
        LockstepError: if a hop is missing, or the gate cannot be armed again.
    """
    driver.reset(task.layout, task.start)
    driver.tick(round(SETTLE / TICK))
    before = driver.arena.pose
    instruction = driver.say(task.text)
    witness = _Witness(driver)
    limit = MOTION_TIME if task.motion else TIME_LIMIT
    end = ''
    while not end and witness.seconds < limit:
        state = witness.tick()
        fate = Fate(driver.status(instruction))
        if state not in _GOING_ON:
            end = f'{_GATE}{state.name}'
        elif fate is not Fate.RUNNING:
            end = fate.name
            for _ in range(round(REST / TICK)):
                witness.tick()
    outcome = _judge(driver, task, witness, before, end or Fate.RUNNING.name)
    _finish(driver)
    return outcome


def hear(driver: LockstepDriver, sentence: Sentence) -> Answer:
    """Say a sentence and see whether the policy refuses it.

    Raises:
        LockstepError: if a hop is missing.
    """
    driver.tick(_PAUSE)
    return Answer(sentence, driver.status(driver.say(sentence.text)) == Fate.REFUSED)


def silent(item: Task | Sentence) -> Outcome | Answer:
    """Return what became of an item in which the graph fell silent: it failed."""
    if isinstance(item, Sentence):
        return Answer(item, None)
    start = item.start or item.layout.start
    return Outcome(item, False, False, SILENT, math.nan, math.nan, '', (start,))


def _judge(
    driver: LockstepDriver,
    task: Task,
    witness: _Witness,
    before: tuple[float, float, float],
    end: str,
) -> Outcome:
    arena = driver.arena
    gap, success, wrong = math.nan, False, False
    stopped = end.startswith(_GATE)
    if task.motion:
        x, y = (after - start for after, start in zip(arena.pose[:2], before[:2], strict=True))
        cos, sin = math.cos(before[2]), math.sin(before[2])
        forward, sideways = cos * x + sin * y, cos * y - sin * x
        success = motion_fulfilled(task.motion, forward, sideways, witness.turn) and not stopped
    else:
        gaps = [arena.gap(index) for index in range(len(arena.layout.objects))]
        gap = gaps[task.target]
        # Where ending there is the failure, it need not say so.
        control = task.category in (SWAPPED, BLIND) and not stopped
        done = end == Fate.DONE.name or control
        success = witness.at_rest and gap <= NEAR and done
        wrong = witness.at_rest and gap > NEAR and min(gaps) <= NEAR
    return Outcome(
        task, success, wrong, end, gap, witness.seconds, witness.digest, tuple(witness.poses)
    )


def _finish(driver: LockstepDriver) -> None:
    """Bring the robot to rest, armed, whatever it was doing."""
    driver.say('stop')
    rest = round(STILL_TIME / TICK)
    for _ in range(10):
        driver.tick(rest)
        speed, turn_rate = driver.arena.velocity
        if abs(speed) < STILL_SPEED and abs(turn_rate) < STILL_TURN_RATE:
            break
    if State(driver.decision.state) is not State.ACTIVE:
        make_ready(driver)
