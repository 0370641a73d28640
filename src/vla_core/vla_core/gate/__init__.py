"""The gate: what may move the robot, when, how fast, and what stops it."""
