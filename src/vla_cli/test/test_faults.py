"""What `vla faults` asks for, how it judges, and that each fault is one."""

import array
from contextlib import contextmanager, nullcontext
from dataclasses import replace
import itertools
import json
import math
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from rich.console import Console
from sensor_msgs.msg import Image
import yaml

from vla_cli.faults import policy, running, spoiling
from vla_cli.faults.catalogue import chosen, FAULTS, NAMES
from vla_cli.faults.expectation import (
    Expected,
    GOES_ON,
    GROSS,
    Kind,
    limited,
    stops,
    TOO_FAST,
    UNHARMED,
)
from vla_cli.faults.injectors import INJECTORS
from vla_cli.faults.judging import judge, Record, Sample
from vla_cli.faults.report import Result, row, show, summary, write
from vla_cli.faults.robot_file import prepare
from vla_cli.faults.running import by_spans, by_stamps
from vla_cli.graph import GraphError
from vla_cli.main import main
from vla_cli.reaction import react, travelled
from vla_core.errors import ActionRejected, ConfigError, ObservationError
from vla_core.gate.causes import Cause, State
from vla_core.gate.chunks import check
from vla_core.gate.limits import Limits, ZERO
from vla_core.image import decode_raw, exposure_fault
from vla_core.policy import create_policy, native_spec
from vla_core.robot import load_robot, RobotConfig
from vla_core.types import Observation
from vla_interfaces.msg import ActionChunk, Decision
from vla_ros.conversion import chunk_from_msg, to_ns, to_time
from vla_ros.files import robot_path

SPEED = 0.3
STEP = 0.02
HEARTBEAT = stops(0.2, Cause.HEARTBEAT_LOST)
LATCHED = stops(0.0, Cause.ERRORS_IN_ROW, latched=True)


@pytest.fixture(scope='module')
def robot() -> RobotConfig:
    return load_robot(robot_path('sim'))


@pytest.fixture(scope='module')
def limits(robot) -> Limits:
    return Limits.of(robot)


def samples(*parts: tuple[int, float, State, Cause], began: float = -0.01) -> list[Sample]:
    """Return steps of the gate: (how many, change of speed per step, state, cause) in turn."""
    found, speed = [], SPEED
    for count, change, state, cause in parts:
        for _ in range(count):
            speed = max(0.0, speed + change)
            velocity = (speed, *ZERO[1:]) if state is not State.ESTOP else ZERO
            number = len(found)
            causes = frozenset({cause} - {Cause.NONE})
            found.append(
                Sample(began + STEP * number, number, STEP, state, cause, causes, velocity)
            )
    return found


def complaints(record: list[Sample], expected: Expected, limits: Limits, **more) -> str:
    return '; '.join(judge(Record(SPEED, record, **more), expected, limits).complaints)


DRIVING = (10, 0.0, State.ACTIVE, Cause.NONE)
BRAKING = (20, -0.02, State.CONTROLLED_STOP, Cause.HEARTBEAT_LOST)
STANDING = (30, 0.0, State.STOPPED, Cause.HEARTBEAT_LOST)


# -- reactions --------------------------------------------------------------------------------


def test_reaction_is_the_first_clearly_smaller_speed_and_the_first_zero():
    points = [(-0.1, 0.0), (0.1, 0.3), (0.2, 0.29), (0.3, 0.27), (0.4, 0.0), (0.5, 0.3)]
    found = react(points, SPEED)
    assert (found.start, found.zero) == (0.3, 0.4)


def test_who_goes_on_has_no_reaction():
    found = react([(0.1, 0.3), (0.2, 0.3)], SPEED)
    assert (found.start, found.zero) == (math.inf, math.inf)


def test_path_is_what_was_driven_after_the_fault():
    points = [(-0.1, 0.4), (0.0, 0.4), (0.5, 0.4), (1.0, 0.0)]
    assert travelled(points, 0.4) == pytest.approx(0.2 + 0.1)
    assert travelled([], 0.4) == 0.0


