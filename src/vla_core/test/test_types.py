"""Values refuse what must never travel."""

import math

import numpy as np
import pytest

from vla_core.errors import ActionRejected, ConfigError, ObservationError
from vla_core.types import (
    ActionChunk,
    CameraSlot,
    Observation,
    PolicySpec,
    Prediction,
    Status,
)

CHUNK = {
    'stamp_ns': 5,
    'observation_stamp_ns': 5,
    'step_dt': 0.1,
    'sequence': 1,
    'names': ('linear.x', 'angular.z'),
    'units': ('m/s', 'rad/s'),
    'data': np.zeros((8, 2)),
    'status': Status.RUNNING,
    'policy_run': 1,
    'instruction_id': 1,
}
SPEC = {
    'model_id': 'test',
    'cameras': (CameraSlot('front', 16, 8, 'crop'),),
    'action_names': ('linear.x', 'angular.z'),
    'action_units': ('m/s', 'rad/s'),
    'action_scale': (1.0, 1.0),
    'horizon': 8,
    'step_dt': 0.1,
    'rate': 30.0,
}


def _bad_data(value: float) -> np.ndarray:
    data = np.zeros((8, 2))
    data[3, 1] = value
    return data


@pytest.mark.parametrize(
    'change',
    [
        {'data': np.zeros(16)},
        {'data': np.zeros((0, 2))},
        {'data': np.zeros((8, 3))},
        {'data': _bad_data(math.nan)},
        {'data': _bad_data(math.inf)},
        {'names': ('linear.x', 'linear.x')},
        {'units': ('m/s',)},
        {'step_dt': 0.0},
        {'step_dt': 5e-324},
        {'step_dt': 0.0009},
        {'step_dt': math.nan},
        {'step_dt': 10.1},
        {'inference_seconds': math.nan},
        {'inference_seconds': -0.001},
        {'inference_seconds': 60.1},
        {'inference_seconds': 1e308},
    ],
    ids=str,
)
def test_malformed_chunk_is_refused(change):
    """Each rule of a chunk has its own error."""
    with pytest.raises(ActionRejected):
        ActionChunk(**{**CHUNK, **change})


def test_chunk_tells_its_size():
    """Horizon and duration follow from the data."""
    chunk = ActionChunk(**CHUNK)
    assert chunk.horizon == 8
    assert chunk.duration == pytest.approx(0.8)


def test_rejection_names_step_and_axis():
    """A person can find the number that was wrong."""
    with pytest.raises(ActionRejected, match=r'data\[3, angular.z\] is nan'):
        ActionChunk(**{**CHUNK, 'data': _bad_data(math.nan)})


@pytest.mark.parametrize(
    'change',
    [
        {'action_units': ('m/s',)},
        {'action_names': ('linear.x', 'linear.x')},
        {'action_scale': (1.0, 0.0)},
        {'action_scale': (1.0, math.nan)},
        {'horizon': 0},
        {'step_dt': -0.1},
        {'rate': math.inf},
        {'max_inference': 0.0},
        {'max_observation_age': math.nan},
    ],
    ids=str,
)
def test_contradictory_spec_is_refused(change):
    """Each rule of a contract has its own error."""
    with pytest.raises(ConfigError, match='test'):
        PolicySpec(**{**SPEC, **change})


@pytest.mark.parametrize(
    'slot', [('', 16, 8, 'crop'), ('front', 4, 8, 'crop'), ('front', 16, 9000, 'crop')]
)
def test_impossible_slot_is_refused(slot):
    """A slot must be fillable."""
    with pytest.raises(ConfigError):
        CameraSlot(*slot)


def test_unknown_mode_is_refused():
    """A mismatch of modes must not pass as a default."""
    with pytest.raises(ConfigError, match='stretch, pad or crop'):
        CameraSlot('front', 16, 8, 'squash')


@pytest.mark.parametrize(
    ('image', 'state', 'names'),
    [
        (np.zeros((8, 16, 3), np.float32), np.zeros(0), ()),
        (np.zeros((8, 16), np.uint8), np.zeros(0), ()),
        (np.zeros((8, 16, 4), np.uint8), np.zeros(0), ()),
        (np.zeros((8, 16, 3), np.uint8), np.zeros(2), ('odom.v',)),
        (np.zeros((8, 16, 3), np.uint8), np.array([math.nan]), ('odom.v',)),
    ],
)
def test_malformed_observation_is_refused(image, state, names):
    """No policy sees a wrong dtype, shape or number."""
    with pytest.raises(ObservationError):
        Observation(images={'front': image}, stamp_ns=0, state=state, state_names=names)


@pytest.mark.parametrize(
    ('images', 'names'),
    [
        ({}, ('odom.v', 'odom.w')),
        ({'front': np.zeros((9, 16, 3), np.uint8)}, ('odom.v', 'odom.w')),
        ({'front': np.zeros((16, 8, 3), np.uint8)}, ('odom.v', 'odom.w')),
        ({'front': np.zeros((8, 16, 3), np.uint8)}, ()),
        ({'front': np.zeros((8, 16, 3), np.uint8)}, ('odom.v',)),
        ({'front': np.zeros((8, 16, 3), np.uint8)}, ('odom.w', 'odom.v')),
    ],
)
def test_observation_must_fit_the_contract(images, names):
    """A mismatch between camera and checkpoint is an error that names both."""
    observation = Observation(images, 0, np.zeros(len(names)), names)
    with pytest.raises(ObservationError):
        observation.check(PolicySpec(**SPEC, state_names=('odom.v', 'odom.w')))


@pytest.mark.parametrize(
    ('actions', 'done'),
    [
        (np.full((8, 2), math.nan), 0.0),
        (np.full((8, 2), math.inf), 0.0),
        (np.zeros(8), 0.0),
        (np.zeros((0, 2)), 0.0),
        (np.zeros((8, 2)), math.nan),
        (np.zeros((8, 2)), 1.5),
    ],
)
def test_malformed_prediction_is_refused(actions, done):
    """What is not finite never becomes a command."""
    with pytest.raises(ActionRejected):
        Prediction(actions, done)
