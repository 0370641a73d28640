"""`vla-learn choose`: the tasks of `make evaluate`, and who is counted."""

from itertools import islice

import numpy as np
import pytest

pytest.importorskip('tqdm', reason='comes with the train extra')

from vla_core.policy import native_spec
from vla_core.types import Intent, Language, NATIVE_AXES, Prediction
from vla_learning.evaluation.tasks import GO_TO, MOTION, RELATIONS, SWAPPED, task
from vla_learning.sim import choosing, closed_loop
from vla_learning.sim.posing import obstructed
from vla_learning.sim.relations import RELATION_KINDS
from vla_learning.sim.wording import HELD_OUT_STOP_TEMPLATES, STOP_TEMPLATES
from vla_sim.arena import Arena
from vla_sim.expert import Expert

SEED = 500_000


class Deaf:
    """Drives to the layout's own target, whatever is said, and parks there without a word."""

    def __init__(self):
        self.spec = native_spec('deaf')
        self.arena = None

    def encode(self, text):
        return Language(text, Intent.GOAL)

    def ablate(self, language):
        return language

    def infer(self, observation, language):
        layout = self.arena.layout
        command = Expert(layout).act(self.arena.pose, layout.target)[:2]
        actions = np.zeros((8, len(NATIVE_AXES)), np.float32)
        for name, value in zip(('linear.x', 'angular.z'), command, strict=True):
            axis = NATIVE_AXES.index(name)
            actions[:, axis] = value / self.spec.action_scale[axis]
        return Prediction(actions, done=0.0)


@pytest.fixture
def deaf(monkeypatch):
    """A policy that looks at nothing: nothing has to be rendered for it."""
    policy = Deaf()

    class Dark(Arena):
        def __init__(self):
            super().__init__()
            policy.arena = self

        def render(self):
            return np.zeros((480, 640, 3), np.uint8)

    monkeypatch.setattr(closed_loop, 'Arena', Dark)
    return policy


def test_a_deaf_policy_is_caught_though_it_never_says_that_it_is_done(deaf):
    found = choosing.choose(deaf, [SWAPPED], SEED, 1)
    assert found[SWAPPED] == (1, 1)
    assert found[f'{SWAPPED}: never done'] == (1, 1)
    assert choosing.choose(deaf, [GO_TO], SEED, 1, blind=True)[GO_TO] == (1, 1)


def test_who_rests_at_another_object_is_counted_done_or_not(deaf):
    driver = closed_loop.Driver(deaf)
    asked = task(SWAPPED, SEED, 0)
    ending = driver.goal(asked.layout, asked.text, limit=30.0)
    driver.close()
    assert (ending.at_rest, ending.finished) == (True, False)
    assert not ending.reached(asked.target)
    other = (asked.target + 1) % len(asked.layout.objects)
    assert ending.elsewhere(other)
    assert not ending.elsewhere(asked.target)


def test_tasks_are_those_of_the_evaluation():
    for category in (GO_TO, SWAPPED):
        found = islice(choosing.CATEGORIES[category](SEED), 20)
        assert list(found) == [task(category, SEED, number) for number in range(20)]
    kinds = [choosing.CATEGORIES[kind](SEED) for kind in RELATION_KINDS]
    found = [next(kind) for _ in range(2) for kind in kinds]
    assert found == [task(RELATIONS, SEED, number) for number in range(len(found))]


def test_motions_begin_where_those_of_the_evaluation_do(monkeypatch):
    class Driver:
        blind, asked = False, []

        def __init__(self, policy, blind):
            pass

        def motion(self, layout, text, start):
            self.asked.append((layout.seed, text, start))
            return 0.0, 0.0, 0.0

        def close(self):
            pass

    monkeypatch.setattr(choosing, 'Driver', Driver)
    assert choosing.choose(None, [MOTION], SEED, 5) == {MOTION: (0, 5)}
    tasks = [task(MOTION, SEED, number) for number in range(5)]
    assert Driver.asked == [(one.seed, one.text, one.start) for one in tasks]


def test_a_motion_starts_where_it_is_told(deaf):
    driver, start = closed_loop.Driver(deaf), (0.0, 0.0, 1.0)
    poses = []
    deaf.infer = lambda *asked: poses.append(deaf.arena.pose) or Prediction(np.zeros((8, 7)), 0.0)
    driver.motion(task(MOTION, SEED, 0).layout, 'x', start)
    driver.close()
    assert poses[0] == pytest.approx(start)


def test_a_turn_of_more_than_half_a_circle_is_one(deaf):
    driver, actions = closed_loop.Driver(deaf), np.zeros((8, 7), np.float32)
    axis = NATIVE_AXES.index('angular.z')
    actions[:, axis] = 1.2 / deaf.spec.action_scale[axis]
    deaf.infer = lambda *asked: Prediction(actions, 0.0)
    asked = task(MOTION, SEED, 0)
    _, drift, turn = driver.motion(asked.layout, 'x', asked.start)
    driver.close()
    assert np.pi < turn < 3.6
    assert drift < 0.1


def test_stops_and_obstacles_ask_for_the_target():
    said = list(islice(choosing.CATEGORIES['stop'](SEED), 10))
    plain = [task(GO_TO, SEED, number) for number in range(10)]
    assert [(one.seed, one.target) for one in said] == [(one.seed, one.target) for one in plain]
    templates = {False: STOP_TEMPLATES, True: HELD_OUT_STOP_TEMPLATES}
    for number, one in enumerate(said):
        assert one.held_out is (number % 2 == 1)
        begins = tuple(text.partition('{')[0] for text in templates[one.held_out])
        assert one.text.startswith(begins)
    for one in islice(choosing.CATEGORIES['obstacles'](SEED), 3):
        assert obstructed(one.layout)
        assert one == task(GO_TO, SEED, one.seed - SEED)