def test_stop_before_the_first_odometry_has_its_way_too():
    assert travelled([(-0.002, 0.26), (0.018, 0.0)], 0.26) == pytest.approx(0.26 * 0.018 / 2)


# -- judging ----------------------------------------------------------------------------------


def test_stop_in_time_is_met_and_measured(limits):
    outcome = judge(Record(SPEED, samples(DRIVING, BRAKING, STANDING)), HEARTBEAT, limits)
    assert outcome.complaints == ()
    assert outcome.reaction.start == pytest.approx(0.21)
    assert outcome.reaction.zero == pytest.approx(0.47)
    assert outcome.measured_by == 'command'
    assert outcome.distance == pytest.approx(0.3 * 0.19 + 0.3 * 0.28 / 2, abs=0.01)
    assert (outcome.state, outcome.cause) == (State.STOPPED, Cause.HEARTBEAT_LOST)
    assert outcome.rested


def test_distance_is_that_of_the_base_while_it_says_where_it_is(limits):
    record = samples(DRIVING, BRAKING, STANDING)
    odometry = [(sample.at + 0.1, sample.velocity[0]) for sample in record]
    early = [(at, speed) for at, speed in odometry if at < 0.2]
    whole = judge(Record(SPEED, record, [(0.0, SPEED), *odometry]), HEARTBEAT, limits)
    torn = judge(Record(SPEED, record, [(0.0, SPEED), *early]), HEARTBEAT, limits)
    assert (whole.measured_by, torn.measured_by) == ('odom', 'command')
    assert whole.distance == pytest.approx(torn.distance + 0.1 * SPEED, abs=0.01)


LIMITS = Limits.of(load_robot(robot_path('sim')))
RECORD = Record(SPEED, samples(DRIVING, BRAKING, STANDING))
LATE = (20, 0.0, State.ACTIVE, Cause.NONE)
AGAIN = (5, 0.01, State.ACTIVE, Cause.NONE)


@pytest.mark.parametrize(
    ('parts', 'words'),
    [
        ((LATE, BRAKING, STANDING), 'slower after 0.41 s: expected 0.30 s'),
        ((LATE, BRAKING, STANDING), 'zero after 0.67 s: expected 0.60 s'),
        ((LATE, LATE), 'slower after never'),
        ((DRIVING, BRAKING, STANDING, AGAIN), 'moved again before anybody armed'),
        ((DRIVING, BRAKING, STANDING, AGAIN), 'ends in ACTIVE: expected STOPPED'),
        (
            (DRIVING, (20, -0.02, State.STOPPED, Cause.ODOM_LOST)),
            'causes ODOM_LOST: expected HEARTBEAT_LOST',
        ),
    ],
)
def test_what_is_wrong_with_a_stop_is_named(parts, words, limits):
    assert words in complaints(samples(*parts), HEARTBEAT, limits)


def test_latched_stop_is_exact_zero(limits):
    latched = (20, 0.0, State.ESTOP, Cause.ERRORS_IN_ROW)
    record = samples((3, 0.0, State.ACTIVE, Cause.NONE), latched)
    assert complaints(record, LATCHED, limits) == ''
    record[-1] = replace(record[-1], velocity=(0.01, *ZERO[1:]))
    assert 'in ESTOP: expected zero' in complaints(record, LATCHED, limits)


def test_hold_that_ends_by_itself_is_no_stop(limits):
    held = (5, -0.01, State.HOLD, Cause.HEARTBEAT_LATE)
    record = samples(DRIVING, held, (10, 0.005, State.ACTIVE, Cause.NONE))
    assert complaints(record, GOES_ON, limits) == ''
    assert 'CONTROLLED_STOP for HEARTBEAT_LOST' in complaints(
        samples(DRIVING, BRAKING), GOES_ON, limits
    )
    assert '0.25 m/s at the end: expected 0.30' in complaints(
        samples(DRIVING, held), GOES_ON, limits
    )


