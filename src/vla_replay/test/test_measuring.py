"""A recorder that is killed leaves a bag that opens; what it costs is printed, not judged."""

import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from vla_replay.bag.reader import BagReader
from vla_replay.bag.writer import BagWriter
from vla_replay.measuring import NUMBERS, numbers, recorder_cpu, recorder_loss


@pytest.mark.parametrize('kills', [2, pytest.param(100, marks=pytest.mark.slow)])
def test_every_bag_of_a_killed_recorder_opens(kills, figures):
    (row,) = recorder_loss(kills)
    figures(row.line())
    assert len(row.samples) == kills
    assert row.notes['without a message'] == 0


@pytest.mark.slow
def test_nothing_is_dropped_in_silence(figures):
    for row in recorder_cpu(2):
        figures(row.line())
        assert row.notes['missing'] >= 0
        assert len(row.samples) == 2


def test_numbers_are_read_from_a_torn_bag(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic(NUMBERS, 'std_msgs/msg/String')
        for number in range(5):
            text = String(data=f'{number} {number * 100}')
            writer.write(NUMBERS, number, serialize_message(text))
    file = tmp_path / 'bag' / 'bag_0.mcap'
    file.write_bytes(file.read_bytes()[:-1])
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.torn
    assert numbers(tmp_path / 'bag') == [(number, number * 100) for number in range(5)]
