"""With real keys: who is not the gate cannot write cmd_vel, who is no operator cannot reset.

Needs sros2, and a middleware that was built with security; the wheels have neither.
"""

from collections.abc import Iterator
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

from vla_ros.domains import own_domain

ROOT = Path(__file__).parents[3]
POLICY = ROOT / 'config' / 'security' / 'policy.xml'
PROBE = """
import sys
from geometry_msgs.msg import Twist
import rclpy
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
rclpy.init()
node = rclpy.create_node(
    'probe',
    start_parameter_services=False,
    parameter_overrides=[Parameter('start_type_description_service', value=False)],
)
what = sys.argv[1]
if what == 'write':
    node.create_publisher(Twist, 'cmd_vel', 1)
elif what == 'hear':
    node.create_subscription(Twist, 'cmd_vel', print, 1)
else:
    node.create_client(Trigger, 'safety/reset')
print('allowed')
"""

pytestmark = pytest.mark.skipif(
    shutil.which('ros2') is None
    or subprocess.run(['ros2', 'security', '--help'], capture_output=True, check=False).returncode,
    reason='sros2 is not installed: no keys can be made',
)


@pytest.fixture(scope='module')
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    keys = tmp_path_factory.mktemp('keys') / 'store'
    with own_domain() as domain:
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
        subprocess.run(
            ['ros2', 'security', 'generate_artifacts', '-k', str(keys), '-p', str(POLICY)],
            env=environment,
            check=True,
            capture_output=True,
        )
        yield environment | {
            'ROS_SECURITY_KEYSTORE': str(keys),
            'ROS_SECURITY_ENABLE': 'true',
            'ROS_SECURITY_STRATEGY': 'Enforce',
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        }


@pytest.mark.parametrize(
    ('enclave', 'what', 'allowed'),
    [
        ('gate', 'write', True),
        ('policy', 'write', False),
        ('monitor', 'write', False),
        ('operator', 'write', False),
        ('robot', 'hear', True),
        ('policy', 'hear', False),
        ('operator', 'reset', True),
        ('policy', 'reset', False),
        ('nobody', 'hear', False),
    ],
)
def test_only_the_enclave_that_may_can(environment, enclave, what, allowed):
    done = subprocess.run(
        [sys.executable, '-c', PROBE, what],
        env=environment | {'ROS_SECURITY_ENCLAVE_OVERRIDE': f'/vla/{enclave}'},
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert ('allowed' in done.stdout) is allowed, done.stderr
