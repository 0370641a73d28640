"""The doctor's findings."""

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


def test_little_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, '_SHARED_MEMORY_NEEDED', float('inf'))
    (finding,) = doctor._shared_memory()
    assert finding.level is Level.WARN
    assert '--shm-size' in finding.remedy


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
