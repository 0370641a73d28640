"""Types, policy protocol, gate rules, chunk player, image operations and errors; no ROS."""
