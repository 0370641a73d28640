"""Play faults: drive, break, watch, mend, see that the robot rests, judge; again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, ExitStack, suppress
import itertools
from pathlib import Path
import time

import psutil

from vla_cli.bench.driving import drive
from vla_cli.bench.pauses import Pauses
from vla_cli.faults import catalogue
from vla_cli.faults.catalogue import Fault
from vla_cli.faults.expectation import Expected, Kind
from vla_cli.faults.injectors import INJECTORS
from vla_cli.faults.judging import judge, Outcome, reaches, Record, Sample
from vla_cli.faults.report import Result
from vla_cli.faults.robot_file import Subject
from vla_cli.faults.scene import Scene, scene
from vla_cli.graph import GraphError
from vla_cli.live import LiveGraph
from vla_cli.reaction import SLOWER
from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import clamp, Vector
from vla_interfaces.msg import Decision
from vla_ros.conversion import to_ns, twist_from_msg

#: States in which a stop has ended.
_RESTING = (State.STOPPED, State.ESTOP, State.FAULT)
#: s for that, when the fault is mended.
_SETTLE = 5.0
#: s in which a robot that is told to go on, and is not armed, has to rest.
_REST = 1.0
#: s for a policy to answer, and how often it is told; a busy machine takes half a minute to start.
_HEARING = 5.0
_HEARINGS = 12
#: s for a hold that ends by itself, and to be as fast as before, or as asked.
_REGAIN = 2.0
#: s in which what was said before the fault arrives here.
_DRAIN = 0.05
#: Graphs that are started for one repetition before it is given up.
_STARTS = 2


class AnswerError(GraphError):
    """Something failed once the fault was there: part of the answer to it."""


class Stage:
    """Keeps one scene until another is asked for, or it is ruined."""

    def __init__(self, subject: Subject, policy: str, folder: Path, pauses: Pauses) -> None:
        """Start no graph yet; `scene` has the arguments."""
        self._arguments = subject, policy, folder
        self.pauses = pauses
        self._running = ExitStack()
        self._graph: catalogue.Graph | None = None
        self._scene: Scene | None = None
        self.gate = ''

    def scene(self, graph: catalogue.Graph) -> Scene:
        """Return a running graph of this kind.

        Raises:
            GraphError: if it does not start.
        """
        if self._scene is None or self._graph is not graph:
            self.close()
            self._scene = self._running.enter_context(scene(graph, *self._arguments))
            self._graph = graph
            self.gate = self._scene.gate_class()
        return self._scene

    def close(self) -> None:
        """End the graph."""
        self._scene = None
        self._running.close()


def play(
    chosen: Iterable[tuple[Fault, Expected]],
    count: int,
    subject: Subject,
    policy: str,
    folder: Path,
    tell: Callable[[Result], None],
) -> tuple[list[Result], str]:
    """Play every fault `count` times.

    Args:
        chosen: faults and the right reactions to them.
        count: repetitions of each.
        subject: robot.
        policy: that drives.
        folder: for what the processes say.
        tell: hears of every fault that is done.

    Returns:
        One result for each fault, and the scheduling class of the gate.
    """
    results = []
    folder.mkdir(parents=True, exist_ok=True)
    with Pauses() as pauses, closing(Stage(subject, policy, folder, pauses)) as stage:
        for fault, expected in chosen:
            found = [_measured(stage, fault, expected) for _ in range(count)]
            results.append(
                Result(
                    fault.name,
                    fault.does,
                    str(expected),
                    fault.graph.value,
                    tuple(outcome for outcome in found if isinstance(outcome, Outcome)),
                    tuple(reason for reason in found if isinstance(reason, str)),
                )
            )
            tell(results[-1])
        return results, stage.gate


def _measured(stage: Stage, fault: Fault, expected: Expected) -> Outcome | str:
    """Return the outcome of one repetition, or why there is none.

    Only what fails before the fault is there is tried again: an answer that fails half the time is
    none that was met.
    """
    reason = ''
    for _ in range(_STARTS):
        try:
            outcome = attempt(stage.scene(fault.graph), fault, expected, stage.pauses)
        except AnswerError as error:
            stage.close()
            return str(error)
        except GraphError as error:
            reason = str(error)
            stage.close()
            continue
        if fault.ruins:
            stage.close()
        return outcome
    return reason


def attempt(scene: Scene, fault: Fault, expected: Expected, pauses: Pauses) -> Outcome:
    """Play a fault once.

    Raises:
        AnswerError: if something else failed once the fault was there: the graph ended, a policy
            did not come back, decisions were lost.
        GraphError: if the robot could not be brought to drive, or the fault to be there.
    """
    live, intruder = scene.live, scene.intruder
    scene.trouble.clear()
    ahead = scene.robot.axes[0]
    speed = drive(live, ahead.max_speed if ahead else 0.0)
    rate = scene.relay.frame_rate()
    # Whoever answered may have taken a while: the last step before the fault is taken after it.
    live.spin(_DRAIN)
    last = live.decision
    live.forget()
    intruder.forget()
    begin = time.monotonic()
    with ExitStack() as broken:
        began = _break(scene, fault, broken)
        with _as_answer():
            watched = _watch(scene, fault, expected, speed, broken)
            pause = max(pauses.between(begin, time.monotonic()), default=0.0)
            decisions = [last, *live.decisions[:watched]]
            wrong_clock = fault.graph is catalogue.Graph.SIM_TIME
            times = list((by_spans if wrong_clock else by_stamps)(decisions, began))
    record = Record(
        speed,
        [_sample(at, decision) for at, decision in zip(times, decisions, strict=True)],
        [((stamp - began) * 1e-9, found) for stamp, found in intruder.track],
        rate,
        pause,
        tuple(scene.trouble),
    )
    return judge(record, expected, scene.limits)


def _break(scene: Scene, fault: Fault, broken: ExitStack) -> int:
    """Let a fault begin; return ROS time of that, ns."""
    try:
        return broken.enter_context(INJECTORS[fault.name](scene))
    except psutil.Error as error:
        raise GraphError(f'{fault.name}: its process is gone already: {error}') from error


@contextmanager
def _as_answer() -> Iterator[None]:
    try:
        yield
    except (GraphError, psutil.Error) as error:
        raise AnswerError(f'failed once the fault was there: {error}') from error


def _watch(scene: Scene, fault: Fault, expected: Expected, speed: float, broken: ExitStack) -> int:
    """Watch what is broken, mend it, see the robot rest; return how many decisions count."""
    live = scene.live
    live.spin(fault.span)
    if expected.kind is Kind.GOES_ON:
        _regain(live, lambda velocity: velocity[0] >= speed - SLOWER)
    elif expected.kind is Kind.LIMITED:
        allowed = clamp(expected.asked, scene.limits.speed)
        _regain(live, lambda velocity: reaches(velocity, allowed))
    watched = len(live.decisions)
    # A graph that has ended has nothing more to say, and the last of its words were good.
    if expected.ends:
        live.graph.check()
    broken.close()
    # What goes on is judged while it is broken, a stop until somebody would arm.
    if expected.ends and expected.kind in (Kind.STOPS, Kind.BASE_STOPS):
        _rest(scene)
        watched = len(live.decisions)
    return watched


def _regain(live: LiveGraph, drives: Callable[[Vector], bool]) -> None:
    """Let a hold or a change of speed come to its end; who judges sees whether it did."""

    def regained() -> bool:
        decision = live.decision
        return decision.state == State.ACTIVE and drives(twist_from_msg(decision.published))

    with suppress(GraphError):
        live.until(regained, 'the robot drives on', _REGAIN)


def _rest(scene: Scene) -> None:
    """Wait for rest; then let a policy that is well again want to move, for a while."""
    live = scene.live
    try:
        live.until(lambda: live.decision.state in _RESTING, 'rest', _SETTLE)
    except GraphError as error:
        scene.trouble.append(str(error))
        return
    # A policy that is just starting again may not hear the first one.
    for hearing in range(_HEARINGS):
        try:
            live.say('move forward', _HEARING)
            break
        except GraphError:
            if hearing == _HEARINGS - 1:
                raise
    live.spin(_REST)


def by_stamps(decisions: Sequence[Decision], began: int) -> Iterator[float]:
    """Give the time of every step by its stamp, s after the fault."""
    for decision in decisions:
        yield (to_ns(decision.header.stamp) - began) * 1e-9


def by_spans(decisions: Sequence[Decision], began: int) -> Iterator[float]:
    """Give it by the spans between the steps, which the gate takes from its own steady clock.

    The first step was the last before the fault, so that what follows is late by 0.02 s at most.

    Raises:
        GraphError: if a step is missing.
    """
    at = 0.0
    for before, decision in itertools.pairwise((None, *decisions)):
        if before is not None:
            if decision.tick != before.tick + 1:
                raise GraphError(f'{decision.tick - before.tick - 1} decisions were lost')
            at += decision.dt
        yield at


def _sample(at: float, decision: Decision) -> Sample:
    return Sample(
        at,
        decision.tick,
        decision.dt,
        State(decision.state),
        Cause(decision.cause),
        frozenset(map(Cause, decision.causes)),
        twist_from_msg(decision.published),
    )
