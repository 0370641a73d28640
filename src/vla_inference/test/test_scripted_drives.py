"""The scripted policy really drives: closed loop in the simulator, without ROS."""

from vla_core.preprocess import resize
from vla_core.scripted import ScriptedPolicy
from vla_core.types import Observation
from vla_sim.arena import Arena
from vla_sim.layout import sample_layout

SEEDS = range(500_000, 500_003)
PERIOD = 0.1
STEPS = 400


def drive(arena, layout):
    """Follow one instruction until it is done; return the gap to the named object in metres."""
    arena.reset(layout)
    policy = ScriptedPolicy()
    language = policy.encode(f'go to the {layout.objects[layout.target].name}')
    forward = policy.spec.action_names.index('linear.x')
    turn = policy.spec.action_names.index('angular.z')
    for step in range(STEPS):
        image = resize(arena.render(), policy.spec.cameras[0])
        prediction = policy.infer(Observation({'front': image}, step), language)
        if prediction.done > 0.5:
            break
        arena.command(prediction.actions[0, forward], prediction.actions[0, turn])
        arena.advance(PERIOD)
    return arena.gap(layout.target)


def test_reaches_the_named_object_in_most_layouts():
    arena = Arena()
    try:
        gaps = [drive(arena, sample_layout(seed)) for seed in SEEDS]
    finally:
        arena.close()
    assert sum(gap <= 0.35 for gap in gaps) >= 2, gaps
