"""Live values against the training's: the same judge for actions, states and pictures.

A policy answers whatever it is shown. What lies outside of everything it has seen is no error, but
nobody has ever tested what it does there: it is told, and may slow or stop the robot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vla_core.envelope import Envelope, FEATURES, features_of, Range
from vla_core.errors import ObservationError
from vla_core.health import Share
from vla_core.types import ActionChunk, Observation, PolicySpec, Representation
from vla_core.units import suspect

#: Parameter of the nodes that judge.
MARGIN_PARAMETER = 'envelope_margin'
#: Deviations beyond the training's smallest and largest value that are still inside.
MARGIN = 0.5
#: Smallest deviation assumed, as a share of full scale: a network says 0 only nearly.
SIGMA_FLOOR = 0.05
#: Weight of the newest value, and shares of values outside: seven in a row are an alarm, and it
#: takes sixteen inside to end it.
WEIGHT, RAISE, CLEAR = 0.1, 0.5, 0.1
#: What odometry says, the axis that it answers to, and its unit.
ODOMETRY = {'odom.v': ('linear.x', 'm/s'), 'odom.w': ('angular.z', 'rad/s')}


@dataclass(frozen=True)
class Finding:
    """One quantity that has left the envelope.

    Attributes:
        path: where its range stands in the manifest, e.g. `envelope.actions.linear.x`.
        value: newest one outside, SI; may be NaN.
        limit: that it crossed.
        range: of the training.
    """

    path: str
    value: float
    limit: float
    range: Range

    def __str__(self) -> str:
        """Say it to a person."""
        return (
            f'{self.path} is {self.value:.3g}, limit {self.limit:.3g}: trained on '
            f'{self.range.min:.3g} to {self.range.max:.3g} ({MARGIN_PARAMETER})'
        )


class _Judge:
    """One quantity against its range."""

    __slots__ = ('_inner', '_outer', '_path', '_range', '_value', 'count', 'share')

    def __init__(self, path: str, range_: Range, scale: float, margin: float) -> None:
        self._path = path
        self._range = range_
        room = margin * max(range_.std, SIGMA_FLOOR * scale)
        self._outer = (range_.min - room, range_.max + room)
        # Half the way back counts as outside while there is an alarm: noise cannot toggle it.
        self._inner = (range_.min - room / 2.0, range_.max + room / 2.0)
        self._value = range_.mean
        self.share = Share(WEIGHT, RAISE, CLEAR)
        self.count = 0

    def record(self, lowest: float, highest: float) -> None:
        low, high = self._inner if self.share.alarm else self._outer
        # Written so that NaN is outside.
        above = not highest <= high
        outside = above or not lowest >= low
        if outside:
            self.count += 1
            self._value = highest if above else lowest
        self.share.record(outside)

    @property
    def finding(self) -> Finding:
        low, high = self._outer
        limit = low if self._value < low else high
        return Finding(self._path, self._value, limit, self._range)


class EnvelopeGuard:
    """Judges the quantities of one kind, sample by sample, in constant memory."""

    def __init__(
        self,
        kind: str,
        ranges: Mapping[str, Range],
        margin: float = MARGIN,
        scales: Mapping[str, float] | None = None,
    ) -> None:
        """Judge against `ranges`.

        Args:
            kind: section of the envelope, for messages.
            ranges: name -> what it was in training.
            margin: deviations beyond the smallest and largest value that are still inside, >= 0.
            scales: name -> full scale, > 0, in its unit; 1 where it is not named.
        """
        self._judges = {
            name: _Judge(f'envelope.{kind}.{name}', one, (scales or {}).get(name, 1.0), margin)
            for name, one in ranges.items()
        }

    def record(self, lowest: Sequence[float], highest: Sequence[float] | None = None) -> None:
        """Judge one sample, or the extremes of several.

        Args:
            lowest: one number for each range, in their order; NaN is outside.
            highest: the same; None: `lowest`.
        """
        highest = lowest if highest is None else highest
        for judge, low, high in zip(self._judges.values(), lowest, highest, strict=True):
            judge.record(low, high)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Quantities that are outside, by now and not for a moment only."""
        return tuple(judge.finding for judge in self._judges.values() if judge.share.alarm)

    @property
    def outside(self) -> dict[str, tuple[float, int]]:
        """Name -> share of the samples lately, 0..1, and their number since the start."""
        return {name: (judge.share.value, judge.count) for name, judge in self._judges.items()}


