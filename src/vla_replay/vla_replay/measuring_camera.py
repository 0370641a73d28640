"""A recorded camera, from stamp to command: our graph, the seed's way and a peer's node, in turns.

Every contender meets the same frames, alone on the machine but for the camera, and computes its
command with the same network.
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib.util
import json
from pathlib import Path
import tempfile

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from vla_cli.bench.child import printed
from vla_cli.bench.measurements import Measurement, Setting
from vla_cli.bench.report import in_turns, RATIO, Row
from vla_core.errors import ConfigError
from vla_core.image import decode_raw
from vla_core.manifest import load_manifest
from vla_core.policy import policy_names
from vla_replay.bag.reader import BagReader
from vla_replay.demo_drive import record_drive
from vla_replay.rivals import peer
from vla_replay.rivals.trial import CAMERA, command
from vla_ros.files import checkpoint_path

#: Layout and instruction of the drive whose frames are shown, and s of it.
_SEED, _TEXT, _DRIVE = 501169, 'go to the red box', 4.0
_PICTURES = 64
#: Turns of each contender: a ratio comes with the smallest and the largest of its turns.
_TURNS = 3
#: Of the seed's way, with the same network on the same frames, that ours may take.
_SEED_SHARE = 0.1
#: Hz at which the peer is asked to poll, beside its own 5.
_PEER_RATE = 30.0


def replayed_camera(setting: Setting, frames: int) -> list[Row]:
    """Measure every contender on so many frames, in turns.

    Raises:
        ConfigError: if the policy is a built-in one, or the peer's checkout cannot be used.
        VlaError: if a contender does not act.
    """
    if setting.policy in policy_names():
        raise ConfigError(f'POLICY {setting.policy}: replayed_camera needs a checkpoint')
    folder = checkpoint_path(setting.policy).resolve()
    contenders = {'ours': ('ours', setting.policy)}
    if importlib.util.find_spec('torch'):
        contenders['seed_way'] = ('seed_way', str(_network(folder)))
    environment: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix='vla_rivals_') as scratch:
        if setting.peer is not None:
            environment = peer.prepare(setting.peer, folder, Path(scratch) / 'peer')
            contenders['peer'] = ('peer', '')
            contenders[f'peer at {_PEER_RATE:g} Hz'] = ('peer', str(_PEER_RATE))
        pictures = Path(scratch) / 'pictures.npy'
        np.save(pictures, _recorded(Path(scratch) / 'drive', setting.policy))
        turns: dict[str, list[list[float]]] = {name: [] for name in contenders}
        each = max(1, frames // _TURNS)
        for _ in range(_TURNS):
            for name, (kind, what) in contenders.items():
                log = setting.folder / f'replayed_{kind}.log'
                extra = environment if kind == 'peer' else {}
                trial = command(kind, pictures, each, what, log)
                samples = printed(trial, f'replayed camera, {name}', extra).splitlines()[-1]
                turns[name].append(json.loads(samples))
    return rows(turns)


def _network(folder: Path) -> Path:
    """Return the checkpoint whose network a folder runs, itself or what it was optimised from."""
    reference = load_manifest(folder).parity.get('reference')
    return (folder / reference['path']).resolve() if reference else folder


def rows(turns: Mapping[str, list[list[float]]]) -> list[Row]:
    """Return a row for each contender; ours is compared with each other one, turn by turn.

    Args:
        turns: contender -> its turns, ms; `ours` is among them.
    """
    against, notes = in_turns(turns)
    limits = {'p50': 15.0, 'p99': 40.0, f'{RATIO}seed_way': _SEED_SHARE}
    return [
        Row('replayed_camera_to_cmd_vel', 'ms', _all(turns['ours']), against, notes, limits),
        *(
            Row(f'replayed_camera_{name.replace(" ", "_")}', 'ms', _all(found))
            for name, found in turns.items()
            if name != 'ours'
        ),
    ]


def _all(turns: list[list[float]]) -> list[float]:
    return [sample for one in turns for sample in one]


def _recorded(folder: Path, policy: str) -> np.ndarray:
    """Drive, and return pictures of the drive, evenly spread: uint8 [N, height, width, 3]."""
    record_drive(folder, ((_TEXT, _DRIVE),), _SEED, policy, CAMERA)
    with BagReader(folder) as bag:
        frames = [
            deserialize_message(message.data, Image) for message in bag.messages({f'/{CAMERA}'})
        ]
    chosen = np.linspace(0, len(frames) - 1, min(_PICTURES, len(frames))).astype(int)
    return np.stack(
        [
            decode_raw(one.data, one.encoding, one.width, one.height, one.step)
            for one in (frames[place] for place in chosen)
        ]
    )


def measurements() -> tuple[Measurement, ...]:
    """Return what can be measured here."""
    return (
        Measurement('replayed_camera', 'frames of each contender', 300, 3000, replayed_camera),
    )