def test_robot_that_is_asked_for_too_much_does_what_it_can(limits):
    faster = samples((29, 0.01, State.ACTIVE, Cause.NONE))
    assert complaints(faster, limited(TOO_FAST), limits) == ''
    for idle in (samples((30, 0.0, State.ACTIVE, Cause.NONE)), samples((30, -0.01, *DRIVING[2:]))):
        assert 'at the end: expected (0.6' in complaints(idle, limited(TOO_FAST), limits)


def test_dt_that_is_not_true_is_named(limits):
    """By such a dt any change of speed would be within the limits."""
    lying = [replace(one, dt=3 * STEP) for one in samples(DRIVING, BRAKING, STANDING)]
    assert 'dt runs ahead of the stamps by 0.' in complaints(lying, HEARTBEAT, limits)


def test_gate_that_hung_may_say_nothing_but_zero(limits):
    record = samples(DRIVING, began=-1.0)
    hung = replace(record[-1], at=0.0, tick=10, dt=0.8, state=State.CONTROLLED_STOP, velocity=ZERO)
    words = 'in CONTROLLED_STOP: expected zero'
    assert words not in complaints([*record, hung], UNHARMED, limits)
    hung = replace(hung, velocity=(SPEED, *ZERO[1:]))
    assert words in complaints([*record, hung], UNHARMED, limits)


def test_robot_speeds_up_no_faster_than_its_file_says_and_brakes_at_once(robot):
    limits = replace(Limits.of(robot), accel=(0.5,) * 6, decel=(1.0,) * 6)
    slow = samples((3, 0.0, *DRIVING[2:]), (5, -0.02, *DRIVING[2:]), (5, 0.01, *DRIVING[2:]))
    fast = samples((3, 0.0, *DRIVING[2:]), (5, 0.011, *DRIVING[2:]))
    assert complaints(slow, UNHARMED, limits) == ''
    assert 'acceleration within (0.5' in complaints(fast, UNHARMED, limits)


def test_movement_in_estop_is_found_behind_a_decision_that_was_lost(limits):
    lost = samples((2, 0.0, *DRIVING[2:]), (3, 0.0, State.ESTOP, Cause.ESTOP_INPUT))
    lost[3] = replace(lost[3], velocity=(0.2, *ZERO[1:]))
    button = stops(0.0, Cause.ESTOP_INPUT, latched=True, brakes=False)
    assert 'in ESTOP: expected zero' in complaints([*lost[:2], lost[3]], button, limits)


@pytest.mark.parametrize('expected', [GOES_ON, limited(TOO_FAST), UNHARMED, HEARTBEAT])
def test_no_reaction_excuses_a_command_beyond_the_limits(expected, limits):
    record = samples(DRIVING, BRAKING, STANDING)
    fast, torn, sideways, lost = (
        (0.7, *ZERO[1:]),
        (0.4, *ZERO[1:]),
        (0.3, 0.1, *ZERO[2:]),
        (math.nan, *ZERO[1:]),
    )
    for velocity in (fast, torn, sideways, lost):
        spoiled = [*record]
        spoiled[5] = replace(spoiled[5], velocity=velocity)
        assert 'published' in complaints(spoiled, expected, limits), velocity


def test_silence_in_which_a_base_would_stop_is_named(limits):
    record = samples(DRIVING, BRAKING, STANDING)
    late = [replace(sample, at=sample.at + 0.6 * (sample.at > 1.0)) for sample in record]
    assert 'silent for 0.62 s' in complaints(late, HEARTBEAT, limits)


def test_gate_that_dies_is_judged_by_the_base(limits):
    gone = Expected(Kind.BASE_STOPS, 0.6)
    record = samples((1, 0.0, State.ACTIVE, Cause.NONE))
    stood = [(STEP * n, SPEED if n < 26 else 0.0) for n in range(50)]
    outcome = judge(Record(SPEED, record, stood), gone, limits)
    assert outcome.complaints == ()
    assert outcome.state is None
    assert outcome.reaction.zero == pytest.approx(0.52)
    rolled = [(STEP * n, SPEED) for n in range(50)]
    assert 'zero after never' in complaints(record, gone, limits, odometry=rolled)


