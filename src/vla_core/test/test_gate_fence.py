"""The geofence in odom around a driving robot."""

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.errors import ObservationError
from vla_core.gate.causes import Cause, State
from vla_core.gate.fence import Fence, nearest, RELEASE
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import EventKind, Human, Odom, Request
from vla_core.surroundings import FenceConfig

SQUARE = ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0))
#: A square whose upper right quarter is missing.
CORNER = ((-2.0, -2.0), (2.0, -2.0), (2.0, 0.0), (0.0, 0.0), (0.0, 2.0), (-2.0, 2.0))


class Ground:
    """Moves a world's robot by what the gate publishes, and tells odom."""

    def __init__(self, world, pose=(0.0, 0.0, 0.0)):
        self.world = world
        world.odom_on = False
        self.pose = pose
        self.frame_id = 'odom'

    def odom(self):
        return Odom(self.world.published, self.world.now + 0.02, self.pose, self.frame_id)

    def step(self, *messages, **options):
        x, y, yaw = self.pose
        speed, turn = self.world.published[0], self.world.published[5]
        self.pose = (
            x + speed * math.cos(yaw) * 0.02,
            y + speed * math.sin(yaw) * 0.02,
            yaw + turn * 0.02,
        )
        return self.world.step(self.odom(), *messages, **options)

    def go(self, seconds):
        for _ in range(round(seconds / 0.02)):
            result = self.step()
        return result

    def until(self, state, seconds=20.0):
        for _ in range(round(seconds / 0.02)):
            result = self.step()
            if result.state is state:
                return result
        raise AssertionError(f'{self.world.gate.state.name}: expected {state.name}')

    def armed(self):
        self.until(State.STOPPED)
        self.go(1.2)
        assert self.step(request=Request.ARM).reply.accepted
        self.until(State.ACTIVE)
        return self

    def manual(self, velocity, seconds):
        for _ in range(round(seconds / 0.02)):
            result = self.step(Human(velocity, self.world.now + 0.02))
        return result


@pytest.fixture
def make_ground(make_world):
    def make(points=SQUARE, pose=(0.0, 0.0, 0.0), **changes):
        fence = FenceConfig(points, slow_within=0.5, slow_scale=0.5)
        changes = {'velocity': (0.5, 0.0)} | changes
        return Ground(make_world(fence=fence, **changes), pose)

    return make


def test_robot_slows_before_the_fence_and_stops_behind_it(make_ground):
    ground = make_ground().armed()
    ground.go(1.5)
    while ground.pose[0] < 1.49:
        result = ground.step()
        assert result.speed_scale == 1.0
    ground.go(0.1)
    result = ground.world.results[-1]
    assert (result.speed_scale, result.cause, result.state) == (
        0.5,
        Cause.FENCE_NEAR,
        State.ACTIVE,
    )
    ground.until(State.CONTROLLED_STOP)
    assert ground.pose[0] == pytest.approx(2.0, abs=0.01)
    result = ground.world.results[-1]
    assert result.cause is Cause.GEOFENCE
    event = next(event for event in result.events if event.kind is EventKind.TRANSITION)
    assert (event.axis, event.limit, event.parameter) == (
        'inside the fence',
        0.0,
        'geofence.points',
    )
    assert event.value <= 0.0
    result = ground.until(State.STOPPED)
    assert Cause.GEOFENCE not in ground.go(0.1).causes
    # 0.25 m/s, 1 m/s^2: 3 cm, and the step that saw it.
    assert ground.pose[0] < 2.0 + 0.25**2 / 2.0 + 0.01


def test_arming_outside_is_refused_and_says_how_far(make_ground):
    ground = make_ground(pose=(2.5, 0.0, 0.0))
    ground.until(State.STOPPED)
    ground.go(2.0)
    reply = ground.step(request=Request.ARM).reply
    assert not reply.accepted
    assert 'BREACHED: inside the fence -0.5 m, limit 0 m (geofence.points)' in reply.text


def test_self_arming_outside_never_happens(make_ground):
    ground = make_ground(pose=(2.5, 0.0, 0.0), self_arm=True, simulated=True)
    assert ground.go(6.0).state is State.STOPPED


@pytest.mark.parametrize(
    ('yaw', 'speed', 'back'),
    [(0.0, -0.4, True), (0.0, 0.4, False), (math.pi, 0.4, True), (math.pi / 2, 0.4, False)],
)
def test_person_outside_drives_back_slowly_and_turns(make_ground, yaw, speed, back):
    ground = make_ground(pose=(2.5, 0.0, yaw))
    ground.until(State.STOPPED)
    ground.go(1.0)
    result = ground.manual((speed, 0, 0, 0, 0, 0.0), 1.0)
    assert result.state is State.MANUAL
    # 0.1 m/s, times slow_scale.
    assert result.published[0] == pytest.approx(math.copysign(0.05, speed) if back else 0.0)
    result = ground.manual((0.0, 0, 0, 0, 0, 0.5), 0.4)
    assert result.published[5] == pytest.approx(0.25)


