"""Outside is found and said, inside is never, and noise toggles nothing."""

from dataclasses import replace
import math

from hypothesis import assume, given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.envelope import Envelope, FEATURES, features_of, Range
from vla_core.envelope_guard import ActionGuard, EnvelopeGuard, MARGIN, ObservationGuard
from vla_core.errors import ObservationError
from vla_core.policy import native_spec
from vla_core.types import ActionChunk, Observation, Representation, Status

#: Values in a row that are an alarm, and that end it.
RAISED, CLEARED = 7, 16


def range_of(low: float, high: float, std: float) -> Range:
    return Range((low + high) / 2, std, low, low, high, high, 100)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low, high = sorted((draw(st.floats(-1e3, 1e3)), draw(st.floats(-1e3, 1e3))))
    return range_of(low, high, draw(st.floats(0, 1)) * (high - low) / 2)


margins = st.floats(0, 10)
scales = st.floats(1e-3, 1e3)


def room_of(one: Range, margin: float, scale: float) -> float:
    return margin * max(one.std, 0.05 * scale)


def guard_of(one: Range, margin: float = MARGIN, scale: float = 1.0) -> EnvelopeGuard:
    return EnvelopeGuard('state', {'x': one}, margin, {'x': scale})


@given(
    one=ranges(),
    margin=margins,
    scale=scales,
    beyond=st.floats(1e-6, 1e9) | st.sampled_from([math.inf, math.nan]),
    above=st.booleans(),
)
def test_a_constant_value_outside_is_never_silent(one, margin, scale, beyond, above):
    room = room_of(one, margin, scale)
    limit = one.max + room if above else one.min - room
    value = limit + beyond if above else limit - beyond
    # So near that the two roundings may differ.
    assume(not abs(value - limit) <= 1e-9 * (abs(limit) + room))
    guard = guard_of(one, margin, scale)
    for _ in range(RAISED - 1):
        guard.record([value])
        assert guard.findings == ()
    for count in range(RAISED, 100):
        guard.record([value])
        (finding,) = guard.findings
        assert finding.path == 'envelope.state.x'
        assert finding.value == pytest.approx(value, nan_ok=True)
        assert finding.range == one
        if math.isfinite(value):
            assert finding.limit == pytest.approx(limit)
        assert guard.outside['x'][1] == count
    assert guard.outside['x'][0] > 0.99


@given(one=ranges(), margin=margins, scale=scales, shares=st.lists(st.floats(0, 1), max_size=200))
def test_values_drawn_inside_never_alarm(one, margin, scale, shares):
    guard = guard_of(one, margin, scale)
    for share in shares:
        value = one.min + share * (one.max - one.min)
        guard.record([min(max(value, one.min), one.max)])
        assert guard.findings == ()
    assert guard.outside == {'x': (0.0, 0)}


@given(one=ranges(), sign=st.sampled_from([-1, 1]), power=st.floats(1, 6))
def test_an_order_of_magnitude_is_always_found(one, sign, power):
    assume(one.largest > 1e-6)
    guard = guard_of(one, scale=one.largest)
    for _ in range(RAISED):
        guard.record([sign * one.largest * 10**power])
    assert len(guard.findings) == 1


@given(
    one=ranges(),
    place=st.floats(-2, 2),
    noise=st.lists(st.floats(-1, 1), min_size=300, max_size=300),
)
def test_noise_never_toggles_the_alarm(one, place, noise):
    # Half the room lies between where an alarm begins and where it ends; noise is less than that
    # from end to end.
    room = room_of(one, MARGIN, 1.0)
    guard = guard_of(one)
    centre = one.max + room * (1 + place)
    changes, before = 0, False
    for share in noise:
        guard.record([centre + 0.24 * room * share])
        now = bool(guard.findings)
        changes += now != before
        before = now
    assert changes <= 1


@given(one=ranges(), outside=st.integers(RAISED, 100))
def test_alarm_ends_well_inside_and_not_at_once(one, outside):
    guard = guard_of(one)
    for _ in range(outside):
        guard.record([one.max + 2 * room_of(one, MARGIN, 1.0)])
    for _ in range(CLEARED - 1):
        guard.record([one.mean])
        assert guard.findings
    for _ in range(RAISED):
        guard.record([one.mean])
    assert guard.findings == ()


@pytest.mark.parametrize('extremes', [(0.5, math.nan), (math.nan, 0.5)])
def test_nan_on_either_side_is_outside(extremes):
    guard = guard_of(range_of(0.0, 1.0, 0.1))
    guard.record(*([value] for value in extremes))
    assert guard.outside['x'][1] == 1


def test_one_of_three_outside_is_counted_and_no_alarm():
    guard = guard_of(range_of(0.0, 1.0, 0.1))
    for step in range(300):
        guard.record([5.0 if step % 3 == 0 else 0.5])
        assert guard.findings == ()
    share, count = guard.outside['x']
    assert share == pytest.approx(1 / 3, abs=0.1)
    assert count == 100


