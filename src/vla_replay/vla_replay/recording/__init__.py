"""What the flight recorder does, without ROS; time is injected."""