def test_person_who_is_back_inside_drives_as_ever(make_ground):
    ground = make_ground(pose=(2.1, 0.0, math.pi))
    ground.until(State.STOPPED)
    ground.go(1.0)
    ground.manual((0.4, 0, 0, 0, 0, 0), 1.0)
    assert ground.pose[0] > 2.0 - RELEASE
    result = ground.manual((0.4, 0, 0, 0, 0, 0), 4.0)
    assert ground.pose[0] < 2.0 - RELEASE
    # Still near the fence, so still slow.
    assert result.published[0] == pytest.approx(0.2)


def test_person_who_drives_out_is_stopped(make_ground):
    ground = make_ground(pose=(1.7, 0.0, 0.0))
    ground.until(State.STOPPED)
    ground.go(1.0)
    ground.manual((0.5, 0, 0, 0, 0, 0), 2.0)
    assert State.CONTROLLED_STOP in ground.world.states
    assert any(result.cause is Cause.GEOFENCE for result in ground.world.results)


def test_pose_that_jumps_out_stops(make_ground):
    ground = make_ground().armed()
    ground.go(1.0)
    ground.pose = (50.0, 0.0, 0.0)
    assert ground.step().cause is Cause.GEOFENCE


@pytest.mark.parametrize(
    'pose', [(math.nan, 0.0, 0.0), (0.0, math.inf, 0.0), (0.0, 0.0, math.nan)]
)
def test_pose_that_is_not_finite_is_no_odom(make_ground, pose):
    ground = make_ground(velocity=(0.1, 0.0)).armed()
    start = ground.world.now
    for _ in range(30):
        bad = Odom(ground.world.published, ground.world.now + 0.02, pose, 'odom')
        result = ground.world.step(bad)
    assert result.state is State.CONTROLLED_STOP
    assert result.cause is Cause.ODOM_INVALID
    assert ground.world.now - start == pytest.approx(0.6)


@pytest.mark.parametrize('changes', [{'at': 3600.0}, {'velocity': (math.nan,) * 6}, {'at': -0.4}])
def test_odom_that_is_not_taken_moves_no_fence(make_ground, changes):
    ground = make_ground(pose=(2.5, 0.0, 0.0), velocity=(0.0, 0.0))
    ground.until(State.STOPPED)
    assert Cause.BREACHED in ground.go(1.0).causes
    for _ in range(50):
        at = ground.world.now + 0.02 + changes.get('at', 0.0)
        other = Odom(changes.get('velocity', ZERO), at, (0.0, 0.0, 0.0), ground.frame_id)
        assert Cause.BREACHED in ground.step(other).causes


def test_pose_in_another_frame_is_no_odom(make_ground):
    ground = make_ground(velocity=(0.1, 0.0)).armed()
    ground.frame_id = 'map'
    assert ground.go(0.6).cause is Cause.ODOM_INVALID


def test_robot_without_fence_needs_no_pose(driving):
    driving.odom_on = False
    for _ in range(50):
        result = driving.step(Odom(driving.published, driving.now + 0.02))
    assert result.state is State.ACTIVE


def test_carried_out_while_still_it_is_blocked_until_it_is_back(make_ground):
    ground = make_ground(velocity=(0.0, 0.0)).armed()
    ground.go(1.0)
    ground.pose = (3.0, 0.0, 0.0)
    ground.step()
    ground.world.velocity = (0.3, 0.0)
    result = ground.go(3.0)
    assert (result.state, result.cause, result.published) == (
        State.ACTIVE,
        Cause.BREACHED,
        ZERO,
    )
    ground.pose = (-1.0, 0.0, 0.0)
    assert ground.go(3.0).published[0] == pytest.approx(0.3)


@pytest.mark.parametrize('amplitude', [0.01, 0.02])
@pytest.mark.parametrize('border', [1.5, 2.0])
def test_noise_of_the_pose_never_makes_it_oscillate(make_ground, border, amplitude):
    ground = make_ground(velocity=(0.0, 0.0)).armed()
    for step in range(1000):
        wave = amplitude * math.sin(step * 1.7)
        ground.pose = (border + wave, 0.0, 0.0)
        ground.world.step(ground.odom())
    late = ground.world.results[-900:]
    assert len({result.speed_scale for result in late}) == 1
    assert sum(len(result.events) for result in late) == 0


# -- geometry ----------------------------------------------------------------------------------


def _take(points, x, y, yaw=0.0):
    fence = Fence(FenceConfig(points, slow_within=0.01))
    fence.take(Odom(ZERO, 0.0, (x, y, yaw), 'odom'))
    return fence


