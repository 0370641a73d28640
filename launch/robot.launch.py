"""Start everything: `ros2 launch vla_bringup robot.launch.py`; the graph is robot.launch.xml."""

from ament_index_python.packages import get_package_share_path
from launch.actions import IncludeLaunchDescription
from launch_xml.launch_description_sources import XMLLaunchDescriptionSource

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Include robot.launch.xml; its arguments are this file's arguments."""
    graph = get_package_share_path('vla_bringup') / 'launch' / 'robot.launch.xml'
    return LaunchDescription([IncludeLaunchDescription(XMLLaunchDescriptionSource(str(graph)))])