class ActionGuard(EnvelopeGuard):
    """Judges the chunks of one policy; does nothing without an envelope.

    Attributes:
        basis: what they are held against, or why they are not, for a person.
    """

    def __init__(self, spec: PolicySpec | None, margin: float = MARGIN) -> None:
        """Judge what the policy with this contract wants to do; None: it is not known."""
        envelope = Envelope('') if spec is None or spec.envelope is None else spec.envelope
        scales = (
            {} if spec is None else dict(zip(spec.action_names, spec.action_scale, strict=True))
        )
        super().__init__('actions', envelope.actions, margin, scales)
        self._spec = spec
        if spec is None:
            self.basis = 'no checkpoint is named, so actions are held against no training'
        elif spec.envelope is None:
            self.basis = f'{spec.model_id} has no training envelope (vla-learn envelope adds one)'
        else:
            untaught = [name for name in spec.action_names if name not in envelope.actions]
            rest = f', which had no {", ".join(untaught)}' if untaught else ''
            self.basis = f'{spec.model_id}: {envelope.source}{rest}'
            self._named = self.basis
            self._columns = [spec.action_names.index(name) for name in envelope.actions]

    def chunk(self, chunk: ActionChunk) -> None:
        """Judge all steps of an answer, unless another model speaks, or it is a stop.

        What the policy answered, not what the robot's speed limit and the splice left of it: an
        action far beyond the training would not show on a slow robot. Without it, the chunk.
        Zeros are sent where there is no answer: at rest, after a failure. They are no action of
        the policy, and its gripper may never have been at 0.
        """
        spec = self._spec
        if spec is None or spec.envelope is None:
            return
        if (chunk.model_sha256, chunk.names) != (spec.model_sha256, spec.action_names):
            self.basis = f'chunks come from {chunk.model_id[:64]!r}: {spec.model_id} was expected'
            return
        data = chunk.data if chunk.predicted is None else chunk.predicted
        lowest, highest = np.minimum.reduce(data).tolist(), np.maximum.reduce(data).tolist()
        stop = not (any(lowest) or any(highest))
        # An answer is in the contract's representation, a chunk in its own.
        compared = chunk.predicted is not None or chunk.representation is spec.representation
        if not (compared or stop):
            self.basis = (
                f'chunks are {chunk.representation.name}, the training of {spec.model_id} was '
                f'{spec.representation.name}: they are not compared'
            )
            return
        self.basis = self._named
        if not stop:
            self.record([lowest[n] for n in self._columns], [highest[n] for n in self._columns])


class ObservationGuard:
    """Judges what a policy is shown; does nothing without an envelope."""

    def __init__(
        self,
        spec: PolicySpec,
        margin: float = MARGIN,
        max_speeds: Mapping[str, float] | None = None,
    ) -> None:
        """Judge what is shown to the policy with this contract.

        Args:
            spec: contract.
            margin: see EnvelopeGuard.
            max_speeds: of the robot, by the names in ODOMETRY, SI: odometry up to FAR times that
                is in no other unit, whatever the training was like.
        """
        envelope = spec.envelope or Envelope('')
        scales = {name: one.largest or 1.0 for name, one in envelope.state.items()}
        self._state = EnvelopeGuard('state', envelope.state, margin, scales)
        self._columns = [spec.state_names.index(name) for name in envelope.state]
        self._pictures = {
            slot: EnvelopeGuard(
                f'images.{slot}', {name: ranges[name] for name in FEATURES}, margin
            )
            for slot, ranges in envelope.images.items()
        }
        self._expected = {
            name: (f'envelope.state.{name}', '', one.min, one.max)
            for name, one in envelope.state.items()
        }
        for name, (axis, unit) in ODOMETRY.items():
            ranges = [envelope.state.get(name)]
            if spec.representation is Representation.VELOCITY:
                ranges.append(envelope.actions.get(axis))
            known = [one.largest for one in ranges if one is not None]
            if known:
                reach = max(*known, (max_speeds or {}).get(name, 0.0))
                self._expected[name] = f'envelope, {axis} of the robot file', unit, -reach, reach

    def record(self, observation: Observation, odometry: Mapping[str, float]) -> None:
        """Judge what is shown at one moment.

        Args:
            observation: fits the contract.
            odometry: what the robot does, by the names in ODOMETRY; may be empty.

        Raises:
            ObservationError: if a number is plainly in another unit: degrees for radians,
                millimetres for metres.
        """
        state = dict(zip(observation.state_names, observation.state.tolist(), strict=True))
        for name, value in {**odometry, **state}.items():
            self._check_unit(name, value)
        self._state.record(observation.state[self._columns].tolist())
        for slot, guard in self._pictures.items():
            guard.record(features_of(observation.images[slot]))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Quantities that are outside, by now and not for a moment only."""
        guards = (self._state, *self._pictures.values())
        return tuple(finding for guard in guards for finding in guard.findings)

    def _check_unit(self, name: str, value: float) -> None:
        where, unit, low, high = self._expected.get(name, ('', '', 0.0, 0.0))
        suspected = suspect(value, low, high, unit)
        if suspected:
            raise ObservationError(
                f'{name} is {value:.4g}: {suspected}? Expected {low:.3g} to {high:.3g} ({where})'
            )
