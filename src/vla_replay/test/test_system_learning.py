"""From bags to a data set, a policy and its drive (docs/how-to/learn-from-drives.md), small."""

from pathlib import Path
import subprocess
import sys

import pytest

from vla_core.session import Fate
from vla_replay.bag.tools import trim
from vla_replay.conversion.dataset import to_dataset
from vla_replay.options import ToDataset
from vla_sim.arena import Arena
from vla_sim.graph import lockstep_graph
from vla_sim.layout import sample_layout

WORKSPACE = Path(__file__).resolve().parents[3]
BAG = Path(__file__).parent / 'data' / 'red_ball'
TEXT = 'go to the red ball'


def test_a_drive_becomes_a_policy_that_drives(tmp_path: Path):
    pytest.importorskip('torch')
    from vla_learning.evaluation.episodes import make_ready

    pieces = [tmp_path / f'piece{number}' for number in range(3)]
    for number, piece in enumerate(pieces):
        trim(BAG, piece, 1.0 + number, 2.0 + number, None)
    data = tmp_path / 'data'
    options = ToDataset(data, tuple(pieces), actions='cmd_vel', instruction=TEXT)
    tally = to_dataset(options, print)
    # The first frame of a piece was taken before the first command and odometry in it.
    assert tally.episodes == 3
    assert set(tally.left_out.values()) <= {3}
    assert tally.frames >= 24
    recipe = WORKSPACE / 'src/vla_learning/experiments/json.yaml'
    run = tmp_path / 'run'
    start = 'import sys; from vla_learning.cli import main; sys.exit(main())'
    command = [sys.executable, '-c', start, 'train', str(recipe)]
    command += ['--data.path', str(data), '--run', str(run), '--train.epochs', '1']
    trained = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert trained.returncode == 0, trained.stderr[-2000:]
    arena = Arena()
    try:
        with lockstep_graph(arena, str(run / 'last'), tmp_path / 'graph.log') as driver:
            driver.reset(sample_layout(500_115))
            make_ready(driver)
            number = driver.say(TEXT)
            driver.tick(50)
            assert driver.status(number) == Fate.RUNNING
            assert driver.decision.instruction_id == number
    finally:
        arena.close()
