"""Find the policy that the parameters name, and refuse what does not fit the robot."""

from collections.abc import Callable

from vla_core.envelope_guard import ObservationGuard, ODOMETRY
from vla_core.errors import CheckpointError, ConfigError
from vla_core.execution import Blending, Execution
from vla_core.policy import create_policy, Policy, policy_names
from vla_core.resample import velocity_units
from vla_core.robot import AXES, AXIS_UNITS, RobotConfig
from vla_core.types import PolicySpec, Representation
from vla_core.units import compare_reach
from vla_inference.admission import open_checkpoint
from vla_inference.config import PolicyConfig
from vla_inference.runner import Runner
from vla_ros.files import policy_path

#: Policies that know the simulated world and nothing else, or do wrong on purpose (vla_cli).
ONLY_SIMULATED = ('scripted', 'faulty')


def load_policy(name: str, device: str, report: Callable[[str, bool], None]) -> Policy:
    """Make the policy of an entry point, or of a checkpoint by name or path.

    Args:
        name: of either.
        device: of the policy.
        report: tells a person that an optimised checkpoint is refused, see `open_checkpoint`.

    Raises:
        ConfigError: if there is neither.
        CheckpointError: if the checkpoint is refused, and nothing can take its place.
    """
    if name in policy_names():
        return create_policy(name, None, device)
    return open_checkpoint(policy_path(name), device, report)


class Loader:
    """Factory of the worker: called in the thread that will own the policy."""

    def __init__(
        self, config: PolicyConfig, robot: RobotConfig, report: Callable[[str, bool], None]
    ) -> None:
        """Remember what to load, for which robot.

        Args:
            config: names the policy.
            robot: what it will drive.
            report: tells a person what is suspicious, and whether it is severe.
        """
        self._config = config
        self._robot = robot
        self._report = report
        self._spec: PolicySpec | None = None

    @property
    def spec(self) -> PolicySpec:
        """Contract of the policy that was loaded.

        Raises:
            CheckpointError: if none was.
        """
        if self._spec is None:
            raise CheckpointError(f'{self._config.checkpoint} is not loaded')
        return self._spec

    def make_guard(self) -> ObservationGuard:
        """Make a guard for what the policy that was loaded will be shown on this robot.

        Raises:
            CheckpointError: if none was.
        """
        axes = dict(zip(AXES, self._robot.axes, strict=True))
        speeds = {name: axes[axis] for name, (axis, _) in ODOMETRY.items()}
        fastest = {name: axis.max_speed for name, axis in speeds.items() if axis is not None}
        return ObservationGuard(self.spec, self._config.envelope_margin, fastest)

    def make_execution(self) -> Execution:
        """Make what brings the chunks of the policy that was loaded to this robot.

        Raises:
            CheckpointError: if none was.
        """
        config = self._config
        blending = Blending(
            config.overlap, config.newest_share, config.ensemble_time, config.splice_time
        )
        return Execution(self.spec, self._robot, blending)

    def __call__(self) -> Runner:
        """Load, verify and warm up the policy, and its fallback if one is named.

        Raises:
            ConfigError: if something is unknown, or must not be run on this robot.
            CheckpointError: if files are damaged, or the policy does not fit the robot.
        """
        config, robot = self._config, self._robot
        for label, name in (('checkpoint', config.checkpoint), ('fallback', config.fallback)):
            if name in ONLY_SIMULATED and not robot.simulated:
                raise ConfigError(
                    f'{label} is {name}, which is for the simulated robot only, and robot is '
                    f'{robot.name}: expected a simulated robot, or another policy'
                )
        policy = load_policy(config.checkpoint, config.device, self._report)
        check_fit(policy.spec, robot)
        check_patience(policy.spec, config.hang_timeout)
        check_replanning(policy.spec, robot, config.replan_after)
        for suspicion in compare_speeds(policy.spec, robot):
            self._report(suspicion, False)
        fallback = None
        if config.fallback != 'hold':
            fallback = load_policy(config.fallback, config.device, self._report)
        runner = Runner(policy, fallback, config.ablate_language)
        self._spec = policy.spec
        return runner


