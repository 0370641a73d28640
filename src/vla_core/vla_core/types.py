"""Values that travel between the hops; each refuses wrong shapes and non-finite numbers.

Shape legend: H horizon (steps of a chunk), D axes of an action, S size of the state vector.
Spans are seconds. Stamps are whole nanoseconds on the ROS time base (`*_ns`), because a float of
seconds since 1970 only resolves 238 ns and a stamp is also a frame's name. Nothing reads a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import enum
import math

import numpy as np

from vla_core.envelope import Envelope
from vla_core.errors import ActionRejected, ConfigError, ObservationError

#: The native action of the model family, in this order, each in [-1, 1].
NATIVE_AXES = (
    'linear.x',
    'linear.y',
    'linear.z',
    'angular.x',
    'angular.y',
    'angular.z',
    'gripper',
)
#: SI unit of each native axis when the representation is VELOCITY.
NATIVE_UNITS = ('m/s', 'm/s', 'm/s', 'rad/s', 'rad/s', 'rad/s', '1')
#: s between the steps of a chunk; times are divided by it.
MIN_STEP_DT, MAX_STEP_DT = 0.001, 10.0
#: s; a policy that takes longer for a frame hangs. Means are made of it.
LONGEST_INFERENCE = 60.0


class Status(enum.IntEnum):
    """What a chunk does for its instruction; the numbers of ActionChunk.STATUS_*."""

    IDLE = 0
    RUNNING = 1
    DONE = 2
    NOT_FOUND = 3
    REFUSED = 4
    TIMED_OUT = 5


class Representation(enum.IntEnum):
    """Meaning of a chunk's numbers; the numbers of ActionChunk.REPRESENTATION_*."""

    VELOCITY = 0
    DELTA = 1
    RELATIVE = 2
    ABSOLUTE = 3


class Intent(enum.IntEnum):
    """What the policy makes of a text, decided by the policy alone."""

    REFUSED = 0
    GOAL = 1
    MOTION = 2


@dataclass(frozen=True)
class CameraSlot:
    """One camera input of a policy.

    Attributes:
        name: slot, e.g. `front`; the topic is `vla/image/<name>`.
        width: pixels.
        height: pixels.
        mode: `stretch`, `pad` or `crop` (see `vla_core.preprocess`).
    """

    name: str
    width: int
    height: int
    mode: str

    def __post_init__(self) -> None:
        """Refuse a slot that no image can fill.

        Raises:
            ConfigError: if the name is empty, a side is not in 8..4096, or the mode is unknown.
        """
        if not self.name.isidentifier():
            raise ConfigError(f'camera slot name {self.name!r}: expected an identifier')
        for label, side in (('width', self.width), ('height', self.height)):
            if not 8 <= side <= 4096:
                raise ConfigError(f'camera slot {self.name}: {label} {side}: expected 8 to 4096')
        if self.mode not in ('stretch', 'pad', 'crop'):
            raise ConfigError(
                f'camera slot {self.name}: mode {self.mode!r}: expected stretch, pad or crop'
            )


#: Unit of a position without one, the gripper's.
POSITION = '1'


def to_si(native: np.ndarray, scale: float, unit: str) -> np.ndarray:
    """Convert one axis of a model's actions to SI, the only place where that happens.

    A position without unit (the gripper) goes from 0 to its scale: -1 is open, +1 closed.

    Args:
        native: float [...] in [-1, 1].
        scale: SI value of +1.
        unit: of the axis.

    Returns:
        float64 [...].
    """
    values = np.asarray(native, np.float64)
    result: np.ndarray = ((values + 1.0) / 2.0 if unit == POSITION else values) * scale
    return result


def from_si(values: np.ndarray, scale: float, unit: str) -> np.ndarray:
    """Undo to_si, for what a network is taught; may be beyond ±1."""
    share = np.asarray(values, np.float64) / scale
    result: np.ndarray = 2.0 * share - 1.0 if unit == POSITION else share
    return result