def test_a_steady_axis_may_tremble_as_a_network_does():
    guard = guard_of(range_of(0.0, 0.0, 0.0))
    for _ in range(100):
        guard.record([0.02])
    assert guard.outside == {'x': (0.0, 0)}
    for _ in range(RAISED):
        guard.record([0.03])
    assert len(guard.findings) == 1


def test_finding_says_axis_value_limit_training_and_where_to_look():
    guard = EnvelopeGuard('actions', {'linear.x': range_of(-0.3, 0.45, 0.2)})
    for _ in range(RAISED):
        guard.record([0.93])
    assert str(guard.findings[0]) == (
        'envelope.actions.linear.x is 0.93, limit 0.55: trained on -0.3 to 0.45 (envelope_margin)'
    )


def spec_of(**ranges_of: object):
    envelope = Envelope('100 pictures', **ranges_of)
    states = ('odom.v', 'joint')
    return replace(native_spec('small'), state_names=states, envelope=envelope)


def chunk_of(spec, forward: float, step: int = 0, **changes: object) -> ActionChunk:
    data = np.zeros((spec.horizon, len(spec.action_names)))
    data[step, 0] = forward
    values = {
        'stamp_ns': 1,
        'observation_stamp_ns': 1,
        'step_dt': 0.1,
        'sequence': 1,
        'names': spec.action_names,
        'units': spec.action_units,
        'data': data,
        'status': Status.RUNNING,
        'policy_run': 7,
        'instruction_id': 1,
        'model_id': spec.model_id,
        'model_sha256': spec.model_sha256,
    }
    return ActionChunk(**(values | changes))


ACTIONS = {'angular.z': range_of(-1.0, 1.0, 0.5), 'linear.x': range_of(-0.3, 0.45, 0.2)}


@pytest.mark.parametrize('step', [0, 3, 7])
@pytest.mark.parametrize('forward', [0.9, -0.9])
def test_every_step_of_a_chunk_counts_by_its_name(step, forward):
    spec = spec_of(actions=ACTIONS)
    guard = ActionGuard(spec)
    for _ in range(RAISED):
        guard.chunk(chunk_of(spec, forward, step))
    (finding,) = guard.findings
    assert finding.path == 'envelope.actions.linear.x'
    assert finding.value == forward
    assert guard.basis.startswith('small: 100 pictures, which had no linear.y, linear.z')


def test_zeros_are_a_stop_and_no_action():
    spec = spec_of(actions={'gripper': range_of(0.5, 0.5, 0.0)})
    guard = ActionGuard(spec)
    for _ in range(100):
        guard.chunk(chunk_of(spec, 0.0))
    assert guard.outside == {'gripper': (0.0, 0)}
    guard.chunk(chunk_of(spec, 0.2))
    assert guard.outside['gripper'][1] == 1


@pytest.mark.parametrize(
    'changes',
    [{'model_sha256': 'f' * 64}, {'names': tuple('abcdefg')}],
    ids=lambda changes: next(iter(changes)),
)
def test_chunks_of_another_model_are_not_judged_and_that_is_said(changes):
    spec = spec_of(actions=ACTIONS)
    guard = ActionGuard(spec)
    for _ in range(RAISED):
        guard.chunk(chunk_of(spec, 0.9, model_id='stranger', **changes))
    assert guard.findings == ()
    assert guard.basis == "chunks come from 'stranger': small was expected"
    guard.chunk(chunk_of(spec, 0.1))
    assert guard.basis.startswith('small: ')


@pytest.mark.parametrize('representation', list(Representation))
def test_what_the_policy_answered_is_judged_and_not_what_the_robot_made_of_it(representation):
    spec = replace(spec_of(actions=ACTIONS), representation=representation)
    guard = ActionGuard(spec)
    for _ in range(RAISED):
        answer = np.zeros((spec.horizon, len(spec.action_names)))
        answer[3, 0] = 0.9
        guard.chunk(chunk_of(spec, 0.1, predicted=answer))
    (finding,) = guard.findings
    assert finding.value == 0.9
    assert guard.basis.startswith('small: 100 pictures')
    # A failed frame says nothing else of what they are held against.
    guard.chunk(chunk_of(spec, 0.0))
    assert guard.basis.startswith('small: 100 pictures')
    assert guard.outside['linear.x'][1] == RAISED


def test_velocities_are_not_held_against_a_training_in_deltas():
    spec = replace(spec_of(actions=ACTIONS), representation=Representation.DELTA)
    guard = ActionGuard(spec)
    for _ in range(RAISED):
        guard.chunk(chunk_of(spec, 0.9))
    assert guard.findings == ()
    assert guard.basis == (
        'chunks are VELOCITY, the training of small was DELTA: they are not compared'
    )


