"""Sections of a robot file about the surroundings: one bad file per rule; missing means off."""

import math
from pathlib import Path
import re

import pytest
import yaml

from vla_core.errors import ConfigError
from vla_core.robot import load_robot

BOX = {'front': 0.4, 'rear': 0.3, 'left': 0.3, 'right': 0.3}
SLOW = {'front': 1.0, 'rear': 0.5, 'left': 0.6, 'right': 0.6, 'speed_scale': 0.4}
SCAN = {'frame_id': 'base_scan', 'x': 0.1, 'y': 0.0, 'yaw': 0.0, 'field_of_view': 6.2}
ZONES = {'stop': BOX, 'slow': SLOW, 'approach': {'time': 1.0}}
SQUARE = [[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]]
GOOD = {
    'estop': 'required',
    'odom': 'required',
    'discovery': 'SUBNET',
    'axes': {'linear.x': {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 1.0}},
}
GUIDE = Path(__file__).parents[3] / 'docs' / 'how-to' / 'own-robot.md'


def _load(tmp_path, **changes):
    path = tmp_path / 'robot.yaml'
    path.write_text(yaml.safe_dump(GOOD | changes))
    return load_robot(path)


def test_without_sections_there_are_no_surroundings(tmp_path):
    robot = _load(tmp_path)
    assert (robot.fence, robot.scan, robot.zones) == (None, None, None)


def test_good_sections_load(tmp_path):
    robot = _load(tmp_path, geofence={'points': SQUARE}, scan=SCAN, zones=ZONES)
    assert robot.fence.points[2] == (2.0, 2.0)
    assert (robot.zones.stop.front, robot.zones.slow.speed_scale) == (0.4, 0.4)
    assert (robot.zones.approach_time, robot.zones.min_points) == (1.0, 1)
    assert (robot.scan.timeout, robot.scan.upside_down) == (0.5, False)


@pytest.mark.parametrize('name', ['geofence', 'scan', 'zones'])
@pytest.mark.parametrize('value', [None, {}, [], 0, 0.0, '', False, 'none'])
def test_nothing_but_a_missing_section_is_off(tmp_path, name, value):
    sections = {'scan': SCAN, 'zones': ZONES} if name != 'geofence' else {}
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, **(sections | {name: value}))
    for part in ('robot.yaml', name, 'expected'):
        assert part in str(error.value)


@pytest.mark.parametrize('section', ['stop', 'slow'])
@pytest.mark.parametrize('side', ['front', 'rear', 'left', 'right'])
@pytest.mark.parametrize('value', [0.0, -0.3, math.nan, math.inf, 1, '0.5', None, 21.0])
def test_sides_are_finite_and_positive(tmp_path, section, side, value):
    zones = ZONES | {section: ZONES[section] | {side: value}}
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, scan=SCAN, zones=zones)
    for part in (f'zones.{section}', side, repr(value), 'expected', 'finite'):
        assert part in str(error.value)


def _zones(**changes):
    zones = {name: value for name, value in (ZONES | changes).items() if value is not ...}
    return {'scan': SCAN, 'zones': zones}


def _scan(**changes):
    scan = {name: value for name, value in (SCAN | changes).items() if value is not ...}
    return {'scan': scan, 'zones': ZONES}


def _fence(points=SQUARE, **changes):
    return {'geofence': {'points': points} | changes}


