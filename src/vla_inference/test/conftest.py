"""Policies that do as a test says, and a private context on a domain of its own."""

from collections.abc import Iterator
import threading

import numpy as np
import pytest
import rclpy
from rclpy.context import Context

from vla_core.envelope import Envelope, FEATURES, features_of, Range
from vla_core.policy import native_spec
from vla_core.types import Intent, Language, Prediction
from vla_ros.domains import process_domain

DOMAIN = process_domain()


class FakePolicy:
    """Drives forward at half speed; a test may change everything about it."""

    def __init__(self, spec=None):
        self.spec = spec or native_spec('fake')
        self.encoded = []
        self.seen = []
        self.threads = set()
        self.closed = False
        self.done = 0.0
        self.action = 0.5
        #: What the next calls of `infer` raise or return; None: the usual.
        self.next = []
        self.hang = threading.Event()
        self.hang.set()

    def encode(self, text):
        self.threads.add(threading.current_thread())
        self.encoded.append(text)
        if text.startswith('fail'):
            raise ValueError('cannot read this')
        intent = {'no': Intent.REFUSED, 'mo': Intent.MOTION}.get(text[:2], Intent.GOAL)
        return Language(text, intent, text)

    def infer(self, observation, language):
        self.threads.add(threading.current_thread())
        observation.check(self.spec)
        self.seen.append((observation, language))
        assert self.hang.wait(30.0)
        special = self.next.pop(0) if self.next else None
        if isinstance(special, Exception):
            raise special
        if special is not None:
            return special
        actions = np.zeros((self.spec.horizon, len(self.spec.action_names)))
        actions[:, 0] = self.action
        return Prediction(actions, self.done)

    def close(self):
        self.closed = True


def range_of(low, high):
    """What a quantity that went from `low` to `high` in training was like."""
    return Range((low + high) / 2, 0.02, low, low, high, high, 100)


@pytest.fixture
def trained_on():
    """Make an envelope of pictures as grey as asked, and of these speeds."""

    def make(grey, forward=0.5, turn=1.0, state=()):
        seen = features_of(np.full((96, 192, 3), grey, np.uint8))
        return Envelope(
            '100 pictures',
            actions={
                'linear.x': range_of(-forward, forward),
                'angular.z': range_of(-turn, turn),
            },
            state={name: range_of(0.0, 0.4) for name in state},
            images={'front': {n: range_of(x, x) for n, x in zip(FEATURES, seen, strict=True)}},
        )

    return make


@pytest.fixture
def fake():
    policy = FakePolicy()
    yield policy
    policy.hang.set()


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """Yield an initialised context that hears nobody outside this machine."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(DOMAIN))
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    yield context
    rclpy.try_shutdown(context=context)
