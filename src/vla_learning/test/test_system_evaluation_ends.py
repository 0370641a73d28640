"""Whoever ends an evaluation ends its graphs, too."""

import os
import signal
import sys
import time

import psutil
import pytest


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_workers_and_their_graphs(tmp_path, number):
    settings = {'EPISODES': '50', 'JOBS': '1', 'CATEGORIES': 'go_to', 'POLICY': 'scripted'}
    command = [sys.executable, '-m', 'vla_learning.evaluation']
    process = psutil.Popen(command, cwd=tmp_path, env=os.environ | settings)
    below: list[psutil.Process] = []
    end = time.monotonic() + 60.0
    try:
        while not any(one.name() == 'gate' for one in below):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.5)
            below = process.children(recursive=True)
        process.send_signal(number)
        assert process.wait(30.0) != 0
        _, left = psutil.wait_procs(below, 30.0)
        assert not left
    finally:
        for one in (*below, process):
            if one.is_running():
                one.kill()
