"""The doctor's findings."""

import os
import resource
import subprocess
import sys

import pytest

from vla_cli import doctor
from vla_cli.doctor import Finding, Level


def test_a_profile_that_does_not_exist_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', '/nowhere.xml')
    (finding,) = doctor._middleware()
    assert finding.level is Level.FAIL
    assert '/nowhere.xml does not exist' in finding.what
    assert 'unset FASTRTPS_DEFAULT_PROFILES_FILE' in finding.remedy


def test_a_missing_checkpoint_is_a_failure_that_names_it() -> None:
    (finding,) = doctor._checkpoint('/nowhere/at_all')
    assert finding.level is Level.FAIL
    assert '/nowhere/at_all' in finding.what


def test_a_policy_that_is_built_in_needs_no_checkpoint() -> None:
    (finding,) = doctor._checkpoint('hold')
    assert (finding.level, finding.what) == (
        Level.OK,
        'policy hold is built in: no checkpoint is needed',
    )
    (finding,) = doctor._checkpoint('onnx')
    assert (finding.level, 'no checkpoint given' in finding.what) == (Level.FAIL, True)


def test_little_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, '_SHARED_MEMORY_NEEDED', float('inf'))
    (finding,) = doctor._shared_memory()
    assert finding.level is Level.WARN
    assert '--shm-size' in finding.remedy


# Runs the check as somebody to whom the kernel grants real-time scheduling, or not.
AS_OTHERS = """
import ctypes, os, resource, sys
who, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_RTPRIO, (int(limit),) * 2)
if who == 'root in a container':
    PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23
    if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE):
        sys.exit('cannot give up CAP_SYS_NICE')
else:
    os.setgid(65534)
    os.setuid(65534)
from vla_cli import doctor
for finding in doctor._priority():
    print(finding.level.name, finding.what, finding.remedy)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason='only root may become somebody else')
@pytest.mark.parametrize(
    ('who', 'limit', 'level'),
    [
        ('root in a container', 0, 'WARN'),
        ('nobody', resource.RLIM_INFINITY, 'OK'),
    ],
)
def test_priority_is_what_the_kernel_grants(who: str, limit: int, level: str) -> None:
    done = subprocess.run(
        [sys.executable, '-c', AS_OTHERS, who, str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if 'cannot give up' in done.stderr or 'not allowed' in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stdout.startswith(level), done.stderr


@pytest.mark.parametrize('granted', [True, False])
def test_priority_is_reported_as_a_process_met_it(
    monkeypatch: pytest.MonkeyPatch, granted: bool
) -> None:
    error = '' if granted else 'Traceback:\nPermissionError: [Errno 1] not permitted\n'
    answer = subprocess.CompletedProcess([], int(not granted), '', error)
    asked: list[list[str]] = []
    monkeypatch.setattr(doctor, '_probe', lambda given: asked.append(given) or answer)
    (finding,) = doctor._priority()
    assert finding.level is (Level.OK if granted else Level.WARN)
    assert granted or 'PermissionError: [Errno 1] not permitted' in finding.what
    assert granted or '--cap-add=SYS_NICE' in finding.remedy
    assert 'os.SCHED_FIFO' in asked[0][1]


def test_priority_is_the_one_that_the_gate_asks_for() -> None:
    process = pytest.importorskip('vla_safety.process')
    assert process.FIFO_PRIORITY == doctor._PRIORITY


def test_old_variable_that_hides_the_range_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    (finding,) = doctor._discovery()
    assert (finding.level, finding.what.split()[-1]) == (Level.OK, 'SUBNET')
    monkeypatch.setenv('ROS_LOCALHOST_ONLY', '1')
    (finding,) = doctor._discovery()
    assert finding.level is Level.WARN
    assert 'discovery LOCALHOST: ROS_LOCALHOST_ONLY is 1' in finding.what
    assert 'unset ROS_LOCALHOST_ONLY' in finding.remedy


def test_messages_and_python_of_this_machine_are_well() -> None:
    found = [*doctor._python(), *doctor._ros(), *doctor._interfaces()]
    assert [finding.level for finding in found] == [Level.OK] * 3


@pytest.mark.parametrize(('level', 'status'), [(Level.OK, 0), (Level.WARN, 0), (Level.FAIL, 1)])
def test_only_a_failure_makes_the_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, level: Level, status: int
) -> None:
    finding = Finding(level, 'what was found', 'what to do')
    for name in ('python', 'ros', 'interfaces', 'middleware', 'shared_memory', 'discovery'):
        monkeypatch.setattr(doctor, f'_{name}', lambda: iter(()))
    for name in ('priority', 'graphics', 'frames'):
        monkeypatch.setattr(doctor, f'_{name}', lambda: iter(()))
    monkeypatch.setattr(doctor, '_checkpoint', lambda name: iter([finding]))
    assert doctor.examine('demo') == status
    output = capsys.readouterr().out
    assert 'what was found' in output
    assert 'what to do' in output