def test_what_an_injector_found_is_a_complaint(limits):
    record = samples(DRIVING, BRAKING, STANDING)
    assert complaints(record, HEARTBEAT, limits, trouble=('monitor died',)) == 'monitor died'


@pytest.mark.parametrize(('by', 'times'), [(by_stamps, [1.0, 2.0]), (by_spans, [0.0, 0.02])])
def test_steps_are_timed_by_stamp_or_where_the_clock_is_wrong_by_span(by, times):
    decisions = [Decision(tick=n, dt=0.02) for n in (7, 8)]
    for second, decision in enumerate(decisions, start=5):
        decision.header.stamp.sec = second
    assert list(by(decisions, 4_000_000_000)) == times


def test_a_lost_step_spoils_the_sum_of_the_spans():
    with pytest.raises(GraphError, match='1 decisions were lost'):
        list(by_spans([Decision(tick=7), Decision(tick=9)], 0))


# -- catalogue --------------------------------------------------------------------------------


class Broken:
    """A stage whose graph fails at one point of a repetition, at its first start or at all."""

    def __init__(self, monkeypatch, point: str, always: bool = False) -> None:
        self.error: Exception = GraphError(f'no {point}')
        self.starts, self.points = 0, []
        self._point, self._always = point, always
        self.gate, self.pauses = '', SimpleNamespace(between=lambda *_: [])
        self.decisions = [Decision(tick=1), Decision(tick=2)]
        self.live = SimpleNamespace(
            decision=self.decisions[0],
            decisions=self.decisions,
            forget=lambda: None,
            spin=lambda _: self.reach('watch' if 'break' in self.points else 'drain'),
            graph=SimpleNamespace(check=lambda: self.reach('check')),
        )
        monkeypatch.setattr(running, 'Stage', lambda *_: self)
        monkeypatch.setattr(running, 'Pauses', nullcontext)
        monkeypatch.setattr(running, 'drive', lambda *_: self.reach('drive') or SPEED)
        monkeypatch.setattr(running, '_rest', lambda _: self.reach('rest'))
        monkeypatch.setitem(running.INJECTORS, 'policy-kill', self.broken)
        monkeypatch.setattr(running, 'judge', lambda *_: judge(RECORD, HEARTBEAT, LIMITS))

    def scene(self, _) -> SimpleNamespace:
        self.starts += 1
        self.points = []
        self.reach('start')
        return SimpleNamespace(
            live=self.live,
            intruder=SimpleNamespace(forget=lambda: None, track=[]),
            relay=SimpleNamespace(frame_rate=lambda: 30.0),
            robot=load_robot(robot_path('sim')),
            limits=LIMITS,
            trouble=[],
        )

    @contextmanager
    def broken(self, _):
        self.reach('break')
        yield 0
        self.reach('mend')

    def close(self) -> None:
        pass

    def reach(self, point: str) -> None:
        self.points.append(point)
        if point == self._point and (self._always or self.starts == 1):
            raise self.error

    def play(self, tmp_path: Path) -> Result:
        fault = next(fault for fault in FAULTS if fault.name == 'policy-kill')
        results, _ = running.play([(fault, HEARTBEAT)], 1, None, '', tmp_path, lambda _: None)
        return results[0]


@pytest.mark.parametrize('point', ['watch', 'check', 'mend', 'rest'])
def test_what_fails_once_the_fault_was_there_is_not_tried_again(monkeypatch, tmp_path, point):
    stage = Broken(monkeypatch, point)
    result = stage.play(tmp_path)
    assert (stage.starts, result.met) == (1, False)
    assert result.complaints == (f'not measured: failed once the fault was there: no {point}',)


def test_decision_that_is_lost_once_the_fault_was_there_is_a_complaint(monkeypatch, tmp_path):
    stage = Broken(monkeypatch, 'nowhere')
    monkeypatch.setattr(running, 'by_stamps', by_spans)
    stage.decisions[1].tick = 9
    result = stage.play(tmp_path)
    assert (stage.starts, result.met) == (1, False)
    assert 'decisions were lost' in result.complaints[0]