@dataclass(frozen=True)
class PolicySpec:
    """Contract of a policy (docs/how-to/own-policy.md).

    Attributes:
        model_id: name of the checkpoint or built-in policy.
        model_sha256: hash of the manifest, hex; empty for built-in policies.
        cameras: slots that must be filled in every observation.
        state_names: names of the state vector, S of them; may be empty.
        action_names: D axis names.
        action_units: D SI units.
        action_scale: D factors: SI value of +1 of the model's output.
        representation: meaning of the actions.
        horizon: H steps of a chunk.
        step_dt: s between steps.
        rate: Hz of the frames it is made for; shown, throttles nothing (`replan_after` does).
        max_inference: s, longest healthy inference (docs/reference/safety.md).
        max_observation_age: s, after which its chunks must not be played.
        envelope: what its numbers were like in training; None: not known, nothing is compared.
    """

    model_id: str
    cameras: tuple[CameraSlot, ...]
    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    action_scale: tuple[float, ...]
    horizon: int
    step_dt: float
    rate: float
    model_sha256: str = ''
    state_names: tuple[str, ...] = ()
    representation: Representation = Representation.VELOCITY
    max_inference: float = 0.2
    max_observation_age: float = 0.6
    envelope: Envelope | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself.

        Raises:
            ConfigError: if names, units and scales differ in length, a name repeats, a number is
                not finite and positive, or the envelope has a name that the contract has not.
        """
        size = len(self.action_names)
        if not (size == len(self.action_units) == len(self.action_scale) > 0):
            raise ConfigError(
                f'{self.model_id}: {size} action names, {len(self.action_units)} units, '
                f'{len(self.action_scale)} scales: expected equally many, at least one'
            )
        if len(set(self.action_names)) != size:
            raise ConfigError(f'{self.model_id}: action names {self.action_names} repeat')
        if self.horizon < 1:
            raise ConfigError(f'{self.model_id}: horizon {self.horizon}: expected >= 1')
        positive = {
            'step_dt': self.step_dt,
            'rate': self.rate,
            'max_inference': self.max_inference,
            'max_observation_age': self.max_observation_age,
        }
        positive.update(
            (f'action_scale[{name}]', scale)
            for name, scale in zip(self.action_names, self.action_scale, strict=True)
        )
        for label, value in positive.items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f'{self.model_id}: {label} {value}: expected finite and > 0')
        if self.envelope is not None:
            slots = [slot.name for slot in self.cameras]
            self.envelope.check(self.action_names, self.state_names, slots)

    def to_si(self, actions: np.ndarray) -> np.ndarray:
        """Convert the model's actions to SI, axis by axis (see to_si).

        Args:
            actions: float [..., D] in [-1, 1].

        Returns:
            float64 [..., D].
        """
        result = np.empty(np.shape(actions))
        for axis, (scale, unit) in enumerate(
            zip(self.action_scale, self.action_units, strict=True)
        ):
            result[..., axis] = to_si(actions[..., axis], scale, unit)
        return result


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one moment.

    Attributes:
        images: slot name -> uint8 [height, width, 3], RGB, already of the slot's size.
        state: float64 [S], in the order of `state_names`; SI.
        state_names: names of `state`.
        stamp_ns: ROS time of the newest image.
    """

    images: Mapping[str, np.ndarray]
    stamp_ns: int
    state: np.ndarray = field(default_factory=lambda: np.zeros(0))
    state_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no policy may see.

        Raises:
            ObservationError: if an image is not uint8 [h, w, 3], the state's length differs from
                its names, or a number is not finite.
        """
        for slot, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ObservationError(
                    f'image {slot}: {image.dtype} {image.shape}: expected uint8 [height, width, 3]'
                )
        if self.state.shape != (len(self.state_names),):
            raise ObservationError(
                f'state of shape {self.state.shape}: expected ({len(self.state_names)},)'
            )
        if not np.isfinite(self.state).all():
            raise ObservationError(f'state {self.state}: expected finite numbers')

    def check(self, spec: PolicySpec) -> None:
        """Compare with a policy's contract.

        Raises:
            ObservationError: if a slot is missing or of another size, or the state's names differ.
        """
        for slot in spec.cameras:
            image = self.images.get(slot.name)
            if image is None:
                raise ObservationError(f'no image for slot {slot.name}: got {list(self.images)}')
            if image.shape[:2] != (slot.height, slot.width):
                raise ObservationError(
                    f'image {slot.name} is {image.shape[1]}x{image.shape[0]}: '
                    f'expected {slot.width}x{slot.height}'
                )
        if self.state_names != spec.state_names:
            raise ObservationError(
                f'state {self.state_names}: {spec.model_id} expects {spec.state_names}'
            )


@dataclass(frozen=True)
class Language:
    """An instruction as a policy encoded it, once, for all frames.

    Attributes:
        text: the instruction.
        intent: what the policy makes of it.
        features: whatever the policy's `infer` needs; opaque to everybody else.
    """

    text: str
    intent: Intent
    features: object = None


@dataclass(frozen=True)
class Prediction:
    """Output of a policy for one observation.

    Attributes:
        actions: float [H, D] in the model's range [-1, 1] (small excess is clipped by the caller).
        done: probability in [0, 1] that the instruction is fulfilled.
    """

    actions: np.ndarray
    done: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what must never become a command.

        Raises:
            ActionRejected: if the actions are not a finite [H, D] array, or `done` is not in
                [0, 1].
        """
        if self.actions.ndim != 2 or self.actions.size == 0:
            raise ActionRejected(f'actions of shape {self.actions.shape}: expected [H, D]')
        if not np.isfinite(self.actions).all():
            raise ActionRejected(f'actions {self.actions.tolist()}: expected finite numbers')
        if not 0.0 <= self.done <= 1.0:
            raise ActionRejected(f'done {self.done}: expected a probability in [0, 1]')


