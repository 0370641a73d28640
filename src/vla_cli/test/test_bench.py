"""The benchmark's rows, its command, and the parts that need no graph."""

from dataclasses import replace
import errno
import json
import os
from pathlib import Path
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from rich.console import Console

from vla_cli.bench import child, command, graphs, learning, parts
from vla_cli.bench.command import bench
from vla_cli.bench.driving import reaction
from vla_cli.bench.load import class_of, CLASSES, put_into
from vla_cli.bench.measurements import chosen, Measurement, measurements
from vla_cli.bench.report import Row, show, write
from vla_cli.bench.turning import turn
from vla_cli.graph import Graph, GraphError
from vla_cli.live import live_graph
from vla_core.admission import Admitted
from vla_core.errors import ConfigError, VlaError
from vla_core.manifest import IncludedLanguage, load_manifest
from vla_core.types import CameraSlot, Status
from vla_interfaces.msg import Decision
from vla_ros.conversion import to_time
from vla_ros.domains import own_domain
from vla_ros.files import checkpoint_path


class Recorded:
    """A live graph of which only the decisions are left: 50 Hz from 10 s on."""

    def __init__(self, speeds: list[float]) -> None:
        self.decisions = []
        for step, speed in enumerate(speeds):
            decision = Decision()
            decision.header.stamp = to_time(10_000_000_000 + 20_000_000 * step)
            decision.published.linear.x = speed
            self.decisions.append(decision)


def test_row_counts_every_sample(tmp_path: Path):
    row = Row('some_row', 'ms', [float(n) for n in range(1, 1001)], {'seed_way': 0.25})
    write([row], {'POLICY': 'hold'}, tmp_path / 'bench.json')
    content = json.loads((tmp_path / 'bench.json').read_text())
    (result,) = content['results']
    assert result['name'] == 'some_row'
    assert result['n'] == 1000
    assert (result['p50'], result['p99'], result['max']) == (500.5, 990.0, 1000.0)
    assert result['against'] == {'seed_way': 0.25}
    assert content['machine']['cores'] >= 1


def test_reaction_is_read_from_the_stamps_of_the_gate():
    live = Recorded([0.30, 0.30, 0.295, 0.30, 0.27, 0.15, 0.0, 0.0])
    slower, zero = reaction(live, 10_010_000_000, 0.30)
    assert slower == pytest.approx(0.07)
    assert zero == pytest.approx(0.11)


@pytest.mark.parametrize('speeds', [[0.3] * 20, [0.3, 0.2, 0.1], []])
def test_robot_that_never_stood_still_is_no_figure(speeds):
    with pytest.raises(GraphError, match='went on'):
        reaction(Recorded(speeds), 10_000_000_000, 0.3)


def test_limit_is_kept_or_not_by_figure_and_by_note():
    row = Row(
        'a',
        'ms',
        [1.0, 2.0],
        notes={'slope': 7.0, 'unknown': 'no'},
        limits={'max': 2.0, 'p50': 1.0, 'slope': 5.0, 'unknown': 1.0, 'never measured': 1.0},
    )
    kept = {'max': True, 'p50': False, 'slope': False, 'unknown': None, 'never measured': None}
    assert row.verdicts() == kept
    assert [row.words().count(word) for word in ('NOT KEPT', 'not known')] == [2, 2]
    assert row.line().startswith('a, ms: n 2, p50 1.5, ')


@pytest.mark.parametrize(('ratio', 'kept'), [(0.1, True), (0.243, False), (None, None)])
def test_ratio_to_another_way_is_a_promise_kept_or_not(ratio, kept):
    against = {} if ratio is None else {'seed_way': ratio}
    row = Row('a', 'ms', [1.0], against, limits={'ratio to seed_way': 0.1})
    assert row.verdicts() == {'ratio to seed_way': kept}
    said = {True: 'kept', False: 'NOT KEPT', None: 'not known'}[kept]
    assert f'promised ratio to seed_way <= 0.1: {said}' in row.words()


def test_paused_samples_are_printed_apart_and_in_no_figure(tmp_path: Path, capsys):
    row = Row('a', 's', [0.2, 0.21], limits={'max': 0.3}, paused=[1.9], scheduling='FIFO 10')
    assert row.figures()['max'] == 0.21
    assert row.figures()['paused'] == [1.9]
    write([row], {}, tmp_path / 'bench.json')
    show([row], Console(width=200))
    printed = capsys.readouterr().out
    assert 'machine paused, not in the figures: 1 (1.9)' in printed
    assert 'promised max <= 0.3: kept' in printed
    assert 'class FIFO 10; load average ' in printed
    assert 'rmw_' in printed


