"""What the gate's process asks of the operating system, in the order of preference."""

from functools import partial
import gc
import os
from types import SimpleNamespace

import pytest

from vla_ros.clock import STEADY
from vla_safety import process


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A system that grants what is named in `granted`, and a list of what was asked for."""
    granted, asked = set(), []

    def ask(what):
        asked.append(what)
        if what[0] not in granted:
            raise PermissionError(what)

    monkeypatch.setattr(
        os, 'sched_setscheduler', lambda _, kind, given: ask(('fifo', given.sched_priority))
    )
    monkeypatch.setattr(os, 'setpriority', lambda _, pid, value: ask(('nice', value)))
    monkeypatch.setattr(process, 'AUTOGROUP', tmp_path / 'autogroup')
    return granted, asked


def test_real_time_class_is_asked_for_first(system):
    granted, asked = system
    granted.add('fifo')
    assert process.raise_priority() == ''
    assert asked == [('fifo', process.FIFO_PRIORITY)]
    assert not process.AUTOGROUP.exists()


def test_nice_value_comes_with_the_weight_of_the_session(system):
    granted, asked = system
    granted.add('nice')
    assert process.raise_priority() == ''
    assert asked[-1] == ('nice', process.NICE)
    assert int(process.AUTOGROUP.read_text()) == process.NICE


def test_system_without_sessions_grants_the_nice_value_all_the_same(system, monkeypatch, tmp_path):
    granted, _ = system
    granted.add('nice')
    monkeypatch.setattr(process, 'AUTOGROUP', tmp_path / 'missing' / 'autogroup')
    assert process.raise_priority() == ''


def test_process_that_gets_neither_says_so(system):
    assert 'may be late on a busy machine' in process.raise_priority()
    assert not process.AUTOGROUP.exists()


def test_collector_runs_only_while_the_robot_rests(monkeypatch):
    calls, timers = [], []
    for name in ('collect', 'freeze', 'disable'):
        monkeypatch.setattr(gc, name, partial(calls.append, name))
    node = SimpleNamespace(create_timer=lambda *given, clock: timers.append((*given, clock)))
    resting = True
    process.collect_only_when(node, lambda: resting)
    assert calls == ['collect', 'freeze', 'disable']
    ((period, collect, clock),) = timers
    assert (period, clock) == (process.COLLECT_PERIOD, STEADY)
    collect()
    assert calls[3:] == ['collect']
    resting = False
    collect()
    assert calls[3:] == ['collect']


@pytest.mark.parametrize(('found', 'warned'), [('LOCALHOST', False), ('SUBNET', True)])
def test_process_that_is_heard_further_than_the_robot_file_wants_says_so(
    monkeypatch, found, warned
):
    monkeypatch.setattr(process, 'discovery_range', lambda: found)
    text = process.discovery_warning(SimpleNamespace(discovery='LOCALHOST'))
    assert bool(text) is warned
    assert not warned or 'reaches SUBNET: the robot file expects LOCALHOST' in text
