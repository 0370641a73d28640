import numpy as np
import pytest

torch = pytest.importorskip('torch')

from vla_core.errors import CheckpointError  # noqa: E402
from vla_core.manifest import load_manifest  # noqa: E402
from vla_core.types import Intent, Observation  # noqa: E402
from vla_inference.onnx_policy import OnnxPolicy  # noqa: E402
from vla_learning.cli import main  # noqa: E402
from vla_learning.training.state import STATE_FILE  # noqa: E402


def test_whole_path_gives_a_checkpoint_that_loads_and_runs(tmp_path):
    run, checkpoint = tmp_path / 'run', tmp_path / 'demo'
    arguments = ['demo', '--smoke', '--run', str(run), '--checkpoint', str(checkpoint)]
    assert main(arguments) == 0
    manifest = load_manifest(checkpoint)
    assert manifest.policy == 'onnx'
    assert manifest.training['step'] == 4
    assert manifest.training['on_policy_frames'] > 0
    envelope = manifest.spec.envelope
    assert -0.5 < envelope.actions['linear.x'].min < 0.0 < envelope.actions['linear.x'].max < 0.6
    assert envelope.actions['linear.y'].max == 0.0
    assert 'frames of driving' in envelope.source
    assert envelope.images['front']['luminance'].count == 2000
    assert max(manifest.parity['largest_difference'].values()) <= manifest.parity['bound']
    policy = OnnxPolicy(checkpoint)
    language = policy.encode('go to the red box')
    assert language.intent in Intent
    image = np.zeros((96, 192, 3), np.uint8)
    assert policy.infer(Observation({'front': image}, 0), language).actions.shape == (8, 7)

    before = (run / STATE_FILE).stat().st_mtime_ns
    assert main(arguments) == 0
    assert (run / STATE_FILE).stat().st_mtime_ns >= before

    (checkpoint / 'policy.onnx').write_bytes(b'other')
    with pytest.raises(CheckpointError, match=r'policy\.onnx'):
        OnnxPolicy(checkpoint)


def test_seed_of_the_judging_range_is_refused(capsys, tmp_path):
    assert main(['choose', '--checkpoint', str(tmp_path), '--seed', '1000001']) == 1
    assert 'expected 500000 to 999999' in capsys.readouterr().err
