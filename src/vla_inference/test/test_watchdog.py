"""A process whose interpreter is held ends; one that is fed, or closed, does not."""

import subprocess
import sys

import pytest

from vla_inference import watchdog

#: ctypes.PyDLL calls without releasing the interpreter, as a careless native policy does.
SCRIPT = """
import ctypes, threading, time
from vla_inference.watchdog import Watchdog
watchdog = Watchdog(0.5)
def hold(seconds):
    ctypes.PyDLL(None).sleep(seconds)
"""
HELD = SCRIPT + 'watchdog.feed(); hold(30)'
HELD_BY_ANOTHER_THREAD = (
    SCRIPT
    + """
threading.Timer(0.2, hold, [30]).start()
while True:
    watchdog.feed()
    time.sleep(0.05)
"""
)
CLOSED = SCRIPT + 'watchdog.feed(); watchdog.close(); hold(1)'


def _run(script):
    return subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=25, check=False
    )


@pytest.mark.parametrize('script', [HELD, HELD_BY_ANOTHER_THREAD], ids=['main', 'another'])
def test_held_interpreter_ends_the_process_and_shows_where(script):
    done = _run(script)
    assert done.returncode == 1
    assert 'Timeout' in done.stderr
    assert 'in hold' in done.stderr


def test_process_that_loads_or_ends_may_take_its_time():
    done = _run(CLOSED)
    assert (done.returncode, done.stderr) == (0, '')


def test_food_starts_the_time_afresh_but_not_at_every_call(monkeypatch):
    calls = []
    now = [100.0]
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(
        watchdog.faulthandler,
        'dump_traceback_later',
        lambda timeout, **options: calls.append((timeout, options)),
    )
    fed = watchdog.Watchdog(4.0)
    for _ in range(41):
        fed.feed()
        now[0] += 0.1
    assert calls == [(4.0, {'exit': True})] * len(calls)
    assert 6 <= len(calls) <= 9
