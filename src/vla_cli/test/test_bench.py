"""The benchmark's figures, and the parts that need no graph."""

import json
from pathlib import Path
import subprocess
import sys
import time

import psutil
import pytest
from rich.console import Console

from vla_cli.bench import command, parts
from vla_cli.bench.command import bench
from vla_cli.bench.driving import reaction
from vla_cli.bench.report import Row, write
from vla_cli.graph import Graph, GraphError
from vla_core.errors import ConfigError, VlaError
from vla_interfaces.msg import Decision
from vla_ros.conversion import to_time
from vla_ros.domains import own_domain


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


@pytest.mark.parametrize('name', ['BENCH_FRAMES', 'BENCH_KILLS', 'BENCH_STEPS', 'BENCH_BATCHES'])
@pytest.mark.parametrize('value', ['0', '-3', 'many'])
def test_wrong_setting_is_named(name, value):
    with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
        bench({name: value})


@pytest.mark.parametrize(
    ('measure', 'count', 'name'),
    [
        (parts.gate_step, 200, 'gate_step'),
        (parts.preprocess, 3, 'preprocess'),
        (parts.monitor_record, 200, 'monitor_record'),
        (parts.observation_record, 20, 'observation_record'),
        (lambda count: parts.inference('hold', count), 5, 'inference'),
    ],
)
def test_part_is_measured_as_often_as_asked(measure, count, name):
    row = measure(count)
    assert row.name == name
    assert len(row.samples) == count
    assert min(row.samples) > 0.0


def test_gate_is_timed_in_mid_drive():
    assert parts.gate_step(100).notes == {'state': 'ACTIVE'}


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


def test_graph_that_ends_by_itself_says_why(tmp_path: Path):
    with own_domain() as domain_id:
        graph = Graph(domain_id, tmp_path / 'graph.log', {'robto': 'sim'})
        try:
            assert graph.wait(60.0) == 2
            with pytest.raises(GraphError, match=r'ended with 2: .*robto'):
                graph.check()
        finally:
            graph.close()


def test_every_setting_reaches_what_it_is_for(monkeypatch, tmp_path):
    def row(*settings: object) -> list[Row]:
        return [Row(str(settings), 'ms', [1.0])]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, 'parts', row)
    monkeypatch.setattr(command, 'feeding', lambda batches, console: row(batches))
    monkeypatch.setattr(command, 'whole_graphs', lambda *settings: row(*settings[:-1]))
    settings = {'BENCH_FRAMES': '2', 'BENCH_KILLS': '3', 'BENCH_STEPS': '4', 'BENCH_BATCHES': '5'}
    assert bench({'POLICY': 'hold', **settings}) == 0
    content = json.loads((tmp_path / 'build' / 'bench.json').read_text())
    names = {result['name'] for result in content['results']}
    assert names == {"('hold',)", '(5,)', "('hold', 2, 3, 4)"}


def test_rows_that_need_torch_are_left_out_with_a_line(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, 'find_spec', lambda name: None)
    assert command.feeding(3, Console()) == []
    assert 'training_step: left out, for torch is missing' in capsys.readouterr().out


def test_process_that_measures_and_fails_is_reported(monkeypatch):
    def failed(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert arguments[-4:] == ['vla_learning.cli', 'bench', '--batches', '3']
        return subprocess.CompletedProcess(arguments, 1, '', 'Traceback\nOSError: disk full\n')

    monkeypatch.setattr(command.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(command.subprocess, 'run', failed)
    with pytest.raises(VlaError, match=r'ended with 1: .*disk full'):
        command.feeding(3, Console())