@pytest.mark.parametrize('point', ['start', 'drive', 'break'])
def test_what_fails_before_the_fault_is_there_is_tried_again(monkeypatch, tmp_path, point):
    stage = Broken(monkeypatch, point)
    result = stage.play(tmp_path)
    assert (stage.starts, result.met) == (2, True)
    stage = Broken(monkeypatch, point, always=True)
    assert stage.play(tmp_path).complaints == (f'not measured: no {point}',)


@pytest.mark.parametrize(('point', 'starts', 'met'), [('break', 2, True), ('mend', 1, False)])
def test_process_that_is_gone_ends_no_campaign(monkeypatch, tmp_path, point, starts, met):
    stage = Broken(monkeypatch, point)
    stage.error = psutil.NoSuchProcess(4711)
    result = stage.play(tmp_path)
    assert (stage.starts, result.met) == (starts, met)
    assert all('4711' in complaint for complaint in result.complaints)


def test_every_fault_can_be_done_and_has_a_name_of_its_own():
    assert sorted(INJECTORS) == sorted(NAMES)
    assert len(set(NAMES)) == len(FAULTS)


def test_graphs_are_started_as_rarely_as_can_be():
    graphs = [fault.graph for fault in FAULTS]
    assert len(list(itertools.groupby(graphs))) == len(set(graphs))


def test_expectations_are_those_of_the_robot_file(robot):
    slow_eyes = replace(robot, max_observation_age=1.0)
    deaf = replace(robot, odom_required=False)
    of = {fault.name: fault.expected for fault in FAULTS}
    # docs/reference/safety.md: a killed policy is noticed within 0.30 s.
    assert of['policy-kill'](robot).within == pytest.approx(0.30)
    assert of['image-drop'](robot).within == pytest.approx(0.70)
    assert of['image-drop'](slow_eyes).within == pytest.approx(1.10)
    assert of['odom-drop'](deaf) == GOES_ON
    assert of['base-kill'](robot).ends == {State.ESTOP}
    assert of['base-kill'](deaf).ends == {State.STOPPED}
    assert of['estop-unplugged'](robot) is None
    assert of['estop-unplugged'](replace(robot, estop_required=True)).ends == {State.STOPPED}


def test_all_that_concerns_the_robot_is_played_unless_some_are_named(robot):
    assert [fault.name for fault, _ in chosen((), robot)] == [
        name for name in NAMES if name != 'estop-unplugged'
    ]
    assert [fault.name for fault, _ in chosen(('policy-kill', 'image-drop'), robot)] == [
        'image-drop',
        'policy-kill',
    ]


# -- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--count', '0'], 'count is 0: expected at least 1'),
        (['--only', 'image-drop', 'meteorite'], "fault 'meteorite': expected some of monitor-"),
        (['--only', 'estop-unplugged'], "'estop-unplugged' does not concern robot sim"),
        (['--robot', 'nobody'], "robot 'nobody'"),
    ],
)
def test_wrong_argument_is_named_and_nothing_starts(
    arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(['faults', 'run', *arguments]) == 1
    assert words in capsys.readouterr().err


def test_list_names_every_fault_with_the_numbers_of_the_robot(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '300')
    assert main(['faults', 'list', '--robot', 'turtlebot3']) == 0
    said = capsys.readouterr().out
    assert [name for name in NAMES if name not in said] == []
    assert '≤ 0.60 s, ESTOP_INPUT_LOST; STOPPED' in said


# -- the robot file ---------------------------------------------------------------------------


def test_robot_file_keeps_its_limits_and_loses_its_place(tmp_path: Path):
    given = tmp_path / 'mine.yaml'
    values = yaml.safe_load(robot_path('turtlebot3').read_text())
    values['geofence'] = {'points': [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]}
    values['axes']['angular.z']['flip'] = True
    given.write_text(yaml.safe_dump(values))
    subject = prepare(given, tmp_path / 'copy')
    robot = subject.robot
    assert subject.file.name == 'mine.yaml'
    assert (robot.name, robot.simulated, robot.self_arm) == ('mine', True, False)
    assert robot.discovery == 'LOCALHOST'
    assert robot.axes[0] == load_robot(given).axes[0]
    assert robot.estop_required
    assert robot.odom_required
    assert robot.fence is None
    assert subject.left_out == ('geofence', 'axes.angular.z.flip')


@pytest.mark.parametrize(
    ('axes', 'words'),
    [
        ({'angular.z': {}}, 'no axis linear.x'),
        ({'linear.x': {'max_speed': 0.05}}, 'linear.x of 0.05 m/s'),
    ],
)
def test_robot_that_cannot_drive_ahead_is_refused(axes, words, tmp_path: Path):
    values = yaml.safe_load(robot_path('sim').read_text())
    full = {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 1.0}
    values['axes'] = {name: full | axis for name, axis in axes.items()}
    given = tmp_path / 'mine.yaml'
    given.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=words):
        prepare(given, tmp_path / 'copy')