def test_row_of_which_every_sample_was_paused_has_no_figures(tmp_path: Path, capsys):
    row = Row('a', 's', [], limits={'max': 0.3}, paused=[1.9])
    assert row.figures()['max'] is None
    assert row.verdicts() == {'max': None}
    write([row], {}, tmp_path / 'bench.json')
    json.loads((tmp_path / 'bench.json').read_text(), parse_constant=pytest.fail)
    show([row], Console(width=200))
    assert '–' in capsys.readouterr().out


def test_scheduling_class_is_set_for_every_thread_or_refused():
    with subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']) as process:
        try:
            assert put_into(process.pid, 'other')
            assert class_of(process.pid) == 'other'
            for name in CLASSES:
                granted = put_into(process.pid, name)
                found = class_of(process.pid)
                assert not granted or found.split()[0].lower() == name
        finally:
            process.kill()


@pytest.mark.parametrize('name', ['gate', 'soak=', 'soak=0', 'soak=-1', 'estop=many', 'estop=1.5'])
def test_wrong_measurement_is_refused_with_what_is_expected(name):
    with pytest.raises(ConfigError, match='expected'):
        chosen([name], long=False)


def test_wrong_number_of_kills_is_named():
    with pytest.raises(ConfigError, match="BENCH_KILLS is '0': expected a positive integer"):
        bench(environment={'BENCH_KILLS': '0'})


def test_numbers_are_those_given_else_the_usual_or_the_long_ones():
    assert [count for _, count in chosen(['soak', 'estop=7', 'estop'], long=False)] == [60, 7, 40]
    assert [count for _, count in chosen(['soak', 'estop'], long=True)] == [60, 3000]
    assert {one.name: count for one, count in chosen([], long=True)} == {
        one.name: one.long for one in measurements()
    }
    assert 'soak' not in {one.name for one, _ in chosen([], long=False)}


@pytest.mark.parametrize(
    ('measure', 'count', 'name'),
    [
        (parts.gate_step, 200, 'gate_step'),
        (parts.preprocess, 3, 'preprocess'),
        (parts.observation_record, 20, 'observation_record'),
        (lambda count: parts.inference('hold', count), 5, 'inference'),
    ],
)
def test_part_is_measured_as_often_as_asked(measure, count, name):
    row = measure(count)
    assert row.name == name
    assert len(row.samples) == count
    assert min(row.samples) > 0.0


def test_preprocessing_takes_turns_with_the_seeds_way(monkeypatch):
    calls = []

    def timed(work, count):
        calls.append((work, count))
        ours = work is calls[0][0]
        return [1.0 if ours else 4.0 if len(calls) == 2 else 2.0] * count

    monkeypatch.setattr(parts, 'timed', timed)
    row = parts.preprocess(25)
    assert [work for work, _ in calls] == [calls[0][0], calls[1][0]] * 10
    assert [count for _, count in calls[::2]] == [3] * 5 + [2] * 5
    assert len(row.samples) == 25
    assert row.against == {'seed_way': 0.5}
    assert row.notes == {'ratio to seed_way, turns': '0.250 to 0.500'}


def test_only_the_shipped_policy_has_a_limit_of_its_own(monkeypatch):
    monkeypatch.setattr(parts, '_bounds', lambda *_: {})
    monkeypatch.setattr(parts, 'timed', lambda work, count: [4.1] * count)
    row = parts.inference('demo', 5)
    assert row.verdicts() == {'p50': False}
    assert 'promised p50 <= 4: NOT KEPT' in row.words()
    assert parts.inference(str(checkpoint_path('demo')), 5).verdicts() == {}
    assert parts.inference('hold', 5).verdicts() == {}


