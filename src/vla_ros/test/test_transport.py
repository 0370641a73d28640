"""Which processes share memory, and how far they are heard."""

from pathlib import Path
import subprocess
import sys
import xml.etree.ElementTree as ET

from ament_index_python.packages import get_package_share_path
import pytest

from vla_ros import transport
from vla_ros.transport import discovery_range, keep_off_shared_memory, udp_holds_frames

SHIPPED = get_package_share_path('vla_bringup') / 'config'
PROFILE, REACH = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'ROS_AUTOMATIC_DISCOVERY_RANGE'
MAPPED = """
import sys
import rclpy
from vla_ros.transport import keep_off_shared_memory
if sys.argv[1] == 'off':
    keep_off_shared_memory()
rclpy.init(args=[])
node = rclpy.create_node('example')
print('/dev/shm/fastrtps' in open('/proc/self/maps').read())
"""


@pytest.fixture(autouse=True)
def fast_dds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, 'get_rmw_implementation_identifier', lambda: 'rmw_fastrtps_cpp')


@pytest.mark.parametrize('reach', ['SUBNET', 'LOCALHOST'])
@pytest.mark.parametrize('before', [{}, {PROFILE: str(SHIPPED / 'fastdds.xml')}])
def test_process_is_heard_as_far_as_before(reach: str, before: dict[str, str]) -> None:
    environment = {REACH: reach, **before}
    keep_off_shared_memory(environment)
    assert Path(environment[PROFILE]).is_file()
    assert 'SHM' not in Path(environment[PROFILE]).read_text()
    assert discovery_range(environment) == reach
    again = dict(environment)
    keep_off_shared_memory(again)
    assert again == environment


@pytest.mark.parametrize('asked', ['', 'SUBNET', 'LOCALHOST'])
def test_old_variable_keeps_a_process_to_this_computer(asked: str) -> None:
    environment = {'ROS_LOCALHOST_ONLY': '1', REACH: asked}
    assert discovery_range(environment) == 'LOCALHOST'
    keep_off_shared_memory(environment)
    assert environment == {
        REACH: 'SYSTEM_DEFAULT',
        PROFILE: str(SHIPPED / 'fastdds_udp_local.xml'),
        'FASTDDS_DEFAULT_PROFILES_FILE': str(SHIPPED / 'fastdds_udp_local.xml'),
    }
    assert discovery_range(environment) == 'LOCALHOST'
    assert discovery_range({'ROS_LOCALHOST_ONLY': '0', REACH: asked}) == (asked or 'SUBNET')


@pytest.mark.parametrize('by_hand', [PROFILE, 'FASTDDS_DEFAULT_PROFILES_FILE'])
def test_profile_set_by_hand_stays(by_hand: str) -> None:
    environment = {REACH: 'LOCALHOST', by_hand: '/etc/mine.xml'}
    keep_off_shared_memory(environment)
    assert environment == {REACH: 'LOCALHOST', by_hand: '/etc/mine.xml'}
    assert discovery_range(environment) == 'LOCALHOST'


def test_other_middleware_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, 'get_rmw_implementation_identifier', lambda: 'rmw_zenoh_cpp')
    environment = {REACH: 'LOCALHOST'}
    keep_off_shared_memory(environment)
    assert environment == {REACH: 'LOCALHOST'}


def test_a_range_that_nobody_restricts_is_said_as_it_is() -> None:
    assert discovery_range({REACH: 'SYSTEM_DEFAULT'}) == 'SYSTEM_DEFAULT'
    assert discovery_range({}) == 'SUBNET'


@pytest.mark.skipif(
    'fastrtps' not in transport.get_rmw_implementation_identifier(), reason='needs Fast DDS'
)
@pytest.mark.parametrize(('how', 'shared'), [('off', 'False'), ('as it is', 'True')])
def test_shared_memory_is_mapped_only_where_it_is_wanted(how: str, shared: str) -> None:
    done = subprocess.run(
        [sys.executable, '-c', MAPPED, how], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == shared


@pytest.mark.parametrize('profile', ['fastdds.xml', 'fastdds_udp.xml'])
def test_dead_process_is_forgotten_after_three_seconds(profile: str) -> None:
    """Its publishers count as writers of cmd_vel and as e-stop buttons until then."""
    (lease,) = ET.parse(SHIPPED / profile).iterfind('.//{*}leaseDuration/{*}sec')
    assert lease.text == '3'


@pytest.mark.parametrize(
    ('granted', 'holds'), [('212992\n', False), ('1843200\n', True), ('', False), ('x', False)]
)
def test_frames_go_by_udp_where_a_socket_holds_two(tmp_path: Path, granted: str, holds: bool):
    file = tmp_path / 'rmem_max'
    file.write_text(granted)
    assert udp_holds_frames(file) is holds
    assert not udp_holds_frames(tmp_path / 'none')
