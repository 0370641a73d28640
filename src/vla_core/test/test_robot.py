"""Robot files: one bad file per rule."""

from pathlib import Path

import pytest
import yaml

from vla_core.errors import ConfigError
from vla_core.robot import AxisConfig, load_robot, RobotConfig

ROBOTS = Path(__file__).parents[3] / 'config' / 'robots'
GOOD = {
    'estop': 'required',
    'odom': 'required',
    'discovery': 'SUBNET',
    'axes': {'linear.x': {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 1.0}},
}


def _load(tmp_path, **changes):
    values = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    path = tmp_path / 'robot.yaml'
    path.write_text(yaml.safe_dump(values))
    return load_robot(path)


def _axis(**changes):
    axis = {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 1.0} | changes
    return {
        'axes': {'linear.x': {name: value for name, value in axis.items() if value is not ...}}
    }


def test_good_file_loads(tmp_path):
    robot = _load(tmp_path, gripper={'source': 'gripper'})
    assert (robot.name, robot.estop_required, robot.odom_required) == ('robot', True, True)
    assert [axis is not None for axis in robot.axes] == [True, *[False] * 5]
    assert (robot.axes[0].source, robot.gripper) == ('linear.x', 'gripper')
    assert not robot.self_arm


def test_every_value_of_a_file_is_taken(tmp_path):
    axis = {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 2.0, 'source': 'x', 'flip': True}
    basics = {
        'discovery': 'LOCALHOST',
        'simulated': True,
        'self_arm': True,
        'max_inference': 0.3,
        'max_observation_age': 0.5,
    }
    robot = _load(
        tmp_path,
        estop='none',
        odom='none',
        axes={'linear.x': axis},
        gripper={'source': 'jaw'},
        **basics,
    )
    assert robot == RobotConfig(
        name='robot',
        axes=(AxisConfig(**axis), *[None] * 5),
        estop_required=False,
        odom_required=False,
        gripper='jaw',
        **basics,
    )


@pytest.mark.parametrize('name', ['max_speed', 'max_accel', 'max_decel'])
@pytest.mark.parametrize(
    'value', ['none', None, 0.0, 0, -0.5, 1e-9, float('nan'), float('inf'), 1e308, 1, True, [0.5]]
)
def test_limits_are_mandatory_and_finite(tmp_path, name, value):
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, **_axis(**{name: value}))
    for part in ('robot.yaml', 'linear.x', name, repr(value), 'expected', 'finite'):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'parts'),
    [
        (_axis(max_speed=...), ('max_speed', 'missing')),
        (_axis(max_accel=...), ('max_accel', 'missing')),
        (_axis(max_decel=...), ('max_decel', 'missing')),
        (_axis(max_jerk=1.0), ('max_jerk', 'unknown')),
        (_axis(max_speed=1.21), ('max_speed / max_decel', '1.21', '1.2')),
        (_axis(max_decel=0.4), ('max_speed / max_decel', '1.25', '1.2')),
        (_axis(source=3), ('source', '3')),
        (_axis(flip='yes'), ('flip', "'yes'")),
        ({'axes': {}}, ('axes', 'empty')),
        ({'axes': ...}, ('axes', 'missing')),
        ({'axes': None}, ('axes', 'None', 'mapping')),
        ({'axes': {'linear.x': 0.5}}, ('linear.x', '0.5', 'mapping')),
        ({'axes': {'yaw': {}}}, ('yaw', 'unknown', 'angular.z')),
        (
            {'axes': _axis(source='linear.y')['axes'] | {'linear.y': _axis()['axes']['linear.x']}},
            ('source', "'linear.y'", 'two of axes', 'expected one'),
        ),
        (_axis(source=' linear.x'), ('axes.linear.x', 'source', "' linear.x'", 'a name')),
        (_axis(source=' '), ('axes.linear.x', 'source', "' '", 'a name')),
        (_axis(source=''), ('axes.linear.x', 'source', "''", 'a name')),
        (_axis(source='a\nb'), ('axes.linear.x', 'source', 'a name')),
        ({'estop': ...}, ('estop', 'missing', 'required, none')),
        ({'estop': 'off'}, ('estop', "'off'", 'required, none')),
        ({'estop': True}, ('estop', 'True')),
        ({'odom': ...}, ('odom', 'missing')),
        ({'odom': 'maybe'}, ('odom', "'maybe'")),
        ({'discovery': ...}, ('discovery', 'missing')),
        ({'discovery': 'OFF'}, ('discovery', "'OFF'")),
        ({'self_arm': True}, ('self_arm', 'person')),
        ({'simulated': True}, ('discovery', 'SUBNET', 'LOCALHOST')),
        ({'max_inference': 0.0}, ('max_inference', '0.0', '0.02')),
        ({'max_inference': float('nan')}, ('max_inference', 'nan')),
        ({'max_observation_age': float('inf')}, ('max_observation_age', 'inf')),
        ({'max_observation_age': 100.0}, ('max_observation_age', '100.0', '2')),
        (
            {'max_inference': 2.0, 'max_observation_age': 0.05},
            ('max_inference', '2.0 s', 'less than max_observation_age', '0.05 s'),
        ),
        ({'max_inference': 0.6}, ('max_inference', '0.6 s', 'max_observation_age', '0.6 s')),
        ({'max_speed': 1.0}, ('max_speed', 'unknown')),
        ({'geofense': {'points': 3}}, ("'geofense'", "{'points': 3}", "'axes'", "'geofence'")),
        ({'gripper_': {}}, ("'gripper_'", "'gripper'", "'scan'", "'zones'", "'odom'")),
        ({'axes': ..., 'axis': {}}, ("unknown parameter 'axis' is {}", "'axes'")),
        ({'gripper': {'speed': 1.0}}, ('gripper', 'speed', 'unknown')),
        ({'gripper': True}, ('gripper', 'True', 'mapping')),
        ({'gripper': {'source': ''}}, ('gripper', 'source', "''", 'a name')),
        ({'gripper': {'source': 'gripper '}}, ('gripper', 'source', "'gripper '", 'a name')),
        (
            {'gripper': {'source': 'linear.x'}},
            ('source', "'linear.x'", 'axes and gripper', 'expected one'),
        ),
    ],
)
def test_bad_file_is_refused_with_parameter_value_and_what_is_allowed(tmp_path, changes, parts):
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, **changes)
    for part in ('robot.yaml', *parts):
        assert part in str(error.value)


def test_a_checkpoint_may_call_its_axes_as_it_likes(tmp_path):
    robot = _load(tmp_path, **_axis(source='left wheel'), gripper={'source': 'axis_6'})
    assert (robot.axes[0].source, robot.gripper) == ('left wheel', 'axis_6')


def test_stop_of_exactly_the_longest_time_is_fine(tmp_path):
    assert _load(tmp_path, **_axis(max_speed=1.2)).axes[0].max_speed == 1.2


@pytest.mark.parametrize(
    'text', ['', '[]', 'axes: {', 'estop: none\nestop: none', '!!python/tuple []']
)
def test_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / 'robot.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=r'robot\.yaml'):
        load_robot(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='nowhere'):
        load_robot(tmp_path / 'nowhere.yaml')


@pytest.mark.parametrize('path', sorted(ROBOTS.glob('*.yaml')), ids=lambda path: path.stem)
def test_shipped_robots_are_valid_and_only_the_simulated_one_arms_itself(path):
    robot = load_robot(path)
    assert robot.self_arm == robot.simulated == (path.stem == 'sim')
    assert robot.discovery == ('LOCALHOST' if robot.simulated else 'SUBNET')
    assert robot.simulated or robot.estop_required