def test_without_an_envelope_nothing_is_judged_and_that_is_said():
    spec = native_spec('hold')
    for guard in (ActionGuard(spec), ActionGuard(None)):
        for _ in range(100):
            guard.chunk(chunk_of(spec, 1e6))
        assert guard.findings == ()
        assert guard.outside == {}
    assert ActionGuard(spec).basis.startswith('hold has no training envelope')
    assert ActionGuard(None).basis.startswith('no checkpoint is named')
    guard = ObservationGuard(spec, max_speeds={'odom.w': 1.0})
    for _ in range(100):
        guard.record(Observation({'front': DARK}, 1), {'odom.v': 1e6, 'odom.w': 57.0})
    assert guard.findings == ()


DARK = np.full((96, 192, 3), 20, np.uint8)
GREY = np.full((96, 192, 3), 90, np.uint8)
PICTURES = {
    name: range_of(value, value, 0.02)
    for name, value in zip(FEATURES, features_of(GREY), strict=True)
}
STATE = {'joint': range_of(-1.5, 1.5, 0.5), 'odom.v': range_of(0.0, 0.4, 0.2)}


def observe(image: np.ndarray = GREY, speed: float = 0.2, joint: float = 0.1) -> Observation:
    return Observation({'front': image}, 1, np.array([speed, joint]), ('odom.v', 'joint'))


@pytest.mark.parametrize('pictures', [PICTURES, dict(reversed(PICTURES.items()))])
def test_pictures_and_states_like_those_of_the_training_are_fine(pictures):
    guard = ObservationGuard(spec_of(state=STATE, images={'front': pictures}))
    for _ in range(100):
        guard.record(observe(), {})
    assert guard.findings == ()


def test_dark_picture_is_outside_of_the_training():
    guard = ObservationGuard(spec_of(images={'front': PICTURES}))
    for _ in range(RAISED):
        guard.record(observe(DARK), {})
    (finding,) = guard.findings
    assert finding.path == 'envelope.images.front.luminance'
    assert finding.value == pytest.approx(20 / 255)
    for _ in range(100):
        guard.record(observe(), {})
    assert guard.findings == ()


def test_state_is_judged_by_its_names():
    guard = ObservationGuard(spec_of(state=STATE))
    for _ in range(RAISED):
        guard.record(observe(joint=5.0), {})
    assert [finding.path for finding in guard.findings] == ['envelope.state.joint']


@pytest.mark.parametrize(
    ('speed', 'joint', 'message'),
    [
        (0.1, 57.3, r'joint is 57\.3: degrees or millimetres .*Expected -1\.5 to 1\.5 .*state\.j'),
        (0.1, 1200.0, r'joint is 1200: millimetres'),
        (0.1, -80.0, r'joint is -80: degrees'),
        (350.0, 0.1, r'odom\.v is 350: millimetres per second instead of m/s\? Expected -0\.4'),
    ],
)
def test_another_unit_is_refused_on_the_first_tick_with_the_hint(speed, joint, message):
    guard = ObservationGuard(spec_of(state=STATE))
    with pytest.raises(ObservationError, match=message):
        guard.record(observe(speed=speed, joint=joint), {})
    guard.record(observe(), {})


def test_odometry_is_held_against_the_trained_speeds_if_it_is_no_input():
    spec = replace(native_spec('small'), envelope=Envelope('', actions=ACTIONS))
    guard = ObservationGuard(spec)
    seen = Observation({'front': GREY}, 1)
    guard.record(seen, {'odom.v': 3.0, 'odom.w': 19.0})
    with pytest.raises(ObservationError, match=r'odom\.w is 40: degrees per second .*robot file'):
        guard.record(seen, {'odom.v': 0.2, 'odom.w': 40.0})
    with pytest.raises(ObservationError, match=r'odom\.v is -200: millimetres per second'):
        guard.record(seen, {'odom.v': -200.0, 'odom.w': 0.0})


def test_a_robot_that_is_faster_than_its_policy_makes_no_mistake_of_units():
    slow = {'angular.z': range_of(-0.01, 0.01, 0.001)}
    spec = replace(native_spec('small'), envelope=Envelope('', actions=slow))
    seen = Observation({'front': GREY}, 1)
    with pytest.raises(ObservationError, match='degrees'):
        ObservationGuard(spec).record(seen, {'odom.w': 0.5})
    ObservationGuard(spec, max_speeds={'odom.w': 1.8}).record(seen, {'odom.w': 0.5})


def test_what_is_no_velocity_says_nothing_about_odometry():
    delta = type(native_spec('x').representation).DELTA
    spec = replace(
        native_spec('arm'), representation=delta, envelope=Envelope('', actions=ACTIONS)
    )
    ObservationGuard(spec).record(Observation({'front': GREY}, 1), {'odom.w': 50.0})