@pytest.mark.parametrize(
    ('changes', 'parts'),
    [
        ({'scan': SCAN}, ('scan without zones', 'both or neither')),
        ({'zones': ZONES}, ('zones without scan', 'both or neither')),
        (_zones(stop=..., slow=..., approach=...), ('no zone', 'at least one')),
        (_zones(stop=...), ('approach without stop',)),
        (_zones(danger=BOX), ('danger', 'unknown')),
        (_zones(stop=BOX | {'top': 1.0}), ('top', 'unknown')),
        (_zones(stop={'front': 1.0}), ('rear', 'missing')),
        (_zones(slow=SLOW | {'front': 0.4}), ('zones.slow', 'front', '0.4', 'more than')),
        (_zones(slow=SLOW | {'speed_scale': 0.0}), ('speed_scale', '0.0', '0.05')),
        (_zones(slow=SLOW | {'speed_scale': 1.0}), ('speed_scale', '1.0', '0.95')),
        (_zones(approach={'time': 0.4}), ('approach', '0.4', '0.5', 'brake')),
        (_zones(approach={'time': math.inf}), ('time', 'inf', 'finite')),
        (_zones(approach={}), ('time', 'missing')),
        (_zones(min_points=0), ('min_points', '0', '[1, 100]')),
        (_scan(frame_id=...), ('frame_id', 'missing')),
        (_scan(frame_id=''), ('scan', 'frame_id', "''", 'a name')),
        (_scan(x=...), ('x is missing', 'finite')),
        (_scan(x=math.nan), ('nan', 'finite')),
        (_scan(x=0.5), ('stop', '(0.5, 0)', 'too close')),
        (_scan(yaw=180.0), ('yaw', '180.0', 'rad')),
        (_scan(field_of_view=360.0), ('field_of_view', '360.0', 'rad')),
        (_scan(field_of_view=0.0), ('field_of_view', '0.0')),
        (_scan(timeout=0.6), ('timeout', '0.6', '0.5')),
        (_scan(timeout=0.0), ('timeout', '0.0', '0.05')),
        (_scan(max_invalid=1.0), ('max_invalid', '1.0', '0.95')),
        (_scan(height=0.3), ('height', 'unknown')),
        (_fence([]), ('points', '[]', '3 to 64')),
        (_fence(SQUARE[:2]), ('points', '3 to 64')),
        (_fence([[0.0, 0.0]] * 65), ('points', '3 to 64')),
        (_fence([*SQUARE[:3], [0.0]]), ('points[3]', '[0.0]', 'two finite floats')),
        (_fence([*SQUARE[:3], [0.0, math.nan]]), ('points[3]', 'nan')),
        (_fence([*SQUARE[:3], [0.0, math.inf]]), ('points[3]', 'inf')),
        (_fence([*SQUARE[:3], [0.0, 1e5]]), ('points[3]', '100000.0', '10000 m')),
        (_fence([*SQUARE[:3], [0, 1]]), ('points[3]', '[0, 1]', 'decimal point')),
        (_fence([SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]), ('edges', 'meet')),
        (_fence([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), ('area', '0.01')),
        (_fence(frame_id=''), ('geofence', 'frame_id', "''", 'a name')),
        (_fence(frame_id='odom '), ('geofence', 'frame_id', "'odom '", 'a name')),
        (_fence(slow_within=0.0), ('slow_within', '0.0', '0.01')),
        (_fence(slow_scale=1.0), ('slow_scale', '1.0', '0.95')),
        (_fence(height=1.0), ('height', 'unknown')),
        (_fence() | {'odom': 'none'}, ('geofence', 'odom none', 'required')),
    ],
)
def test_bad_section_is_refused_with_parameter_value_and_what_is_allowed(tmp_path, changes, parts):
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, **changes)
    for part in ('robot.yaml', *parts):
        assert part in str(error.value)


@pytest.mark.parametrize('number', range(3, 9))
def test_stars_and_regular_polygons_are_simple(tmp_path, number):
    corners = [
        [
            (1.0 + i % 2) * math.cos(i * math.pi / number),
            (1.0 + i % 2) * math.sin(i * math.pi / number),
        ]
        for i in range(2 * number)
    ]
    assert len(_load(tmp_path, **_fence(corners)).fence.points) == 2 * number


def test_lockstep_with_zones_is_refused_and_with_a_fence_is_not(tmp_path):
    simulated = {'simulated': True, 'discovery': 'LOCALHOST'}
    _load(tmp_path, **simulated, **_fence()).check_clock('lockstep')
    robot = _load(tmp_path, **simulated, **_zones())
    robot.check_clock('steady')
    with pytest.raises(ConfigError, match='zones: expected steady'):
        robot.check_clock('lockstep')


def test_sections_of_the_guide_are_valid(tmp_path):
    blocks = re.findall(r'```yaml\n(.*?)```', GUIDE.read_text(), re.DOTALL)
    sections = yaml.safe_load(''.join(blocks))
    assert {'geofence', 'scan', 'zones'} <= set(sections)
    assert _load(tmp_path, **sections).zones.approach_time > 0.0
