"""Dimensions of the simulated robot, the one place for physics, URDF and expert to read them."""

import math

# The footprint is a disc around the middle of the axle, so that the robot can turn anywhere.
FOOTPRINT_RADIUS = 0.16
# As high as a ball's equator, so that contact begins where the gap seen from above ends.
CHASSIS_HEIGHT = 0.20
CHASSIS_CLEARANCE = 0.02
MASS = 1.8
# TurtleBot3 Waffle: wheel radius, distance between the wheels' contact points, width.
# https://emanual.robotis.com/docs/en/platform/turtlebot3/features/
WHEEL_RADIUS = 0.033
WHEEL_SEPARATION = 0.287
WHEEL_WIDTH = 0.018

MAX_SPEED = 0.6
MAX_TURN_RATE = 1.2

CAMERA_FORWARD = 0.06
CAMERA_HEIGHT = 0.25
CAMERA_RATE = 30.0
IMAGE_WIDTH = 640
IMAGE_HEIGHT = 480
HORIZONTAL_FOV = math.radians(80.0)
FOCAL_LENGTH = IMAGE_WIDTH / 2 / math.tan(HORIZONTAL_FOV / 2)
"""Pixels, the same in both directions."""
VERTICAL_FOV = 2 * math.atan(IMAGE_HEIGHT / 2 / FOCAL_LENGTH)
