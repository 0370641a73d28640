"""Plays ROS 2 launch files where the `launch` packages are not installed."""
