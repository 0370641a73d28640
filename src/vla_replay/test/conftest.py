"""One recorded drive for all tests that play one."""

from pathlib import Path

import pytest

from vla_cli.graph import use_profile

# Now: any test of this run may make the first participant of the process.
use_profile()


@pytest.fixture(scope='session')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short live drive of the shipped policy."""
    from vla_replay.demo_drive import record_drive

    folder = tmp_path_factory.mktemp('drive') / 'bag'
    record_drive(folder, (('go to the red box', 3.0), ('turn left', 1.5)), seed=501169)
    return folder