@pytest.mark.parametrize(
    ('language', 'size', 'limits'),
    [
        (IncludedLanguage('encoder.onnx', 64, 'tokenizer.json'), 224, {'p50': 45.0}),
        (IncludedLanguage('encoder.onnx', 64, 'tokenizer.json'), 96, {'p50': 20.0, 'p99': 60.0}),
        (None, 224, {'p50': 20.0, 'p99': 60.0}),
    ],
)
def test_full_size_is_promised_less(monkeypatch, tmp_path, language, size, limits):
    shipped = load_manifest(checkpoint_path('demo'))
    spec = replace(shipped.spec, cameras=(CameraSlot('front', size, size, 'stretch'),))
    manifest = replace(shipped, spec=spec, language=language or shipped.language)
    monkeypatch.setattr(graphs, 'admit', lambda folder: Admitted(manifest))
    assert graphs.promises(str(tmp_path)) == limits


@pytest.mark.parametrize('policy', ['demo', 'hold'])
def test_compact_and_built_in_policies_are_promised_what_the_shipped_one_is(policy):
    assert graphs.promises(policy) == {'p50': 20.0, 'p99': 60.0}


def test_chunks_of_the_monitor_are_no_row_with_its_decisions():
    chunk, decision = parts.monitor_record(200)
    assert (chunk.name, len(chunk.samples)) == ('monitor_record_chunk', 200)
    assert (decision.name, len(decision.samples)) == ('monitor_record_decision', 400)
    assert min(chunk.samples) > 2.0 * np.median(decision.samples)
    assert (bool(chunk.limits), bool(decision.limits)) == (True, False)


def test_every_invalid_chunk_is_zero_in_its_own_step(figures):
    row = parts.invalid_chunk_to_zero(2_000)
    assert len(row.samples) == 2_000
    assert all(kind in row.notes['of these'] for kind in ('NaN', 'over range', 'too wide'))
    assert row.verdicts() == {'max': True}
    figures(row.line())


def test_invalid_chunk_that_is_obeyed_is_counted(monkeypatch):
    monkeypatch.setattr(parts, '_SPOILED', {'nothing': lambda msg: msg})
    row = parts.invalid_chunk_to_zero(20)
    assert row.samples == [1.0] * 20


def test_gate_is_timed_in_mid_drive():
    assert parts.gate_step(100).notes == {'state': 'ACTIVE'}


class Turning:
    """A live graph that says, at each look, the decisions of one list: frame and step, ns."""

    def __init__(self, *looks: list[tuple[int, int]]) -> None:
        self._looks = iter(looks)
        self.decisions: list[Decision] = []
        self.heartbeats = {'sim': SimpleNamespace(progress=0)}
        self.graph = SimpleNamespace(check=lambda: None)

    @property
    def decision(self) -> Decision:
        return self.decisions[-1]

    def process(self, name: str) -> psutil.Process:
        return psutil.Process()

    def say(self, text: str) -> None:
        assert text == 'turn left'

    def spin(self, seconds: float) -> None:
        for observed, stamp in next(self._looks):
            decision = Decision(chunk_status=int(Status.RUNNING))
            decision.observation_stamp, decision.header.stamp = to_time(observed), to_time(stamp)
            self.decisions.append(decision)

    def forget(self) -> None:
        self.decisions.clear()


def test_frame_whose_first_command_was_before_the_measurement_is_none_of_it():
    live = Turning(
        [(1_000_000, 9_000_000)],
        [(1_000_000, 29_000_000), (21_000_000, 31_000_000), (21_000_000, 51_000_000)],
    )
    assert turn(live, 1).latencies == {21_000_000: pytest.approx(10.0)}


def test_two_graphs_never_share_a_domain():
    with own_domain() as first, own_domain() as second:
        assert first != second
    other = 'from vla_ros.domains import own_domain\nwith own_domain() as d: print(d)'
    with own_domain() as taken:
        done = subprocess.run(
            [sys.executable, '-c', other], capture_output=True, text=True, check=True
        )
    assert int(done.stdout) != taken


def test_graph_does_not_outlive_a_process_that_is_killed(tmp_path: Path):
    parent = (
        'import sys, time\n'
        'from pathlib import Path\n'
        'from vla_cli.graph import Graph\n'
        'from vla_ros.domains import own_domain\n'
        'with own_domain() as domain_id:\n'
        '    graph = Graph(domain_id, Path(sys.argv[1]), {"policy": "hold", "sim": "false"})\n'
        '    print(graph.pid, flush=True)\n'
        '    time.sleep(600)\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', parent, str(tmp_path / 'graph.log')], stdout=subprocess.PIPE
    ) as process:
        graph = psutil.Process(int(process.stdout.readline()))
        end = time.monotonic() + 30.0
        while len(graph.children()) < 5 and time.monotonic() < end:
            time.sleep(0.1)
        processes = [graph, *graph.children(recursive=True)]
        assert len(processes) >= 6
        process.kill()
    assert not psutil.wait_procs(processes, 20.0)[1]


