"""What `vla top` draws, without ROS."""

import math
from types import SimpleNamespace

from hypothesis import given, strategies
import pytest
from rich.console import Console

from vla_cli.graph_view import Arrivals, GraphView
from vla_core.gate.causes import Cause, State
from vla_core.robot import AXES, AXIS_UNITS


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def drawn(view: GraphView, styles: bool = False, room: int | None = None) -> str:
    console = Console(width=140, record=True, file=open('/dev/null', 'w'))  # noqa: SIM115, PTH123
    console.print(view.render(room))
    return console.export_text(styles=styles)


def decision() -> SimpleNamespace:
    def twist(v: float, w: float) -> SimpleNamespace:
        return SimpleNamespace(
            linear=SimpleNamespace(x=v, y=0.0, z=0.0), angular=SimpleNamespace(x=0.0, y=0.0, z=w)
        )

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
    usual = {'node': 'camera', 'slot': 'front', 'state': 1, 'progress': 7, 'errors_total': 3}
    return SimpleNamespace(**usual | {'detail': 'torn frame'} | changes)


def gate(**changes: object) -> SimpleNamespace:
    usual = {'state': State.ACTIVE, 'causes': [], 'since': 0.0, 'blockers': [], 'warnings': []}
    return SimpleNamespace(**usual | changes)


def health(*alarms: str) -> SimpleNamespace:
    hop = SimpleNamespace(name='inference', rate=30.0, p50=0.003, p95=0.004, p99=0.005, max=0.006)
    return SimpleNamespace(hops=[hop] * 5, alarms=list(alarms))


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


def test_rate_falls_while_nothing_comes(clock: Clock) -> None:
    arrivals = Arrivals(clock)
    for moment in (0.0, 0.1, 0.2):
        clock.now = moment
        arrivals.add(moment)
    assert arrivals.rate == pytest.approx(10.0)
    clock.now = 1.5
    assert arrivals.rate == pytest.approx(2.0)


@pytest.mark.parametrize('axis', range(6))
def test_every_axis_that_is_not_zero_is_shown(clock: Clock, axis: int) -> None:
    view = GraphView('', clock)
    moved = decision()
    part, name = (moved.published.linear, moved.published.angular)[axis // 3], 'xyz'[axis % 3]
    setattr(part, name, 0.77)
    view.decision.add(moved)
    text = drawn(view)
    assert '+0.77' in text
    assert f'{AXES[axis]} {AXIS_UNITS[axis]}' in text


def test_alarms_stand_below_the_gate_and_what_has_no_room_is_counted(clock: Clock) -> None:
    view = GraphView('', clock)
    view.state.add(gate(blockers=['cause ESTOP_INPUT'] * 4))
    view.health.add(health('policy: last heard 3.20 s ago'))
    view.decision.add(decision())
    for number in range(8):
        view.on_heartbeat(heartbeat(node=f'node{number}', slot=''))
    whole = drawn(view).splitlines()
    assert whole[5].startswith('policy: last heard')
    short = drawn(view, room=24).splitlines()
    assert short[:23] == whole[:23]
    assert short[23:] == [f'… {len(whole) - 23} more']
    assert drawn(view, room=len(whole)).splitlines() == whole


EVIL = '[/x]\x1b]0;PWNED\x07\x1b[2J\r\n\u202e'


def test_what_others_write_is_no_markup_and_controls_no_terminal(clock: Clock) -> None:
    view = GraphView('', clock)
    view.state.add(gate(blockers=[EVIL], warnings=[EVIL]))
    view.instruction.add(SimpleNamespace(text=EVIL, status=1, reason=EVIL))
    view.health.add(health(EVIL))
    view.health.message.hops[0].name = EVIL
    view.on_heartbeat(heartbeat(node=EVIL, detail=EVIL))
    text = drawn(view)
    assert text.count('[/x]') == 7 + 5
    assert all(line.isprintable() for line in text.splitlines())
    view.on_heartbeat(heartbeat(node='n' * 1_000_000, detail='d' * 1_000_000))
    assert len(drawn(view)) < 20_000


def test_numbers_that_nobody_knows_are_shown_as_numbers(clock: Clock) -> None:
    view = GraphView('', clock)
    view.state.add(gate(state=99, causes=[250]))
    view.instruction.add(SimpleNamespace(text='go', status=77, reason=''))
    view.on_heartbeat(heartbeat(state=55))
    text = drawn(view)
    for number in ('State 99', 'Cause 250', 'Fate 77', '55'):
        assert number in text


def test_a_monitor_that_is_lost_is_shown_with_nothing_that_looks_live(clock: Clock) -> None:
    view = GraphView('', clock)
    view.health.add(health('policy: last heard 3.20 s ago'))
    assert 'inference' in drawn(view)
    clock.now = 60.0
    text = drawn(view)
    assert 'monitor not heard for 60 s' in text
    assert 'policy' not in text
    assert 'inference' not in text
