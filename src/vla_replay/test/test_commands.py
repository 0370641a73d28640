"""`vla bag` and `vla record`."""

import os
from pathlib import Path
import subprocess
import sys

import pytest
import tyro

from vla_cli.main import main
from vla_core.errors import ConfigError
from vla_core.parameters import build
from vla_replay.bag.reader import BagReader
from vla_replay.bag.writer import BagWriter
from vla_replay.bag_options import Record
from vla_replay.record_command import parameters
from vla_replay.recording.config import RecorderConfig
from vla_ros.domains import process_domain


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / 'bag', custom={'robot': 'sim'}) as writer:
        writer.add_topic('/text', 'std_msgs/msg/String')
        for second in range(10):
            writer.write('/text', second * 1_000_000_000, b'\0\1\0\0\2\0\0\0x\0')
    return tmp_path / 'bag'


def count(path: Path) -> int:
    with BagReader(path) as bag:
        return len(list(bag.messages()))


def test_info_says_what_is_in_a_bag(bag: Path, capsys) -> None:
    assert main(['bag', 'info', str(bag)]) == 0
    said = capsys.readouterr().out
    assert '/text        10     1.1 Hz  std_msgs/msg/String' in said
    assert 'robot: sim' in said


def test_trim_merge_and_repair_make_new_bags(bag: Path, tmp_path: Path, capsys) -> None:
    piece, both, whole = (str(tmp_path / name) for name in ('piece', 'both', 'whole'))
    assert main(['bag', 'trim', str(bag), piece, '--start', '2', '--end', '5']) == 0
    assert count(Path(piece)) == 3
    assert main(['bag', 'merge', both, str(bag), piece]) == 0
    assert count(Path(both)) == 13
    file = bag / 'bag_0.mcap'
    file.write_bytes(file.read_bytes()[:-100])
    (bag / 'metadata.yaml').unlink()
    assert main(['bag', 'repair', str(bag), whole]) == 0
    assert count(Path(whole)) == 10
    assert capsys.readouterr().out.splitlines() == [
        f'3 messages in {piece}',
        f'13 messages in {both}',
        f'10 messages in {whole}',
    ]


def test_a_path_without_a_bag_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(['bag', 'info', str(tmp_path)]) == 1
    assert capsys.readouterr().err.count('\n') == 1


def test_options_are_the_parameters_of_the_recorder() -> None:
    # Named alike, they have the same defaults.
    default = build(RecorderConfig, parameters(Record(output=Path('/bags/drive'))), 'test')
    assert default == RecorderConfig(folder='/bags', name='drive')
    given = tyro.cli(
        Record,
        args=[
            '/odom',
            '/vla/*',
            '--output',
            '/bags',
            '--ring',
            '10',
            '--after',
            '3',
            '--on-warn',
            '--images',
            'raw',
            '--exclude',
            '/tf',
        ],
    )
    assert build(RecorderConfig, parameters(given), 'test') == RecorderConfig(
        folder='/bags',
        topics='/odom /vla/*',
        exclude='/tf',
        images='raw',
        mode='ring',
        ring_seconds=10.0,
        after_seconds=3.0,
        on_warn=True,
    )


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (Record(on_warn=True), '--on-warn without --ring'),
        (Record(after=5.0), '--after without --ring'),
        (Record(after=2.0), '--after without --ring'),
    ],
)
def test_contradicting_options_are_an_error(options: Record, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parameters(options)


def test_a_data_set_of_episodes_without_a_frame_is_refused(tmp_path: Path, capsys) -> None:
    bags = [str(tmp_path / 'set'), str(DRIVE)]
    assert main(['bag', 'to-dataset', *bags, '--shortest', '-1']) == 1
    assert 'shortest is -1: expected 1 frame or more' in capsys.readouterr().err


def test_a_share_above_one_is_not_judged(tmp_path: Path, capsys) -> None:
    output = ('--output', str(tmp_path / 'out'))
    assert main(['replay', 'check', str(DRIVE), '--unmatched', '2', *output]) == 2
    assert 'unmatched is 2.0: expected 0 to 1' in ' '.join(capsys.readouterr().err.split())


def test_without_a_recorder_save_says_so(capsys) -> None:
    assert main(['record', '--save']) == 1
    assert 'no recorder: nobody offers /recorder/save' in capsys.readouterr().err


def test_an_impossible_namespace_is_an_error(capsys) -> None:
    assert main(['record', '--namespace', '1-2']) == 1
    assert "namespace '1-2' is invalid" in capsys.readouterr().err


DRIVE = Path(__file__).parent / 'data' / 'red_ball'


@pytest.mark.parametrize(
    ('part', 'said'),
    [
        (('--stop', 'inf'), 'stop is inf: expected a finite number'),
        (('--start', 'nan'), 'start is nan: expected a finite number'),
        (('--start', '-1'), 'start is -1.0: expected a finite number'),
        (('--start', '2', '--stop', '1'), 'stop is 1.0: expected a finite number above start'),
    ],
)
def test_a_part_that_is_none_is_not_judged_and_not_blessed(part, said, tmp_path, capsys) -> None:
    output = ('--output', str(tmp_path / 'out'))
    assert main(['replay', 'check', str(DRIVE), *part, *output]) == 2
    assert said in capsys.readouterr().err
    assert main(['replay', 'bless', str(DRIVE), *part, *output]) == 1
    assert said in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_no_judgement(tmp_path: Path, capsys) -> None:
    (tmp_path / 'file').touch()
    output = ('--output', str(tmp_path / 'file' / 'out'))
    assert main(['replay', 'check', str(DRIVE), *output]) == 2
    assert 'Not a directory: expected a folder' in capsys.readouterr().err
    assert main(['replay', 'bless', str(DRIVE), *output]) == 1
    assert 'Not a directory: expected a folder' in capsys.readouterr().err


@pytest.mark.parametrize('fails', [False, True])
def test_record_ends_in_order_at_ctrl_c(tmp_path: Path, fails: bool) -> None:
    """In a process of its own; Ctrl-C once the bag is begun; on a disk that then fails."""
    failing = 'Stream.sync = fail; ' if fails else ''
    code = (
        'import os, signal, sys, threading, time\n'
        'from pathlib import Path\n'
        'from vla_cli.main import main\n'
        'from vla_replay.bag.stream import Stream\n'
        'def fail(stream): raise OSError(5, "Input/output error")\n'
        'def interrupt():\n'
        f'    while not list(Path({str(tmp_path)!r}).glob("drive/*")): time.sleep(0.05)\n'
        f'    {failing}os.kill(os.getpid(), signal.SIGINT)\n'
        'threading.Thread(target=interrupt).start()\n'
        f'sys.exit(main(["record", "--output", {str(tmp_path / "drive")!r}]))\n'
    )
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(process_domain())}
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == int(fails), done.stderr
    if fails:
        assert 'not finished: ' in done.stderr
        return
    with BagReader(tmp_path / 'drive') as bag:
        assert bag.problems == []
        assert 'git_revision' in bag.custom
