"""A robot to drive: MuJoCo, headless, with or without ROS."""