# -- table ------------------------------------------------------------------------------------


@pytest.fixture
def result(limits) -> Result:
    outcomes = tuple(
        judge(Record(SPEED, samples(DRIVING, BRAKING, STANDING, began=at)), HEARTBEAT, limits)
        for at in (-0.01, 0.0, 0.15)
    )
    return Result('policy-kill', 'the policy is killed', str(HEARTBEAT), 'as launched', outcomes)


def test_row_says_how_often_how_late_and_whether_that_is_right(result):
    cells = row(result)
    assert cells[:2] == ('policy-kill', '3')
    assert cells[2:4] == ('0.22 0.37 0.37', '0.48 0.63 0.63')
    assert len(cells[4].split()) == 3
    assert cells[5:7] == ('STOPPED HEARTBEAT_LOST', 'yes')
    assert cells[7:] == ('≤ 0.30 s, HEARTBEAT_LOST; STOPPED', 'NOT MET')
    assert row(replace(result, outcomes=result.outcomes[:2]))[-1] == 'met'


@pytest.mark.parametrize('width', [80, 120, 140, 200])
def test_no_screen_is_too_narrow_for_a_figure(result, width, capsys):
    longest = max((fault.name for fault in FAULTS), key=len)
    show([replace(result, name=longest)], 'robot sim', Console(width=width))
    out = capsys.readouterr().out
    assert '…' not in out
    assert all(text in ' '.join(out.split()) for text in (longest, 'STOPPED', 'NOT MET'))
    words = out.split()
    assert [words.count(name) for name in ('p50', 'p99', 'max')] == [3, 3, 3]
    figures = ' '.join(row(result)[2:5]).split()
    assert len(figures) == 9
    assert [figure for figure in figures if words.count(figure) < figures.count(figure)] == []


def test_repetition_that_was_not_measured_is_not_met(result):
    good = replace(result, outcomes=result.outcomes[:1])
    assert good.met
    assert not replace(good, unmeasured=('no steady drive',)).met
    assert not replace(good, outcomes=()).met


def test_figures_of_some_repetitions_only_are_none():
    assert summary([0.2, 0.3])['max'] == 0.3
    assert summary([0.2, math.inf]) is None
    assert summary([]) is None


def test_file_and_screen_hold_every_complaint(result, tmp_path: Path, capsys):
    write([result], {'policy': 'hold'}, tmp_path / 'build' / 'faults.json')
    content = json.loads((tmp_path / 'build' / 'faults.json').read_text())
    (found,) = content['results']
    assert content['policy'] == 'hold'
    assert (found['n'], found['met']) == (3, False)
    assert len(found['repetitions']) == 3
    assert found['complaints'] == list(result.complaints)
    show([result], 'robot sim', Console(width=200))
    said = capsys.readouterr().out
    assert all(text in said for text in result.complaints)


# -- what is injected -------------------------------------------------------------------------


def image(stamp: float) -> Image:
    msg = Image(width=64, height=48, step=192, encoding='rgb8')
    msg.header.stamp = to_time(round(stamp * 1e9))
    msg.data = array.array('B', np.random.default_rng(0).bytes(64 * 48 * 3))
    return msg


