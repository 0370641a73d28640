"""Bags in the format of rosbag2, without rosbag2 and without rclpy."""
