"""The walk of a newcomer, live: idle, move, stop, find, die, and drive again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from vla_cli.live import live_graph, LiveGraph
from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_ros.files import robot_path

# A red box 1.5 m away, in view.
SEED = 500115


def unarmed(folder: Path) -> str:
    """Write a robot file like the simulator's that a person has to arm."""
    robot = yaml.safe_load(robot_path('sim').read_text())
    robot['self_arm'] = False
    assert robot['estop'] == 'none'
    file = folder / 'unarmed.yaml'
    file.write_text(yaml.safe_dump(robot))
    return str(file)


def fate(live: LiveGraph, instruction: int) -> Fate:
    return Fate(live.records[instruction].status)


def walk(live: LiveGraph, idle: float) -> None:
    """From an armed robot that idles to one that drives after its policy died."""
    live.forget()
    live.spin(idle)
    assert {decision.state for decision in live.decisions} == {State.ACTIVE}

    live.say('move forward')
    live.until(lambda: live.decision.published.linear.x > 0.2, 'it moves')
    live.say('stop')
    live.until(lambda: live.decision.published.linear.x == 0.0, 'it stops')
    assert live.decision.state == State.ACTIVE

    going = live.say('go to the red box')
    live.until(lambda: fate(live, going) is not Fate.RUNNING, 'the end of the drive')
    assert fate(live, going) is Fate.DONE, live.records[going].reason
    live.spin(1.0)
    assert live.decision.state == State.ACTIVE

    live.say('turn left')
    live.until(lambda: live.decision.published.angular.z > 0.3, 'it turns')
    live.process('policy').kill()
    live.until(lambda: live.decision.state == State.STOPPED, 'gate STOPPED')
    live.forget()
    live.until(lambda: bool(live.state.ready_to_arm), 'a new policy')
    assert not any(decision.published.angular.z for decision in live.decisions)
    live.arm()
    live.say('turn right')
    live.until(lambda: live.decision.published.angular.z < -0.3, 'it turns again')


@pytest.mark.parametrize('idle', [3.0, pytest.param(60.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ('robot', 'arms_itself'),
    [
        # That one is driven by most of the other tests here.
        pytest.param(lambda _: 'sim', True, id='sim', marks=pytest.mark.slow),
        pytest.param(unarmed, False, id='unarmed'),
    ],
)
def test_walk(robot: Callable[[Path], str], arms_itself: bool, idle: float, tmp_path: Path):
    parameters = {'sim': {'seed': SEED, 'frame_rate': 15.0}}
    arguments = {'robot': robot(tmp_path), 'sim': 'true', 'policy': 'scripted'}
    with live_graph(tmp_path / 'graph.log', arguments, parameters) as live:
        if not arms_itself:
            live.until(lambda: bool(live.state.ready_to_arm), 'ready to arm')
            live.spin(2.0)
            assert live.decision.state == State.STOPPED
            live.arm()
        live.until_active()
        walk(live, idle)
