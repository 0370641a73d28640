"""What `vla top` draws, without ROS."""

import math
from types import SimpleNamespace

from hypothesis import given, strategies
import pytest
from rich.console import Console

from vla_cli.graph_view import Arrivals, GraphView
from vla_core.gate.causes import Cause, State


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def drawn(view: GraphView, styles: bool = False) -> str:
    console = Console(width=140, record=True, file=open('/dev/null', 'w'))  # noqa: SIM115, PTH123
    console.print(view.render())
    return console.export_text(styles=styles)


def decision() -> SimpleNamespace:
    def twist(v: float, w: float) -> SimpleNamespace:
        return SimpleNamespace(linear=SimpleNamespace(x=v), angular=SimpleNamespace(z=w))

    return SimpleNamespace(
        wanted=twist(0.9, -1.5),
        allowed=twist(0.6, -1.2),
        published=twist(0.0, 0.0),
        heartbeat_age=0.02,
        chunk_age=math.nan,
        observation_age=0.1,
        odom_age=0.3,
    )


def heartbeat(**changes: object) -> SimpleNamespace:
    usual = {'node': 'camera', 'slot': 'front', 'state': 1, 'progress': 7}
    return SimpleNamespace(**usual, errors_total=3, detail='torn frame', **changes)


def test_what_was_never_heard_is_unknown(clock: Clock) -> None:
    text = drawn(GraphView('', clock))
    assert 'not heard' in text
    assert '0.00' not in text


def test_one_message_has_an_age_and_no_rate(clock: Clock) -> None:
    arrivals = Arrivals(clock)
    assert math.isnan(arrivals.age)
    arrivals.add('a')
    clock.now = 1.5
    assert arrivals.age == 1.5
    assert math.isnan(arrivals.rate)


@given(rate=strategies.floats(2.0, 50.0))
def test_a_steady_stream_has_its_rate(rate: float) -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    for number in range(20):
        clock.now = number / rate
        arrivals.add(number)
    assert arrivals.rate == pytest.approx(rate)


def test_a_rate_forgets_what_is_long_ago(clock: Clock) -> None:
    arrivals = Arrivals(clock)
    for moment in (0.0, 0.1, 0.2, 10.0):
        clock.now = moment
        arrivals.add(moment)
    assert math.isnan(arrivals.rate)


def test_a_node_that_fell_silent_is_said_to_be(clock: Clock) -> None:
    view = GraphView('', clock)
    view.on_heartbeat(heartbeat())
    assert 'WAITING' in drawn(view)
    clock.now = 0.6
    text = drawn(view)
    assert 'SILENT' in text
    assert 'camera/front' in text
    assert 'torn frame' in text


def test_the_gate_shows_state_causes_and_blockers(clock: Clock) -> None:
    view = GraphView('left', clock)
    view.state.add(
        SimpleNamespace(
            state=State.STOPPED,
            causes=[Cause.HEARTBEAT_LOST, Cause.NONE],
            since=4.0,
            blockers=['no policy [yet]'],
            warnings=['estop: none'],
        )
    )
    clock.now = 2.0
    text = drawn(view)
    assert 'gate left' in text
    assert 'STOPPED  6 s  HEARTBEAT_LOST' in text
    assert 'no policy [yet]' in text
    assert 'estop: none' in text


def test_a_gate_that_is_lost_is_shown_with_nothing_that_looks_live(clock: Clock) -> None:
    view = GraphView('', clock)
    view.state.add(
        SimpleNamespace(
            state=State.ACTIVE, causes=[], since=4.0, blockers=['unarmed'], warnings=['slow']
        )
    )
    view.decision.add(decision())
    green = '32m'
    assert green in drawn(view, styles=True)
    clock.now = 0.5
    assert '+0.90' in drawn(view)
    clock.now = 0.6
    text = drawn(view)
    assert 'ACTIVE  5 s' in text
    assert 'not heard for 0.6 s' in text
    for number in ('+0.90', '-1.50', '0.02', 'Hz'):
        assert number not in text.split('heartbeat Hz')[0]
    clock.now = 603.0
    text = drawn(view)
    assert 'not heard for 603 s (was ACTIVE)' in text
    assert 'unarmed' not in text
    assert 'slow' not in text
    assert green not in drawn(view, styles=True)


def test_velocities_show_what_was_wanted_and_what_went_out(clock: Clock) -> None:
    view = GraphView('', clock)
    view.decision.add(decision())
    text = drawn(view)
    for number in ('+0.90', '-1.50', '+0.60', '-1.20', '0.02', '?'):
        assert number in text
