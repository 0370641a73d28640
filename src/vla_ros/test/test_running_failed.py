"""An error in what a heartbeat is made of: reported, handed to `failed`, the next beats go on."""

import os
import signal
import subprocess
import sys

import pytest

from vla_ros.domains import process_domain

#: The third and fourth beat fail; what is heard and what `failed` gets is printed.
PROGRAM = """
import sys
from rclpy.node import Node
from vla_interfaces.msg import Heartbeat
from vla_ros import qos
from vla_ros.heartbeat import HeartbeatPublisher, Vitals
from vla_ros.in_turn import in_turn_executor
from vla_ros.running import events_executor, run

class Example(Node):
    def __init__(self):
        super().__init__('example')
        self.errors = self.asked = 0
        self.create_subscription(Heartbeat, 'vla/heartbeat', self.hear, qos.HEARTBEAT)
        HeartbeatPublisher(self, 'example', self.vitals)
    def vitals(self):
        self.asked += 1
        if self.asked in (3, 4):
            raise ValueError(f'vitals {self.asked}')
        return Vitals(progress=self.asked, errors_total=self.errors)
    def hear(self, msg):
        if msg.progress > 4:
            print('beat', msg.errors_total, flush=True)
    def failed(self, error):
        self.errors += 1
        print(error, flush=True)

executor = events_executor if sys.argv[1] == 'events' else in_turn_executor
sys.exit(run(Example, args=[], make_executor=executor))
"""


@pytest.mark.parametrize('executor', ['turns', 'events'])
def test_vitals_that_raise_cost_their_own_beat_only(executor):
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, executor],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            'ROS_DOMAIN_ID': str(process_domain()),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        },
    )
    lines = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert lines == ['vitals 3\n', 'vitals 4\n', 'beat 2\n', 'beat 2\n'], errors
    assert process.returncode == 0
    assert 'ValueError: vitals 3' in errors