def check_fit(spec: PolicySpec, robot: RobotConfig) -> None:
    """Compare a policy's actions with what the robot takes.

    Raises:
        CheckpointError: if an axis has no action, or one in another unit, or the actions cannot be
            made velocities.
        CheckpointError: if the policy may think for longer than the gate takes for a hang.
    """
    if spec.max_inference > robot.max_inference:
        raise CheckpointError(
            f'{spec.model_id}: max_inference is {spec.max_inference} s: robot {robot.name} allows '
            f'{robot.max_inference} s; take a faster policy, or raise it in the robot file'
        )
    units = dict(zip(spec.action_names, velocity_units(spec), strict=True))
    wanted = {
        axis.source: unit
        for axis, unit in zip(robot.axes, AXIS_UNITS, strict=True)
        if axis is not None
    }
    if robot.gripper is not None:
        wanted[robot.gripper] = '1'
    for source, unit in wanted.items():
        if units.get(source) != unit:
            raise CheckpointError(
                f'robot {robot.name} takes {source} in {unit}: {spec.model_id} gives {units}'
            )


def check_replanning(spec: PolicySpec, robot: RobotConfig, replan_after: float) -> None:
    """Refuse to play a chunk for longer than the gate does.

    Raises:
        ConfigError: if `replan_after` is that long: every chunk would end in a hold.
    """
    longest = min(spec.horizon * spec.step_dt, spec.max_observation_age, robot.max_observation_age)
    if not replan_after < longest:
        raise ConfigError(
            f'replan_after is {replan_after} s: robot {robot.name} plays a chunk of '
            f'{spec.model_id} for {longest:g} s, expected less'
        )


def compare_speeds(spec: PolicySpec, robot: RobotConfig) -> list[str]:
    """Compare what a policy was trained to do with the robot's largest speeds.

    Returns:
        For each axis that looks as if one side were in another unit, what is suspected.

    Raises:
        CheckpointError: if that is beyond doubt, and the policy's side is the larger one.
    """
    # What a step covers, as a speed; a relative pose is none.
    spans = {Representation.VELOCITY: 1.0, Representation.DELTA: spec.step_dt}
    span = spans.get(spec.representation)
    trained = {} if spec.envelope is None or span is None else spec.envelope.actions
    suspicions = []
    for name, axis, unit in zip(AXES, robot.axes, AXIS_UNITS, strict=True):
        if axis is None or axis.source not in trained:
            continue
        usual = trained[axis.source].usual / (span or 1.0)
        suspected, certain = compare_reach(axis.max_speed, usual, unit)
        if suspected:
            text = (
                f'{spec.model_id} was trained on {axis.source} up to {usual:.3g} {unit} '
                f'(envelope.actions), robot {robot.name} allows {axis.max_speed} '
                f'({name}.max_speed): {suspected} on one side?'
            )
            if certain:
                raise CheckpointError(text)
            suspicions.append(text)
    return suspicions


def check_patience(spec: PolicySpec, hang_timeout: float) -> None:
    """Make sure that a healthy inference is never taken for a hang.

    Raises:
        ConfigError: if it may take as long as that.
    """
    if hang_timeout <= spec.max_inference:
        raise ConfigError(
            f'hang_timeout is {hang_timeout} s: expected more than the {spec.max_inference} s '
            f'that an inference of {spec.model_id} may take'
        )


def check_modes(config: PolicyConfig, robot: RobotConfig) -> None:
    """Refuse what only evaluations may do.

    Raises:
        ConfigError: if lock-step is asked for on a real robot or with frames that are not
            inferred, a blind run on the steady clock, or a motion that outlasts instructions.
    """
    if config.motion_timeout > config.instruction_timeout:
        raise ConfigError(
            f'motion_timeout is {config.motion_timeout} s: expected at most instruction_timeout, '
            f'{config.instruction_timeout} s, at which a motion would end as TIMED_OUT'
        )
    robot.check_clock(config.clock)
    if config.replan_after > 0.0 and config.clock == 'lockstep':
        raise ConfigError(
            f'replan_after is {config.replan_after} s and clock is lockstep: expected 0.0, every '
            'frame is answered there'
        )
    if config.ablate_language and config.clock != 'lockstep':
        raise ConfigError(
            f'ablate_language is true and clock is {config.clock}: expected clock lockstep'
        )
