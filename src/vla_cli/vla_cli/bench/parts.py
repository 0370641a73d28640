"""Single parts, timed in this process: a step of the gate, a picture, a record, an inference."""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
import itertools
import math
from pathlib import Path
import random
import time
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image

from vla_cli.bench import gemm
from vla_cli.bench.gate_world import ahead, chunk, CHUNK_EVERY, DRIVING, inputs, PERIOD, sent
from vla_cli.bench.limits import copy_row
from vla_cli.bench.report import in_turns, Row
from vla_cli.bench.work import Work, work_of
from vla_core.envelope_guard import ObservationGuard
from vla_core.errors import ActionRejected
from vla_core.gate.core import Gate
from vla_core.gate.limits import approach, Limits, ZERO
from vla_core.gate.messages import Chunk, Rejected
from vla_core.graph_health import GraphHealth, MonitorConfig
from vla_core.manifest import load_manifest
from vla_core.policy import create_policy, policy_names
from vla_core.preprocess import resize
from vla_core.robot import load_robot
from vla_core.types import (
    ActionChunk,
    CameraSlot,
    Language,
    NATIVE_AXES,
    Observation,
)
from vla_interfaces.msg import ActionChunk as ActionChunkMsg
from vla_ros.conversion import chunk_from_msg, chunk_to_msg
from vla_ros.files import checkpoint_path, find_spec, robot_path

_WARM_UP = 20
#: Of a chunk, as the policy node sends it: no frame may be older than 0.6 s.
_ROWS = 31
_BAD_EVERY = 5
_INSTRUCTION = 'go to the red box'
#: Products of matrices, and copies, the best of which is the limit.
_PRODUCTS = 20
#: In which two ways of doing the same are timed, so that a disturbance meets both.
_TURNS = 10
#: ms for a frame of the shipped policy, which runs on one core.
_DEMO_FRAME = 4.0


def gate_step(count: int) -> Row:
    """Step the gate of the simulated robot in mid-drive, at 50 Hz with chunks at 25 Hz."""
    gate = Gate(load_robot(robot_path('sim')))
    samples = []
    for step in range(count + DRIVING):
        now = step * PERIOD
        chunks = [sent(_chunk(step, now), now)] if step % CHUNK_EVERY == 0 else []
        world = inputs(step, now, chunks)
        began = time.perf_counter()
        result = gate.step(now, world)
        if step >= DRIVING:
            samples.append(1e3 * (time.perf_counter() - began))
    notes = {'state': result.state.name}
    return Row('gate_step', 'ms', samples, notes=notes, limits={'p99': 0.3})


def invalid_chunk_to_zero(count: int) -> Row:
    """Send invalid chunks to a gate in mid-drive, each among good ones, from message to command.

    A violation is an invalid chunk in whose own step the target was not zero, or the robot did
    not brake towards it as hard as its file allows.
    """
    robot = load_robot(robot_path('sim'))
    gate, limits = Gate(robot), Limits.of(robot)
    chance = random.Random(count)
    samples: list[float] = []
    kinds: Counter[str] = Counter()
    published = ZERO
    for step in itertools.count():
        now = step * PERIOD
        bad = step >= DRIVING and step % _BAD_EVERY == 0
        message: Chunk | Rejected = sent(_chunk(step, now), now)
        if bad:
            kind = chance.choice(list(_SPOILED))
            kinds[kind] += 1
            message = _received(_SPOILED[kind](chunk_to_msg(message.chunk)), now)
        result = gate.step(now, inputs(step, now, [message]))
        if bad:
            braked = approach(published, ZERO, limits, result.dt)
            samples.append(float(any(result.wanted) or result.published != braked))
        if len(samples) == count:
            break
        published = result.published
    notes = {'of these': ', '.join(f'{number} {kind}' for kind, number in kinds.items())}
    return Row('invalid_chunk_to_zero', 'violations', samples, notes=notes, limits={'max': 0.0})


def preprocess(count: int) -> Row:
    """Bring 640x480 to 224x224, in turns with the seed's way: bilinear, through PIL and back."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    slot = CameraSlot('front', 224, 224, 'stretch')

    def seed_way() -> np.ndarray:
        small = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
        return np.array(small)

    turns = _timed_in_turns({'ours': lambda: resize(image, slot), 'seed_way': seed_way}, count)
    against, notes = in_turns(turns)
    samples = list(itertools.chain(*turns['ours']))
    return Row('preprocess', 'ms', samples, against, notes, limits={'p50': 2.0})


def monitor_record(count: int) -> list[Row]:
    """Let the monitor note so many chunks of the demo's policy, with decisions between them.

    Each kind has its row: a decision costs a twentieth of a chunk, and what half of the samples of
    a common row are is no figure of the other half.
    """
    spec = replace(find_spec('demo'), model_sha256='')
    health = GraphHealth(MonitorConfig(robot='sim'), spec)
    chunks, decisions = [], []
    answer = ahead(spec.horizon)
    for step in range(count * CHUNK_EVERY):
        now = step * PERIOD
        one = replace(_chunk(step, now), predicted=answer)
        began = time.perf_counter()
        health.hops.decision(one.observation_stamp_ns, now, 0.02)
        decided = time.perf_counter()
        decisions.append(1e6 * (decided - began))
        if step % CHUNK_EVERY == 0:
            health.chunk(one, now)
            chunks.append(1e6 * (time.perf_counter() - decided))
    return [
        Row('monitor_record_chunk', 'µs', chunks, limits={'p50': 20.0}),
        Row('monitor_record_decision', 'µs', decisions),
    ]


def observation_record(count: int) -> Row:
    """Hold one picture and the odometry against what the demo's policy was trained on."""
    spec = find_spec('demo')
    guard = ObservationGuard(spec)
    seen = Observation({slot.name: _picture(slot) for slot in spec.cameras}, 0)
    moving = {'odom.v': 0.3, 'odom.w': 0.1}
    samples = timed(lambda: guard.record(seen, moving), count)
    return Row(
        'observation_record', 'µs', [1e3 * sample for sample in samples], limits={'p50': 200.0}
    )