def decoded(msg: Image) -> np.ndarray:
    return decode_raw(msg.data, msg.encoding, msg.width, msg.height, msg.step)


def test_every_corrupt_frame_is_malformed():
    spoil = spoiling.corrupt(None)
    assert decoded(image(0.0)).shape == (48, 64, 3)
    for number in range(12):
        (msg,) = spoil(image(number))
        with pytest.raises(ObservationError):
            decoded(msg)


def test_black_frame_shows_nothing():
    (msg,) = spoiling.blacken(image(0.0))
    assert exposure_fault(decoded(msg), 8, 247, 0.99)


def test_frozen_frame_has_old_pixels_and_a_new_stamp():
    old = array.array('B', bytes(64 * 48 * 3))
    (msg,) = spoiling.freeze(old)(image(3.0))
    assert msg.data == old
    assert to_ns(msg.header.stamp) == 3_000_000_000


def test_delayed_frames_come_late_and_in_order():
    spoil = spoiling.delay(0.25, None)
    passed = [[to_ns(m.header.stamp) * 1e-9 for m in spoil(image(0.1 * n))] for n in range(6)]
    assert passed[:3] == [[], [], []]
    assert [stamp for stamps in passed for stamp in stamps] == pytest.approx([0.0, 0.1, 0.2])


def chunk() -> ActionChunk:
    spec = native_spec('test')
    msg = ActionChunk(
        step_dt=0.1,
        horizon=8,
        names=list(spec.action_names),
        units=list(spec.action_units),
        data=array.array('d', [0.1] * 8 * 7),
        status=ActionChunk.STATUS_RUNNING,
        sequence=6,
        policy_run=1,
    )
    return spoiling.onward(msg, 5_000_000_000)


def take(msg: ActionChunk, robot: RobotConfig) -> None:
    """Do with a chunk what the gate does, 5 s after the epoch, after sequence 6."""
    ahead = (to_ns(msg.header.stamp) - 5_000_000_000) * 1e-9
    assert msg.sequence == 7
    check(chunk_from_msg(msg), robot, ahead)


def test_next_chunk_is_one_that_the_gate_plays(robot):
    take(chunk(), robot)


@pytest.mark.parametrize(
    'lie',
    [
        spoiling.with_nan,
        spoiling.due_in_an_hour,
        spoiling.asking_for(GROSS),
    ],
)
def test_lie_is_one_that_the_gate_rejects(lie, robot):
    with pytest.raises(ActionRejected):
        take(lie(chunk()), robot)


def test_too_fast_a_chunk_is_well_formed(robot, limits):
    msg = spoiling.asking_for(TOO_FAST)(chunk())
    take(msg, robot)
    assert max(msg.data) > limits.speed[0]


@pytest.fixture
def seen() -> Observation:
    return Observation({'front': np.full((96, 192, 3), 128, np.uint8)}, 0)


def test_faulty_policy_drives_until_it_is_told_otherwise(seen):
    faulty = create_policy('faulty', None)
    drive = faulty.infer(seen, faulty.encode('move forward'))
    assert drive.actions[0, 0] == pytest.approx(0.3)
    with pytest.raises(RuntimeError, match='raise an exception'):
        faulty.infer(seen, faulty.encode(policy.RAISE))
    with pytest.raises(ActionRejected, match='nan'):
        faulty.infer(seen, faulty.encode(policy.ANSWER_NAN))


def test_memory_is_taken_from_the_process_and_not_from_the_machine():
    script = (
        'import numpy as np\n'
        'from vla_cli.faults import policy\n'
        'from vla_core.types import Observation\n'
        'faulty = policy.create(None, "cpu")\n'
        'seen = Observation({"front": np.zeros((96, 192, 3), np.uint8)}, 0)\n'
        'for _ in range(2):\n'
        '    try:\n'
        '        faulty.infer(seen, faulty.encode(policy.EXHAUST_MEMORY))\n'
        '    except MemoryError as error:\n'
        '        print(error)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=True
    )
    taken = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(taken) == 2
    assert 0 < taken[0] <= 64