@pytest.mark.parametrize(
    ('points', 'x', 'y', 'inside'),
    [
        (SQUARE, 0.0, 0.0, 2.0),
        (SQUARE, 1.5, 0.0, 0.5),
        (SQUARE, -2.5, 0.0, -0.5),
        (SQUARE, 5.0, 6.0, -5.0),
        (CORNER, -1.0, 1.0, 1.0),
        (CORNER, 1.0, 1.0, -1.0),
        (CORNER, -0.3, -0.4, 0.5),
        (CORNER[::-1], 1.0, 1.0, -1.0),
        (CORNER[::-1], -1.0, -1.0, 1.0),
        # Level with a corner, and with a side.
        (SQUARE, 3.0, 2.0, -1.0),
        (SQUARE, -3.0, -2.0, -1.0),
        (CORNER, 3.0, 0.0, -1.0),
        (CORNER, -1.0, 0.0, 1.0),
        (CORNER[::-1], -3.0, 0.0, -1.0),
        (CORNER[::-1], -1.0, 0.0, 1.0),
    ],
)
def test_distance_to_the_fence(points, x, y, inside):
    assert _take(points, x, y).inside == pytest.approx(inside)


@given(x=st.floats(-4.0, 4.0), y=st.floats(-4.0, 4.0))
def test_distance_agrees_with_that_of_a_square(x, y):
    dx, dy = abs(x) - 2.0, abs(y) - 2.0
    expected = -math.hypot(max(dx, 0.0), max(dy, 0.0)) if max(dx, dy) > 0.0 else -max(dx, dy)
    assert _take(SQUARE, x, y).inside == pytest.approx(expected, abs=1e-9)


@given(x=st.floats(-1.0, 5.0), y=st.floats(-1.0, 4.0))
def test_inside_of_slanted_edges_is_to_their_left(x, y):
    corners = ((0.0, 0.0), (4.0, 1.0), (1.0, 3.0))
    left = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    if min(map(abs, left)) > 1e-6:
        assert (_take(corners, x, y).inside > 0.0) is (min(left) > 0.0)


@given(
    x=st.floats(-4.0, 4.0),
    y=st.floats(-4.0, 4.0),
    yaw=st.floats(-math.pi, math.pi),
    speed=st.sampled_from([-1e-4, 1e-4]),
    sideways=st.booleans(),
)
def test_way_out_of_a_breach_makes_it_smaller(x, y, yaw, speed, sideways):
    fence = _take(SQUARE, x, y, yaw)
    if not fence.breached:
        return
    wanted = (0.0, speed) if sideways else (speed, 0.0)
    velocity = fence.escape((*wanted, 0.0, 0.0, 0.0, 0.3))
    assert velocity[5] == 0.3
    ahead, left = velocity[:2]
    moved = _take(
        SQUARE,
        x + ahead * math.cos(yaw) - left * math.sin(yaw),
        y + ahead * math.sin(yaw) + left * math.cos(yaw),
    )
    # Less than a step outside, or inside again, in a corner: it may lead over the other side.
    clear = fence.inside < -abs(speed)
    assert moved.inside >= fence.inside - (1e-7 if clear else abs(speed))


def test_way_along_the_fence_is_no_way_out():
    along = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert _take(SQUARE, 0.0, 2.5).escape(along) == ZERO
    # Back and along is.
    back = (0.1, -0.1, 0.0, 0.0, 0.0, 0.0)
    assert _take(SQUARE, 0.0, 2.5).escape(back) == back


def test_pose_on_a_border_is_beyond_it():
    fence = Fence(FenceConfig(SQUARE, slow_within=0.5))

    def take(x):
        fence.take(Odom(ZERO, 0.0, (x, 0.0, 0.0), 'odom'))
        return fence.near, fence.breached

    assert take(0.0) == (False, False)
    assert take(1.5) == (True, False)
    assert take(2.0) == (True, True)
    # The way back needs the hysteresis.
    assert take(2.01 - RELEASE) == (True, True)
    assert take(1.99 - RELEASE) == (True, False)
    assert take(1.51 - RELEASE) == (True, False)
    assert take(1.49 - RELEASE) == (False, False)


@given(st.tuples(*[st.floats(-5.0, 5.0)] * 2), st.floats(0.0, 1.0))
def test_no_point_of_the_edge_is_nearer(point, share):
    start, end = (-1.0, 2.0), (3.0, -1.0)
    found = nearest(point, start, end)
    other = (start[0] + share * 4.0, start[1] - share * 3.0)
    assert math.dist(point, found) <= math.dist(point, other) + 1e-9


def test_fence_without_a_pose_counts_as_breached():
    fence = Fence(FenceConfig(SQUARE))
    assert fence.breached
    assert fence.near
    assert fence.escape((0.1, 0.1, 0.0, 0.0, 0.0, 0.1)) == (0.0, 0.0, 0.0, 0.0, 0.0, 0.1)
    with pytest.raises(ObservationError, match="'map'"):
        fence.take(Odom(ZERO, 0.0, (0.0, 0.0, 0.0), 'map'))
    with pytest.raises(ObservationError, match='inf'):
        fence.take(Odom(ZERO, 0.0, (0.0, math.inf, 0.0), 'odom'))


def test_corner_given_twice_is_one_corner():
    assert _take((*SQUARE, SQUARE[-1]), 0.0, 0.0).inside == pytest.approx(2.0)