@dataclass(frozen=True)
class ActionChunk:
    """H future actions in SI units, as they travel (message ActionChunk).

    Attributes:
        stamp_ns: ROS time at which step 0 is due.
        observation_stamp_ns: ROS time of the frame behind it.
        step_dt: s between steps.
        sequence: strictly increasing within a run.
        names: D axis names.
        units: D SI units.
        data: float64 [H, D].
        status: what the chunk does.
        policy_run: start of the policy process, ns.
        instruction_id: id of the instruction obeyed; 0: none.
        predicted: float64 [steps, D], what the policy answered; None: it was not asked. For
            recordings: no gate plays it.
    """

    stamp_ns: int
    observation_stamp_ns: int
    step_dt: float
    sequence: int
    names: tuple[str, ...]
    units: tuple[str, ...]
    data: np.ndarray
    status: Status
    policy_run: int
    instruction_id: int
    representation: Representation = Representation.VELOCITY
    frame_id: str = 'base_link'
    model_id: str = ''
    model_sha256: str = ''
    inference_seconds: float = 0.0
    predicted: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse a chunk that no gate may play.

        Raises:
            ActionRejected: if the data is not [H, D] with H >= 1, a number is not finite, names
                repeat or differ in number from units, step_dt is not in [0.001, 10] s, or
                inference_seconds not in [0, 60] s.
        """
        if self.data.ndim != 2 or self.data.shape[0] < 1:
            raise ActionRejected(f'data of shape {self.data.shape}: expected [H >= 1, D]')
        if not (self.data.shape[1] == len(self.names) == len(self.units) > 0):
            raise ActionRejected(
                f'data of width {self.data.shape[1]}, {len(self.names)} names, '
                f'{len(self.units)} units: expected equally many, at least one'
            )
        if len(set(self.names)) != len(self.names):
            raise ActionRejected(f'names {self.names}: repeat')
        if not np.isfinite(self.data).all():
            bad = np.argwhere(~np.isfinite(self.data))[0]
            raise ActionRejected(
                f'data[{bad[0]}, {self.names[bad[1]]}] is {self.data[tuple(bad)]}: '
                'expected a finite number'
            )
        if not MIN_STEP_DT <= self.step_dt <= MAX_STEP_DT:
            raise ActionRejected(
                f'step_dt {self.step_dt}: expected in [{MIN_STEP_DT:g}, {MAX_STEP_DT:g}] s'
            )
        if not 0.0 <= self.inference_seconds <= LONGEST_INFERENCE:
            raise ActionRejected(
                f'inference_seconds {self.inference_seconds:g}: '
                f'expected in [0, {LONGEST_INFERENCE:g}] s'
            )

    @property
    def horizon(self) -> int:
        """H, number of steps."""
        return int(self.data.shape[0])

    @property
    def duration(self) -> float:
        """S from the start of step 0 to the end of the last step."""
        return self.horizon * self.step_dt
