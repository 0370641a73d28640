"""What does not fit the robot, or is for evaluations only, is refused with both sides named."""

from dataclasses import replace

import pytest

from vla_core.errors import CheckpointError, ConfigError
from vla_core.policy import native_spec
from vla_core.robot import AxisConfig, RobotConfig
from vla_core.types import Representation
from vla_inference.config import PolicyConfig
from vla_inference.loading import check_fit, check_modes, load_policy, Loader

AXIS = {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 1.0}
SPEC = native_spec('fake')


def robot(simulated=True, source='linear.x', **options):
    axes = (
        AxisConfig(**AXIS, source=source),
        *(None,) * 4,
        AxisConfig(**AXIS, source='angular.z'),
    )
    name = 'sim' if simulated else 'real'
    return RobotConfig(name, axes, False, True, 'LOCALHOST', simulated=simulated, **options)


def config(**options):
    return PolicyConfig(**{'checkpoint': 'hold', 'robot': 'sim', **options})


def test_loader_makes_a_runner_and_keeps_its_contract():
    loader = Loader(config(checkpoint='scripted', fallback='hold'), robot(), print)
    with pytest.raises(CheckpointError, match='not loaded'):
        _ = loader.spec
    assert loader().spec.model_id == 'scripted'
    assert loader.spec.model_id == 'scripted'


@pytest.mark.parametrize('label', ['checkpoint', 'fallback'])
def test_scripted_policy_is_refused_on_a_real_robot(label):
    with pytest.raises(ConfigError, match=rf'{label} is scripted.*robot is real'):
        Loader(config(**{label: 'scripted'}), robot(simulated=False), print)()


def test_unknown_policy_names_what_is_known():
    with pytest.raises(ConfigError, match=r"'nobody'.*hold"):
        load_policy('nobody', 'cpu')


def test_fitting_policy_is_accepted():
    check_fit(SPEC, robot(gripper='gripper'))


@pytest.mark.parametrize('source', ['angular.x', 'wheel'])
def test_axis_without_a_fitting_action_is_refused(source):
    with pytest.raises(CheckpointError, match=rf'robot sim takes {source}.*fake'):
        check_fit(SPEC, robot(source=source))


def test_other_representation_is_refused():
    with pytest.raises(CheckpointError, match='DELTA'):
        check_fit(replace(SPEC, representation=Representation.DELTA), robot())


def test_slower_policy_than_the_robot_allows_is_refused():
    with pytest.raises(CheckpointError, match=r'max_inference is 0\.3 s: robot sim allows 0\.2'):
        check_fit(replace(SPEC, max_inference=0.3), robot())
    check_fit(replace(SPEC, max_inference=0.1), robot())


def test_lockstep_is_refused_on_a_real_robot():
    check_modes(config(clock='lockstep'), robot())
    with pytest.raises(ConfigError, match=r'lockstep.*real'):
        check_modes(config(clock='lockstep'), robot(simulated=False))


def test_blind_run_is_refused_on_the_steady_clock():
    check_modes(config(clock='lockstep', ablate_language=True), robot())
    with pytest.raises(ConfigError, match=r'ablate_language.*steady'):
        check_modes(config(ablate_language=True), robot())