def test_condition_that_never_holds_is_told_with_the_error_of_the_process(tmp_path: Path):
    arguments = {'sim': 'true', 'policy': '/nowhere'}
    with live_graph(tmp_path / 'graph.log', arguments) as live:
        live.until(lambda: bool(live.graph.complaint), 'an error')
        with pytest.raises(GraphError, match=r"not in 0\.1 s: gate ACTIVE; .*'/nowhere'"):
            live.until(lambda: False, 'gate ACTIVE', 0.1)


def test_graph_asks_no_peer_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """rmw_fastrtps asks static peers in the range LOCALHOST too."""
    monkeypatch.setenv('ROS_STATIC_PEERS', '10.9.0.2')
    file = tmp_path / 'say.launch.xml'
    say = 'printenv ROS_AUTOMATIC_DISCOVERY_RANGE ROS_STATIC_PEERS'
    file.write_text(f'<launch><executable cmd="{say}" name="said" output="screen"/></launch>')
    graph = Graph(0, tmp_path / 'graph.log', {}, launch_file=str(file))
    try:
        assert graph.wait(60.0) == 0
        said = [line for line in graph.output.splitlines() if line.startswith('[said]')]
        assert [line.split()[1:] for line in said] == [['LOCALHOST'], []]
    finally:
        graph.close()


def test_graph_that_ends_by_itself_says_why(tmp_path: Path):
    with own_domain() as domain_id:
        graph = Graph(domain_id, tmp_path / 'graph.log', {'robto': 'sim'})
        try:
            assert graph.wait(60.0) == 2
            with pytest.raises(GraphError, match=r'ended with 2: .*robto'):
                graph.check()
        finally:
            graph.close()


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Run measurements of the test's own in an empty folder; return status and results."""

    def run(
        *measurements: Measurement, only: tuple[str, ...] = (), **environment: str
    ) -> tuple[int, list[dict]]:
        monkeypatch.chdir(tmp_path)
        plan = [(one, one.usual) for one in measurements]
        monkeypatch.setattr(command, 'chosen', lambda only, long: plan)
        status = bench(only, environment=environment)
        file = tmp_path / 'build' / 'bench.json'
        return status, json.loads(file.read_text())['results'] if file.exists() else []

    return run


def test_policy_and_numbers_reach_the_measurements(measured):
    asked = []

    def measure(setting, count):
        asked.append((setting.policy, count))
        return [Row('row', 'ms', [1.0])]

    status, results = measured(
        Measurement('policy_kill', 'kills', 5, 300, measure),
        Measurement('estop', 'presses', 40, 3000, measure),
        POLICY='hold',
        BENCH_KILLS='3',
    )
    assert (status, len(results)) == (0, 2)
    assert asked == [('hold', 3), ('hold', 40)]


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (GraphError('the graph ended with 1'), 'the graph ended with 1'),
        (psutil.NoSuchProcess(7, 'policy'), "process no longer exists (pid=7, name='policy')"),
        (subprocess.TimeoutExpired('policy', 5.0), "Command 'policy' timed out"),
    ],
)
def test_measurement_that_fails_takes_no_other_with_it(measured, capsys, error, reason):
    def fail(setting, count):
        raise error

    good = Measurement('good', 'n', 1, 1, lambda setting, count: [Row('good', 'ms', [1.0])])
    status, results = measured(good, Measurement('bad', 'n', 1, 1, fail), good)
    assert status == 1
    assert [result['name'] for result in results] == ['good', 'good']
    assert f'bad: not measured: {reason}' in capsys.readouterr().out


def test_row_says_of_which_measurement_it_is(measured):
    one = Measurement('one', 'n', 1, 1, lambda setting, count: [Row('other', 'ms', [1.0])])
    _, results = measured(one)
    assert [result['measurement'] for result in results] == ['one']


def test_what_was_measured_before_an_interruption_is_kept(monkeypatch, tmp_path):
    def interrupted(setting, count):
        yield Row('first of two', 'ms', [1.0])
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    good = Measurement('good', 'n', 1, 1, lambda setting, count: [Row('good', 'ms', [1.0])])
    plan = [(good, 1), (Measurement('bad', 'n', 1, 1, interrupted), 1)]
    monkeypatch.setattr(command, 'chosen', lambda only, long: plan)
    with pytest.raises(KeyboardInterrupt):
        bench(environment={})
    content = json.loads((tmp_path / 'build' / 'bench.json').read_text())
    assert [result['name'] for result in content['results']] == ['good', 'first of two']


