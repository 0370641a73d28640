"""Every process of the graph dies and hangs: the table says so, and the faults do it."""

from contextlib import suppress
import os
from pathlib import Path
import signal
import subprocess
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import psutil
import pytest

from vla_cli.faults import coverage, injectors
from vla_cli.faults.catalogue import Fault, FAULTS, Graph
from vla_cli.faults.injectors import INJECTORS
from vla_cli.faults.processes import frozen
from vla_cli.graph import GraphError
from vla_cli.main import main

ROOT = Path(__file__).parents[3]
LAUNCH = ROOT / 'src' / 'vla_bringup' / 'launch' / 'robot.launch.xml'
#: Those that are told by a text what to do wrong get no signal.
BY_SIGNAL = [
    fault for fault in FAULTS if (fault.kills or fault.hangs) and fault.graph is not Graph.FAULTY
]
OF_THE_RECORDER = [fault for fault in BY_SIGNAL if fault.graph is Graph.RECORDED]


def nodes(launch: Path) -> set[str]:
    """Return the names of all nodes of a launch file and of those that it includes."""
    root = ET.parse(launch).getroot()
    found = {node.attrib['name'] for node in root.iter('node')}
    for include in root.iter('include'):
        found |= nodes(launch.with_name(Path(include.attrib['file']).name))
    return found


class Broken:
    """A scene without processes: it keeps which signals they were sent."""

    def __init__(self, stays_silent: bool = False) -> None:
        self.sent: list[tuple[str, str]] = []
        self.trouble: list[str] = []
        self._stays_silent = stays_silent
        self._bytes = 0
        self.live = SimpleNamespace(
            state=SimpleNamespace(warnings=['monitor is silent']),
            graph=SimpleNamespace(wait=lambda _: 1),
            until=lambda condition, what: condition() or pytest.fail(what),
            spin=lambda _: None,
        )

    def process(self, name: str) -> SimpleNamespace:
        def send(sign: int) -> None:
            self.sent.append((name, signal.Signals(sign).name))

        return SimpleNamespace(
            send_signal=send,
            suspend=lambda: send(signal.SIGSTOP),
            resume=lambda: send(signal.SIGCONT),
        )

    def recorded(self) -> int:
        self._bytes += not (self._stays_silent and self.sent)
        return self._bytes


def names(fault: Fault) -> str:
    return fault.name


def test_every_process_of_the_launch_file_is_killed_and_hangs():
    found = coverage.coverage()
    # The base of `vla faults` is the simulator.
    assert {'sim' if process == 'base' else process for process in found} == nodes(LAUNCH)
    assert [process for process, faults in found.items() if not all(faults)] == []


def test_table_of_the_guide_is_that_of_the_code(capsys):
    """`python -m vla_cli.faults.coverage` prints it."""
    coverage.main()
    printed = capsys.readouterr().out
    assert printed in (ROOT / 'docs' / 'how-to' / 'inject-faults.md').read_text(encoding='utf-8')
    named = {fault.name for fault in FAULTS if fault.kills or fault.hangs}
    assert [name for name in named if f'`{name}`' not in printed] == []


def test_list_ends_with_the_processes(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    assert main(['faults', 'list']) == 0
    _, processes = capsys.readouterr().out.split('every process dies and hangs')
    rows = [line.split() for line in processes.splitlines()]
    assert ['recorder', 'recorder-kill', 'recorder-freeze'] in rows


@pytest.mark.parametrize('fault', BY_SIGNAL, ids=names)
def test_fault_sends_the_process_of_the_table_what_it_says(fault):
    scene = Broken()
    with INJECTORS[fault.name](scene):
        (process, sign), *others = scene.sent
        assert others == []
    ends = sign in ('SIGKILL', 'SIGSEGV')
    assert (fault.kills, fault.hangs) == ((process, '') if ends else ('', process))
    assert scene.sent[1:] == ([] if ends else [(process, 'SIGCONT')])
    assert scene.trouble == []


@pytest.mark.parametrize('fault', OF_THE_RECORDER, ids=names)
def test_recorder_that_writes_nothing_afterwards_is_told(fault, monkeypatch):
    monkeypatch.setattr(injectors, '_WRITES_AGAIN', 0.0)
    scene = Broken(stays_silent=True)
    with INJECTORS[fault.name](scene):
        assert scene.trouble == []
    assert scene.trouble == ['the recorder writes nothing 0 s afterwards']


def test_frozen_process_goes_on_even_if_the_watch_fails():
    changes = os.WSTOPPED | os.WCONTINUED
    with subprocess.Popen(['sleep', '60']) as child, suppress(GraphError):
        try:
            with frozen(psutil.Process(child.pid)):
                assert os.waitid(os.P_PID, child.pid, changes).si_code == os.CLD_STOPPED
                raise GraphError('the graph ended')
        finally:
            assert os.waitid(os.P_PID, child.pid, changes).si_code == os.CLD_CONTINUED
            child.kill()
