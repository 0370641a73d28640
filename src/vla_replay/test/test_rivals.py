"""Other ways from a camera to a command: what is measured of them, and how it is compared."""

from pathlib import Path
import time

from nav_msgs.msg import Odometry
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from vla_core.errors import ConfigError
from vla_replay.measuring_camera import rows
from vla_replay.rivals import peer
from vla_replay.rivals.feed import Feed
from vla_replay.rivals.trial import CAMERA, Latencies
from vla_ros import qos
from vla_ros.conversion import to_ns
from vla_ros.domains import own_domain


def test_ratio_is_that_of_turns_side_by_side():
    turns = {
        'ours': [[10.0, 10.0, 99.0], [20.0], [30.0]],
        'seed_way': [[100.0], [400.0], [100.0]],
    }
    ours, seed = rows(turns)
    assert ours.name == 'replayed_camera_to_cmd_vel'
    assert ours.against == {'seed_way': pytest.approx(0.1)}
    assert ours.notes['ratio to seed_way, turns'] == '0.050 to 0.300'
    assert len(ours.samples) == 5
    assert (seed.name, seed.against) == ('replayed_camera_seed_way', {})


@pytest.mark.parametrize(('seed_way', 'kept'), [(100.0, True), (99.0, False), (None, None)])
def test_tenth_of_the_seeds_way_is_promised(seed_way, kept):
    turns = {'ours': [[10.0]] * 3} | ({'seed_way': [[seed_way]] * 3} if seed_way else {})
    ours = rows(turns)[0]
    assert ours.verdicts() == {'p50': True, 'p99': True, 'ratio to seed_way': kept}


def test_only_the_first_command_from_a_frame_counts_after_the_warm_up():
    found = Latencies()
    found.command(1_000_000, 9_000_000)
    assert found.heard
    assert found.samples == {}
    found.since = time.monotonic() - 1.0
    # The command of before is repeated: it is older than it was when it came first.
    found.command(1_000_000, 39_000_000)
    found.command(2_000_000, 10_000_000)
    found.command(2_000_000, 12_000_000)
    found.command(0, 12_000_000)
    assert found.samples == {2_000_000: 8.0}


def test_feed_stamps_numbers_and_repeats_its_pictures():
    pictures = [np.full((4, 6, 3), 50 + place, np.uint8) for place in range(3)]
    with own_domain() as domain:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node('feed', context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        images, odometry = [], []
        node.create_subscription(Image, CAMERA, images.append, qos.SENSOR)
        node.create_subscription(Odometry, 'odom', odometry.append, qos.ODOM)
        feed = Feed(node, pictures, CAMERA)
        feed.start()
        end = time.monotonic() + 20.0
        while time.monotonic() < end and (len(images) < 5 or not odometry):
            executor.spin_once(timeout_sec=0.1)
        feed.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    assert len(images) >= 5
    places = [msg.data[0] for msg in images]
    assert set(places) == {0, 1, 2}
    for msg in images:
        assert (msg.height, msg.width, msg.step) == (4, 6, 18)
        assert set(msg.data[1:]) == {50 + msg.data[0]}
    newest = images[-1]
    assert feed.stamps[newest.data[0]] >= to_ns(newest.header.stamp)
    stamps = [to_ns(msg.header.stamp) for msg in images]
    assert stamps == sorted(stamps)
    assert abs(time.time_ns() - stamps[-1]) < 60e9
    assert odometry[0].header.frame_id == 'odom'


def test_a_folder_that_is_no_checkout_of_the_peer_is_refused(tmp_path: Path):
    (tmp_path / 'ros2').mkdir()
    with pytest.raises(ConfigError, match=r'no ros2/vla_ros2_msgs there: expected a checkout'):
        peer.prepare(tmp_path, tmp_path, tmp_path / 'scratch')


def test_messages_that_do_not_build_are_an_error(tmp_path: Path):
    for part in ('ros2/vla_ros2_msgs', 'ros2/vla_ros2', 'src'):
        (tmp_path / part).mkdir(parents=True)
    broken = '<package format="3"><name>vla_ros2_msgs</name>'
    (tmp_path / 'ros2/vla_ros2_msgs/package.xml').write_text(broken)
    (tmp_path / 'ros2/vla_ros2_msgs/CMakeLists.txt').write_text('message(FATAL_ERROR "no")\n')
    with pytest.raises(ConfigError, match='its messages do not build'):
        peer.prepare(tmp_path, tmp_path, tmp_path / 'scratch')


def test_peer_polls_at_its_own_rate_unless_told():
    assert 'control_hz:=30.0' in peer.command(30.0)
    assert not [word for word in peer.command(None) if 'control_hz' in word]
