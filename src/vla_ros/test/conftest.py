"""A private context per test on a domain of its own."""

from collections.abc import Iterator
import os

import pytest
import rclpy
from rclpy.context import Context

from vla_ros.domains import process_domain

DOMAIN = process_domain()


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """Yield an initialised context that hears nobody outside this machine."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(DOMAIN))
    context = Context()
    rclpy.init(args=[], context=context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
    yield context
    rclpy.try_shutdown(context=context)
