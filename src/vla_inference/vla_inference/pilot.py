"""Everything that the policy node does, without ROS: texts and frames in, records and chunks out.

One thread calls it; only the worker's runner lives in another. Failures of a frame never raise:
they are counted, and the frame's chunk stands still or stays away.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
import itertools
import math
from typing import Protocol

import numpy as np

from vla_core.envelope_guard import ObservationGuard
from vla_core.errors import CheckpointError, ObservationError, VlaError
from vla_core.execution import Execution, PERIOD
from vla_core.prefetch import Prefetch
from vla_core.session import Fate, Heard, ODOM_TIMEOUT, Record, Session, Source
from vla_core.types import ActionChunk, Language, Observation, PolicySpec, Status
from vla_core.worker import Activity, Incident, LatestWorker, Outcome
from vla_inference.assembly import Assembler, Frames, FramesApart, Odometry
from vla_inference.runner import Actions, Answer, Encode, Infer, Job

#: A stamp further ahead than this is wrong (docs/reference/safety.md).
MAX_AHEAD = 0.05
#: What a policy's state vector may consist of.
STATE_NAMES = ('odom.v', 'odom.w')


class Sink(Protocol):
    """Where a pilot's output goes."""

    def record(self, record: Record) -> None:
        """Publish what became of a text."""
        ...

    def chunk(self, chunk: ActionChunk) -> None:
        """Publish actions."""
        ...

    def report(self, text: str, severe: bool) -> None:
        """Tell a person."""
        ...


class Time(Protocol):
    """The process's clock (vla_ros.clock.ProcessClock)."""

    lockstep: bool

    def now(self) -> float:
        """Return s on the clock that judges ages."""
        ...

    def stamp_age(self, stamp_ns: int) -> float:
        """Return s since a stamp."""
        ...


@dataclass(frozen=True)
class Tally:
    """Inputs that failed; those that retry or fallback cured are counted apart."""

    total: int = 0
    consecutive: int = 0
    cured: int = 0
    clipped: int = 0
    detail: str = ''


