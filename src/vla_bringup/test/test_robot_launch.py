"""The graph under ROS 2's own launch, by launch_testing: it starts, decides, and ends cleanly.

Collected by the pytest plugin of launch_testing, so it runs only where that is installed (CI in
ros:jazzy); test_launch_two_robots.py covers the same through vla_up everywhere.
"""

from importlib.util import find_spec

from vla_ros.domains import process_domain

if find_spec('launch_testing') and find_spec('launch_ros'):
    import os
    import time
    import unittest

    from ament_index_python.packages import get_package_share_path
    from launch.actions import IncludeLaunchDescription, SetEnvironmentVariable
    from launch.launch_description_sources import AnyLaunchDescriptionSource
    import launch_testing
    from launch_testing.actions import ReadyToTest
    from launch_testing.asserts import assertExitCodes
    import pytest
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from launch import LaunchDescription
    from vla_interfaces.msg import Decision
    from vla_ros import qos

    DOMAIN = process_domain()
    PATIENCE = 90.0

    @pytest.mark.launch_test
    def generate_test_description() -> LaunchDescription:
        file = get_package_share_path('vla_bringup') / 'launch' / 'robot.launch.py'
        include = IncludeLaunchDescription(
            AnyLaunchDescriptionSource(str(file)), launch_arguments=[('policy', 'hold')]
        )
        domain = SetEnvironmentVariable('ROS_DOMAIN_ID', str(DOMAIN))
        return LaunchDescription([domain, include, ReadyToTest()])

    class TestGraph(unittest.TestCase):
        def test_the_gate_decides_about_the_policys_chunks(self) -> None:
            os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
            context = rclpy.Context()
            rclpy.init(context=context, args=[], domain_id=DOMAIN)
            node = rclpy.create_node('watcher', context=context)
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(node)
            decisions: list[Decision] = []
            node.create_subscription(Decision, 'safety/decision', decisions.append, qos.DECISION)
            deadline = time.monotonic() + PATIENCE
            while not (decisions and decisions[-1].policy_run):
                assert time.monotonic() < deadline, 'no decision named a chunk'
                executor.spin_once(timeout_sec=0.1)
            assert decisions[-1].published.linear.x == 0.0
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown(context=context)

    @launch_testing.post_shutdown_test()
    class TestEnd(unittest.TestCase):
        def test_every_process_ends_cleanly(self, proc_info) -> None:
            assertExitCodes(proc_info)