@runtime_checkable
class GraphPolicy(Protocol):
    """A policy that runs every frame through one ONNX graph."""

    def frame_graph(
        self, observation: Observation, language: Language
    ) -> tuple[Path, dict[str, np.ndarray]]:
        """Return the graph's file, and what it is fed."""
        ...


def inference(name: str, count: int) -> Row:
    """Infer one frame; the instruction is encoded once.

    Beside it stands how much of this machine's best that is, where the work is known. Only the
    shipped policy has a limit.
    """
    folder = None if name in policy_names() else checkpoint_path(name)
    manifest = load_manifest(folder) if folder else None
    policy = create_policy(manifest.policy if manifest else name, folder, 'cpu')
    spec = policy.spec
    images = {slot.name: _picture(slot) for slot in spec.cameras}
    state = np.zeros(len(spec.state_names))
    observation = Observation(images, 0, state, spec.state_names)
    began = time.perf_counter()
    language = policy.encode(_INSTRUCTION)
    encoding = 1e3 * (time.perf_counter() - began)
    samples = timed(lambda: policy.infer(observation, language), count)
    policy.close()
    notes: dict[str, object] = {
        'policy': spec.model_id,
        'first encoding ms': round(encoding, 1),
    }
    if isinstance(policy, GraphPolicy):
        work = work_of(*policy.frame_graph(observation, language))
        notes |= _bounds(work, samples, manifest.runtime.threads if manifest else 1)
    limits = {'p50': _DEMO_FRAME} if name == 'demo' else {}
    return Row('inference', 'ms', samples, notes=notes, limits=limits)


def _bounds(work: Work, samples: list[float], threads: int) -> dict[str, object]:
    """Hold a frame and its times, ms, against products of large matrices and a copy of memory."""
    best = max(gemm.throughput(threads, _PRODUCTS))
    copied = max(copy_row(_PRODUCTS).samples)
    bounds = {
        'products': 1e-6 * work.operations / best,
        'memory': 1e-6 * (work.weights + work.activations) / copied,
    }
    share = bounds['products'] / float(np.median(samples))
    return {
        'work of a frame, MFLOP': round(1e-6 * work.operations, 1),
        'limit, GFLOP/s': round(best, 1),
        'share of the limit': round(share, 3),
        'weights of a frame, MB': round(1e-6 * work.weights, 2),
        'activations of a frame, MB': round(1e-6 * work.activations, 2),
        'limit of a copy, GB/s': round(copied, 1),
        **{f'bound by {what}, ms': round(bound, 3) for what, bound in bounds.items()},
        'larger bound': max(bounds, key=lambda what: bounds[what]),
    }


def _picture(slot: CameraSlot) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (slot.height, slot.width, 3), np.uint8)


def timed(work: Callable[[], object], count: int) -> list[float]:
    """Return the ms that each of so many calls took, after some that warm up."""
    for _ in range(_WARM_UP):
        work()
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        samples.append(1e3 * (time.perf_counter() - began))
    return samples


def _timed_in_turns(
    ways: Mapping[str, Callable[[], object]], count: int
) -> dict[str, list[list[float]]]:
    """Return for each way the ms of its calls, turn by turn, so many in all."""
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    for turn in range(min(_TURNS, count)):
        # As even as it comes out: 25 calls in 10 turns are five times 3 and five times 2.
        calls = len(range(turn, count, _TURNS))
        for name, work in ways.items():
            found[name].append(timed(work, calls))
    return found


def _received(msg: ActionChunkMsg, now: float) -> Chunk | Rejected:
    """Convert a message as the gate's node does."""
    try:
        return sent(chunk_from_msg(msg), now)
    except ActionRejected as error:
        return Rejected('chunk', str(error))


def _with(**fields: object) -> Callable[[ActionChunkMsg], ActionChunkMsg]:
    def change(msg: ActionChunkMsg) -> ActionChunkMsg:
        for name, value in fields.items():
            setattr(msg, name, value)
        return msg

    return change


def _with_number(value: float) -> Callable[[ActionChunkMsg], ActionChunkMsg]:
    def change(msg: ActionChunkMsg) -> ActionChunkMsg:
        msg.data[-len(NATIVE_AXES)] = value
        return msg

    return change


#: What is wrong -> how a message comes to it.
_SPOILED = {
    'NaN': _with_number(math.nan),
    'infinite': _with_number(-math.inf),
    'over range': _with_number(11.0),
    'too wide': _with(data=array.array('d', [0.1] * (_ROWS * (len(NATIVE_AXES) + 1)))),
    'too narrow': _with(names=list(NATIVE_AXES[:-1])),
    'of no step': _with(horizon=0),
}


def _chunk(step: int, now: float) -> ActionChunk:
    return chunk(step, now, ahead(_ROWS))