class Pilot:
    """Follows instructions with one policy."""

    def __init__(
        self,
        session: Session,
        worker: LatestWorker[Job, Answer],
        time: Time,
        run: int,
        sink: Sink,
        slot_tolerance: float = 0.02,
        replan_after: float = 0.0,
    ) -> None:
        """Wire the parts; `load` brings the policy in.

        Args:
            session: life of the instructions.
            worker: its handler is a Runner; its outcomes must come to `outcome`, in this thread.
            time: the process's clock.
            run: policy_run, ns.
            sink: takes the output.
            slot_tolerance: s between stamps of frames that are seen together.
            replan_after: s for which a chunk is played (vla_core.prefetch).
        """
        self._session = session
        self._worker = worker
        self._time = time
        self._run = run
        self._sink = sink
        self._tolerance = slot_tolerance
        self._spec: PolicySpec | None = None
        self._execution: Execution | None = None
        self._prefetch = Prefetch(replan_after)
        self._guard: ObservationGuard | None = None
        self._assembler = Assembler((), time.lockstep)
        self._followers: list[Callable[[Record], None]] = []
        self._sequence = itertools.count(1)
        self._tally = Tally()
        self._active = False
        self._moment = 0.0
        self._frame_ns = 0
        self._odometry: Odometry | None = None
        self._odometry_at = -math.inf
        self._good_frames = 0

    @property
    def tally(self) -> Tally:
        """Failures so far."""
        return self._tally

    @property
    def progress(self) -> int:
        """Frames and texts finished so far, well or badly."""
        return self._good_frames + self._tally.total

    @property
    def warning(self) -> str:
        """What of the observations the training has not seen; empty if nothing."""
        return '; '.join(map(str, self._guard.findings)) if self._guard is not None else ''

    def follow(self, follower: Callable[[Record], None]) -> None:
        """Call somebody with every record, after it was published."""
        self._followers.append(follower)

    def fit(
        self, spec: PolicySpec, execution: Execution, guard: ObservationGuard | None = None
    ) -> None:
        """Take over the contract of the policy that the worker has loaded.

        Args:
            spec: contract.
            execution: brings its chunks to the robot.
            guard: holds observations against the training's; None: nothing does.

        Raises:
            CheckpointError: if it wants a state that nobody provides, or no camera: its chunks
                come with the frames.
        """
        if not spec.cameras:
            raise CheckpointError(f'{spec.model_id}: no camera slot: expected at least one')
        unknown = sorted(set(spec.state_names) - set(STATE_NAMES))
        if unknown:
            raise CheckpointError(
                f'{spec.model_id}: state {unknown[0]!r}: expected some of {STATE_NAMES}'
            )
        self._spec, self._execution, self._guard = spec, execution, guard
        slots = [slot.name for slot in spec.cameras]
        self._assembler = Assembler(slots, self._time.lockstep, self._tolerance)

    def activate(self) -> None:
        """Obey, and send chunks."""
        self._session.activate()
        self._active = True

    def deactivate(self, reason: str) -> None:
        """Send zeros a last time, and obey no longer."""
        if self._active:
            self._publish(self._session.deactivate(reason))
            if self._frame_ns:
                self._send(self._frame_ns, None)
        self._active = False

    def state(self) -> tuple[Activity, bool, float]:
        """Return the worker's activity, whether anything is to be done, and s in that activity."""
        activity, age = self._worker.activity()
        session = self._session
        return activity, session.status is Status.RUNNING or session.pending_id > 0, age

    def feedback(self) -> tuple[int, Status, float]:
        """Return the id that is obeyed, its status and s since it was heard."""
        now = self._now()
        return self._session.instruction_id, self._session.status, self._session.elapsed(now)

    def hear(
        self, text: str, source: Source, source_stamp: int = 0, deadline: float = 0.0
    ) -> Heard:
        """Take a text in."""
        heard = self._session.hear(self._now(), text, source, source_stamp, deadline)
        self._publish(heard.records)
        if heard.text is not None:
            self._worker.submit(Encode(heard.id, heard.text), 'text')
        return heard

    def image(self, slot: str, image: np.ndarray, stamp_ns: int) -> None:
        """Take a camera's image in, RGB."""
        if not self._time.lockstep and -self._time.stamp_age(stamp_ns) > MAX_AHEAD:
            ahead = -self._time.stamp_age(stamp_ns)
            raise ObservationError(f'frame is {ahead:.3f} s ahead: expected at most {MAX_AHEAD} s')
        try:
            due = self._assembler.image(slot, image, stamp_ns)
        except FramesApart as error:
            self._count_apart(str(error))
            self._sink.report(str(error), severe=False)
            return
        self._happen(due)

    def odometry(self, stamp_ns: int, speed: float, turn_rate: float) -> None:
        """Take odometry in, m/s and rad/s."""
        if not np.isfinite((speed, turn_rate)).all():
            raise ObservationError(
                f'odometry {speed} m/s, {turn_rate} rad/s: expected finite ones'
            )
        self._happen(self._assembler.odometry(Odometry(stamp_ns, speed, turn_rate)))

    def count(self, error: Exception) -> None:
        """Count one input as failed."""
        tally = self._tally
        detail = f'{type(error).__name__}: {error}'
        self._tally = replace(
            tally, total=tally.total + 1, consecutive=tally.consecutive + 1, detail=detail
        )

    def outcome(self, outcome: Outcome[Job, Answer]) -> None:
        """Take what the worker made of a text or a frame."""
        job, answer = outcome.item, outcome.result
        if isinstance(job, Encode):
            self._encoded(job, answer, outcome.error)
            return
        stale = job.instruction_id != self._session.instruction_id or self._session.pending_id
        if stale or self._session.status is not Status.RUNNING:
            return
        stamp_ns = job.observation.stamp_ns
        if not isinstance(answer, Actions):
            self._session.unanswered()
            self._failed(outcome.error or VlaError(f'{type(answer).__name__} for a frame'))
            self._send(stamp_ns, None, outcome.seconds)
            return
        if self._execution is None:
            return
        self._succeeded(answer)
        velocities = self._execution.velocities(answer.data)
        speed, turn_rate = self._planar(velocities)
        self._session.predicted(self._now(), answer.done, speed, turn_rate)
        self._publish(self._session.advance(self._now()))
        sent = None if self._session.still else velocities
        self._send(stamp_ns, sent, outcome.seconds, answer.data)

    def supervise(self) -> None:
        """Watch the worker and the clock; call it often, by wall time."""
        incident = self._worker.supervise()
        if incident is Incident.HUNG:
            self._prefetch.restart()
            self._failed(VlaError('the policy hangs: its worker is restarted'), severe=True)
        elif incident is Incident.GAVE_UP:
            self._failed(VlaError('the policy hangs again: restart the process'), severe=True)
        elif incident is Incident.RESTARTED:
            self._encode_again()
        if not self._time.lockstep:
            self._publish(self._session.advance(self._now()))

    def _failed(self, error: Exception, severe: bool = False) -> None:
        self.count(error)
        self._sink.report(self._tally.detail, severe)

    def _count_apart(self, detail: str) -> None:
        """Count what is no error in a row."""
        self._tally = replace(self._tally, total=self._tally.total + 1, detail=detail)

    def _now(self) -> float:
        """Time of the newest frame in lock-step: nothing may depend on when a thread ran."""
        return self._moment if self._time.lockstep else self._time.now()

    def _happen(self, events: list[Odometry | Frames]) -> None:
        for event in events:
            if isinstance(event, Odometry):
                self._odometry = event
                now = event.stamp_ns * 1e-9 if self._time.lockstep else self._time.now()
                self._odometry_at = now
                self._session.odometry(now, event.speed, event.turn_rate)
            else:
                self._frames(event)

    def _frames(self, frames: Frames) -> None:
        if self._spec is None or not self._active:
            return
        self._frame_ns = frames.stamp_ns
        self._moment = frames.stamp_ns * 1e-9
        self._publish(self._session.advance(self._now()))
        observation = self._observe(frames, self._spec)
        if self._session.pending_id:
            return
        if self._session.status is Status.RUNNING:
            if self._prefetch.wants(frames.stamp_ns, self._busy()):
                self._worker.submit(Infer(self._session.instruction_id, observation), 'frame')
        else:
            self._succeeded(None)
            self._send(frames.stamp_ns, None)

    def _busy(self) -> bool:
        # In lock-step every frame is answered, and nothing may depend on when a thread ran.
        return not self._time.lockstep and self._worker.activity()[0] is Activity.BUSY

    def _observe(self, frames: Frames, spec: PolicySpec) -> Observation:
        age = self._now() - self._odometry_at
        known = {}
        if self._odometry is not None and age <= ODOM_TIMEOUT:
            velocity = (self._odometry.speed, self._odometry.turn_rate)
            known = dict(zip(STATE_NAMES, velocity, strict=True))
        elif spec.state_names:
            raise ObservationError(
                f'odometry is {age:.2f} s old: {spec.model_id} needs {spec.state_names}, '
                f'at most {ODOM_TIMEOUT} s old'
            )
        state = np.array([known[name] for name in spec.state_names])
        observation = Observation(frames.images, frames.stamp_ns, state, spec.state_names)
        observation.check(spec)
        if self._guard is not None:
            self._guard.record(observation, known)
        return observation

    def _encoded(self, job: Encode, answer: Answer | None, error: Exception | None) -> None:
        self._prefetch.restart()
        if self._execution is not None:
            self._execution.begin()
        if isinstance(answer, Language):
            self._good_frames += 1
            self._publish(self._session.understood(self._now(), job.instruction_id, answer))
            return
        self._failed(error or VlaError(f'{type(answer).__name__} for a text'))
        reason = f'the policy failed on the text: {error}'
        self._publish(self._session.not_understood(job.instruction_id, reason))

    def _encode_again(self) -> None:
        """A new worker knows no text: give it the one that waits or runs."""
        session = self._session
        if session.pending_id:
            self._worker.submit(Encode(session.pending_id, session.pending_text), 'text')
        elif session.status is Status.RUNNING:
            self._worker.submit(Encode(session.instruction_id, session.text), 'text')

    def _succeeded(self, actions: Actions | None) -> None:
        self._good_frames += 1
        cured = actions.cured if actions is not None else ''
        self._tally = replace(
            self._tally,
            consecutive=0,
            cured=self._tally.cured + bool(cured),
            clipped=self._tally.clipped + (actions.clipped if actions is not None else 0),
            detail=cured,
        )
        if cured:
            self._sink.report(cured, severe=False)

    def _planar(self, data: np.ndarray) -> tuple[float, float]:
        """Return the first step's m/s and rad/s; 0 for an axis that the policy does not have."""
        first = dict(zip(self._spec.action_names if self._spec else (), data[0], strict=False))
        return float(first.get('linear.x', 0.0)), float(first.get('angular.z', 0.0))

    def _publish(self, records: tuple[Record, ...]) -> None:
        for record in records:
            if record.fate is Fate.MALFORMED:
                # No text may bring the gate to an emergency stop.
                self._count_apart(record.reason)
            self._sink.record(record)
            for follower in self._followers:
                follower(record)

    def _send(
        self,
        stamp_ns: int,
        velocities: np.ndarray | None,
        seconds: float = 0.0,
        predicted: np.ndarray | None = None,
    ) -> None:
        """Send a chunk for the frame of a stamp; zeros where there are no velocities."""
        spec, execution = self._spec, self._execution
        if spec is None or execution is None or not self._active:
            return
        age = 0.0 if self._time.lockstep else max(0.0, self._time.stamp_age(stamp_ns))
        now_ns = stamp_ns + round(1e9 * age)
        if velocities is None:
            self._prefetch.restart()
            start_ns, data = stamp_ns, execution.rest(now_ns)
        else:
            self._prefetch.record(age)
            start_ns, data = execution.follow(velocities, stamp_ns, now_ns)
        self._sink.chunk(
            ActionChunk(
                stamp_ns=start_ns,
                observation_stamp_ns=stamp_ns,
                step_dt=PERIOD,
                sequence=next(self._sequence),
                names=spec.action_names,
                units=execution.units,
                data=data,
                status=self._session.status,
                policy_run=self._run,
                instruction_id=self._session.instruction_id,
                model_id=spec.model_id,
                model_sha256=spec.model_sha256,
                inference_seconds=seconds,
                predicted=predicted,
            )
        )
