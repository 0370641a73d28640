"""For any input whatever: finite, within limits, within acceleration, latched where latched."""

from copy import deepcopy
from dataclasses import replace
import math

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.errors import ActionRejected
from vla_core.gate.causes import MOVING, State
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import (
    Beat,
    Chunk,
    Command,
    Estop,
    Human,
    InternalError,
    Odom,
    Record,
    Rejected,
    Request,
    Stop,
    StopLevel,
)
from vla_core.types import Status

ANY = st.one_of(
    st.floats(),
    st.floats(-2.0, 2.0),
    st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, -5e-324, 1e308, -1e308, -0.0]),
)
SIX = st.tuples(*[ANY] * 6)
EVENTS = st.one_of(
    st.tuples(st.just('chunk'), SIX, st.integers(0, 5), st.sampled_from(list(Status))),
    st.tuples(st.just('human'), SIX),
    st.tuples(st.just('odom'), SIX, ANY),
    st.tuples(st.just('beat'), st.sampled_from(['policy', 'camera', 'x']), ANY, st.integers(0, 9)),
    st.tuples(st.just('estop'), st.booleans(), st.sampled_from(['latched', 'plain'])),
    st.tuples(st.just('stop'), st.sampled_from(list(StopLevel))),
    st.tuples(st.just('text'), st.sampled_from(['stop', 'go', '']), st.integers(0, 3)),
    st.tuples(st.just('record'), st.sampled_from(['stop', 'go']), st.integers(0, 9)),
    st.tuples(st.just('rejected'), st.sampled_from(['chunk', 'human', 'odom'])),
    st.tuples(st.just('bug')),
)
STEPS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 0.005, 0.02, 0.02, 0.02]), st.floats(0.0, 3.0)),
        st.lists(EVENTS, max_size=3),
        st.one_of(st.none(), st.none(), st.sampled_from(list(Request))),
        st.booleans(),
        st.sampled_from([1, 1, 1, 1, 2, 0]),
    ),
    max_size=40,
)
LOOSE = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STARTS = ('init', 'stopped', 'active', 'manual', 'estop')


@pytest.fixture
def starts(make_world):
    """Worlds to copy: getting to ACTIVE takes two hundred steps."""
    worlds = {name: make_world() for name in STARTS}
    for name in STARTS[1:]:
        worlds[name].until(State.STOPPED)
    worlds['active'].armed()
    # It speeds up and turns around: any step that is too large shows.
    worlds['active'].velocity = (0.6, -1.0)
    worlds['manual'].step(Human((0.5, 0, 0, 0, 0, 1.0), worlds['manual'].now + 0.02))
    worlds['estop'].armed().step(Estop(True, 'plain'))
    return worlds


def _copy(world):
    world.results.clear()
    return deepcopy(world)


def _message(world, event):
    kind, *rest = event
    now = world.now
    if kind == 'chunk':
        velocity, instruction_id, status = rest
        data = np.zeros((8, 7))
        data[:, :6] = velocity
        try:
            return world.chunk(data=data, instruction_id=instruction_id, status=status)
        except ActionRejected as error:
            return Rejected('chunk', str(error))
    if kind == 'beat':
        node, age, errors = rest
        return Beat(node, now, '', world.run, True, age, errors, age)
    makers = {
        'human': lambda velocity: Human(velocity, now),
        'odom': lambda velocity, age: Odom(velocity, now - age),
        'estop': Estop,
        'stop': Stop,
        'text': Command,
        'record': lambda text, number: Record(text, number % 4, world.run, number),
        'rejected': lambda name: Rejected(name, 'bad'),
        'bug': lambda: InternalError('bug'),
    }
    return makers[kind](*rest)


@LOOSE
@given(start=st.sampled_from(STARTS), steps=STEPS)
def test_output_is_safe_whatever_arrives(starts, start, steps):
    world = _copy(starts[start])
    before = world.step()
    speed, accel, decel = (0.6, 0, 0, 0, 0, 1.2), (1.0, 0, 0, 0, 0, 3.0), (1.0, 0, 0, 0, 0, 3.0)
    for dt, events, request, quiet, writers in steps:
        world.writers = writers
        world.now += dt
        messages = [_message(world, event) for event in events]
        result = world.step(*messages, dt=0.0, request=request, quiet=quiet)
        assert len(result.published) == 6
        for value, most in zip(result.published, speed, strict=True):
            assert math.isfinite(value)
            assert abs(value) <= most
        if result.state in (State.INIT, State.STOPPED, State.ESTOP, State.FAULT):
            assert result.published == ZERO
        # By the world's clock: the gate's dt is one of the things judged.
        if dt >= 0.501 and before.state in MOVING:
            assert result.published == ZERO
        elif result.state is not State.ESTOP:
            for old, new, up, down in zip(
                before.published, result.published, accel, decel, strict=True
            ):
                assert abs(new - old) <= max(up, down) * dt + 1e-8
        if before.state is State.ESTOP:
            reset = request is Request.RESET and result.reply.accepted
            assert result.state is (State.STOPPED if reset else State.ESTOP)
        assert result.state is not State.FAULT
        before = result


@LOOSE
@given(steps=STEPS)
def test_no_input_but_arm_or_a_person_moves_a_stopped_robot(starts, steps):
    world = _copy(starts['stopped'])
    for dt, events, request, quiet, _ in steps:
        if request is Request.ARM:
            request = None
        world.now += dt
        messages = [_message(world, event) for event in events if event[0] != 'human']
        result = world.step(*messages, dt=0.0, request=request, quiet=quiet)
        assert result.published == ZERO
        assert result.state in (State.STOPPED, State.ESTOP)


@LOOSE
@given(velocity=SIX)
def test_driving_robot_obeys_limits_for_any_chunk(starts, velocity):
    world = _copy(starts['active'])
    world.chunking = False
    for _ in range(30):
        result = world.step(_message(world, ('chunk', velocity, 1, Status.RUNNING)))
        assert abs(result.published[0]) <= 0.6
        assert abs(result.published[5]) <= 1.2
        assert result.published[1:5] == (0.0,) * 4


@pytest.mark.parametrize('seed', range(3))
def test_same_inputs_give_the_same_commands(make_world, seed):
    random = np.random.default_rng(seed)
    draws = random.normal(0.0, 0.5, (300, 2)).tolist()
    runs = []
    for _ in range(2):
        world = make_world().armed()
        for draw in draws:
            world.velocity = tuple(draw)
            world.step()
        runs.append([result.published for result in world.results])
    assert runs[0] == runs[1]


def test_worlds_chunks_are_real_chunks(driving):
    """The tests above would prove nothing with chunks that no policy could send."""
    chunk = driving.chunk()
    assert isinstance(chunk, Chunk)
    assert chunk.chunk.data.shape == (8, 7)
    with pytest.raises(ActionRejected):
        replace(chunk.chunk, data=np.full((8, 7), math.nan))
