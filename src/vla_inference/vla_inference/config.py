"""Parameters of the policy node."""

from dataclasses import dataclass

from vla_core.envelope_guard import MARGIN
from vla_core.execution import OVERLAPS
from vla_core.parameters import parameter


@dataclass(frozen=True)
class PolicyConfig:
    """Which policy obeys, on what, and for how long."""

    checkpoint: str = parameter(
        doc='checkpoint of vla_bringup by name, a checkpoint folder, or a built-in policy by name'
    )
    robot: str = parameter(doc='robot file: a name from config/robots, or a path')
    device: str = parameter(
        doc='where the model runs; auto: cuda if there is one',
        default='auto',
        choices=('auto', 'cpu', 'cuda'),
    )
    clock: str = parameter(
        doc='steady for robots, lockstep for evaluation and replay',
        default='steady',
        choices=('steady', 'lockstep'),
    )
    autostart: bool = parameter(
        doc='configure and activate at the start; false: a lifecycle manager does', default=True
    )
    fallback: str = parameter(
        doc='what acts for a frame on which the policy failed twice: hold stands still, and the '
        'failure counts as an error; any other policy or checkpoint cures it',
        default='hold',
    )
    ablate_language: bool = parameter(
        doc='replace the language features by their training mean: the blind run of an '
        'evaluation, refused on the steady clock',
        default=False,
    )
    instruction_timeout: float = parameter(
        doc='age at which an instruction times out',
        default=120.0,
        unit='s',
        low=1.0,
        high=3600.0,
    )
    motion_timeout: float = parameter(
        doc='age at which a motion such as "turn left" is done',
        default=10.0,
        unit='s',
        low=0.1,
        high=600.0,
    )
    search_timeout: float = parameter(
        doc='time of turning without driving after which the named object counts as not found',
        default=60.0,
        unit='s',
        low=1.0,
        high=3600.0,
    )
    slot_tolerance: float = parameter(
        doc='largest difference between the stamps of frames that are seen together, for policies '
        'with several cameras; in lock-step the stamps must be equal',
        default=0.02,
        unit='s',
        low=0.0,
        high=1.0,
    )
    envelope_margin: float = parameter(
        doc="deviations beyond the training's smallest and largest observation that are still "
        'inside',
        default=MARGIN,
        low=0.0,
        high=100.0,
    )
    overlap: str = parameter(
        doc='what counts where a chunk overlaps with older ones; latest: the newest alone; '
        'weighted: the newest with the share newest_share, the rest of what was planned before; '
        'temporal_ensemble: the mean of all, weight exp(-age/ensemble_time)',
        default='latest',
        choices=OVERLAPS,
    )
    newest_share: float = parameter(
        doc='share of the newest chunk, for overlap weighted',
        default=0.7,
        low=0.01,
        high=1.0,
    )
    ensemble_time: float = parameter(
        doc='age at which a chunk weighs 1/e of the newest, for overlap temporal_ensemble',
        default=0.4,
        unit='s',
        low=0.02,
        high=10.0,
    )
    splice_time: float = parameter(
        doc='time in which the command goes over from the old plan to the new one; longer where '
        'the acceleration of the robot would be exceeded',
        default=0.1,
        unit='s',
        low=0.02,
        high=1.0,
    )
    replan_after: float = parameter(
        doc='age of the frame behind a chunk at which the next chunk replaces it; frames are '
        'inferred early enough for that, by the latency that was measured, and the others are '
        'not; 0.0: every one that finds the policy free is; above 0.0 refused in lock-step, where '
        'every frame is answered',
        default=0.0,
        unit='s',
        low=0.0,
        high=10.0,
    )
    hang_timeout: float = parameter(
        doc='time in one inference after which the worker is given up and restarted',
        default=2.0,
        unit='s',
        low=0.2,
        high=600.0,
    )
    load_timeout: float = parameter(
        doc='time for loading and warming up the policy',
        default=120.0,
        unit='s',
        low=1.0,
        high=3600.0,
    )