@pytest.fixture
def full_disk(monkeypatch):
    """Let no file be written to its end."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    def fill() -> None:
        monkeypatch.setattr(os, 'fsync', refuse)

    return fill


def test_disk_that_is_full_leaves_what_is_on_file_and_the_table_is_printed(
    measured, full_disk, capsys
):
    def measure(setting, count):
        yield Row('first', 'ms', [1.0])
        full_disk()
        yield Row('second', 'ms', [2.0])

    status, results = measured(Measurement('both', 'n', 1, 1, measure))
    assert status == 1
    assert [result['name'] for result in results] == ['first']
    said = capsys.readouterr().out
    assert 'build/bench.json: not written: No space left on device' in said
    assert 'second, ms' in said


def test_nothing_measured_empties_no_file_of_before(measured):
    good = Measurement('good', 'n', 1, 1, lambda setting, count: [Row('good', 'ms', [1.0])])

    def fail(setting, count):
        raise GraphError('no graph')

    measured(good)
    status, results = measured(Measurement('bad', 'n', 1, 1, fail))
    assert (status, [result['name'] for result in results]) == (1, ['good'])


@pytest.mark.parametrize(('only', 'status'), [((), 0), (('learning',), 1)])
def test_rows_that_need_torch_are_left_out_with_a_line(
    measured, monkeypatch, capsys, only, status
):
    monkeypatch.setattr(learning.importlib.util, 'find_spec', lambda name: None)
    measure = Measurement('learning', 'batches', 3, 3, lambda _, count: learning.feeding(count))
    assert measured(measure, only=only) == (status, [])
    assert 'training_step: left out, for torch is missing' in capsys.readouterr().out


def test_process_that_measures_and_fails_is_reported(monkeypatch):
    def failed(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert arguments[-4:] == ['vla_learning.cli', 'bench', '--batches', '3']
        return subprocess.CompletedProcess(arguments, 1, '', 'Traceback\nOSError: disk full\n')

    monkeypatch.setattr(learning.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(child.subprocess, 'run', failed)
    with pytest.raises(VlaError, match=r'ended with 1: .*disk full'):
        learning.feeding(3)


def test_variants_of_the_checkpoint_that_was_asked_for(monkeypatch):
    def timed(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        module, folder, frames = arguments[-3:]
        assert (module, frames) == ('vla_learning.optimise.side_by_side', '20')
        assert (Path(folder) / 'manifest.yaml').is_file()
        rows = [
            {'name': 'variant_eager', 'unit': 'ms', 'samples': [2.0], 'against': {'eager': 1.0}},
            {'name': 'variant_x', 'unit': 'ms', 'samples': [], 'notes': {'missing': 'no x'}},
        ]
        return subprocess.CompletedProcess(arguments, 0, json.dumps(rows), '')

    monkeypatch.setattr(learning.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(child.subprocess, 'run', timed)
    (one,) = (one for one in measurements() if one.name == 'variants')
    eager, absent = one.run(command.Setting('demo', Path()), 20)
    assert (eager.name, eager.against) == ('variant_eager', {'eager': 1.0})
    assert (absent.figures()['n'], absent.figures()['p50']) == (0, None)
    assert 'missing no x' in absent.words()
    with pytest.raises(ConfigError, match="'scripted'"):
        list(one.run(command.Setting('scripted', Path()), 20))


def test_smoothness_is_measured_with_the_policy_and_number_that_were_asked_for(monkeypatch):
    def driven(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert arguments[-3:] == ['vla_learning.sim.smoothness', 'demo', '7']
        row = {'name': 'splice_step', 'unit': 'beyond a dt', 'samples': [0.0] * 7, 'limits': {}}
        return subprocess.CompletedProcess(arguments, 0, json.dumps([row]), '')

    monkeypatch.setattr(child.subprocess, 'run', driven)
    (one,) = (one for one in measurements() if one.name == 'smoothness')
    (row,) = one.run(command.Setting('demo', Path()), 7)
    assert (row.name, list(row.samples)) == ('splice_step', [0.0] * 7)
