"""Single parts, timed in this process: a step of the gate, a picture, a record, an inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time

import numpy as np
from PIL import Image

from vla_cli.bench.report import Row
from vla_core.envelope_guard import ObservationGuard
from vla_core.gate.core import Gate
from vla_core.gate.messages import Beat, Chunk, Inputs, Odom, Request
from vla_core.graph_health import GraphHealth, MonitorConfig
from vla_core.manifest import load_manifest
from vla_core.policy import create_policy, policy_names
from vla_core.preprocess import resize
from vla_core.robot import load_robot
from vla_core.types import (
    ActionChunk,
    CameraSlot,
    NATIVE_AXES,
    NATIVE_UNITS,
    Observation,
    Status,
)
from vla_ros.files import checkpoint_path, find_spec, robot_path

_WARM_UP = 20
_PERIOD = 0.02
_CHUNK_EVERY = 2
_INSTRUCTION = 'go to the red box'


def parts(policy: str) -> list[Row]:
    """Measure every part."""
    return [gate_step(), preprocess(), monitor_record(), observation_record(), inference(policy)]


def gate_step(count: int = 20_000) -> Row:
    """Step the gate of the simulated robot in mid-drive, at 50 Hz with chunks at 25 Hz."""
    gate = Gate(load_robot(robot_path('sim')))
    samples = []
    for step in range(count + 300):
        now = step * _PERIOD
        messages: list[Beat | Odom | Chunk] = [Odom((0.0,) * 6, now)]
        messages.append(Beat('policy', now, policy_run=1))
        if step % _CHUNK_EVERY == 0:
            messages.append(Chunk(_chunk(step, now), now, now, now))
        request = Request.ARM if step in (220, 240, 260) else None
        inputs = Inputs(wall=now, messages=tuple(messages), request=request, writers=1)
        began = time.perf_counter()
        result = gate.step(now, inputs)
        if step >= 300:
            samples.append(1e3 * (time.perf_counter() - began))
    return Row('gate_step', 'ms', samples, notes={'state': result.state.name})


def preprocess(count: int = 500) -> Row:
    """Bring 640x480 to 224x224; the seed's way is bilinear, through a PIL image and back."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    slot = CameraSlot('front', 224, 224, 'stretch')

    def seed_way() -> np.ndarray:
        small = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
        return np.array(small)

    ours, theirs = _timed(lambda: resize(image, slot), count), _timed(seed_way, count)
    ratio = float(np.median(ours) / np.median(theirs))
    return Row('preprocess', 'ms', ours, {'seed_way': ratio})


def monitor_record(count: int = 20_000) -> Row:
    """Let the monitor note a decision and, every second time, a chunk of the demo's policy."""
    spec = replace(find_spec('demo'), model_sha256='')
    health = GraphHealth(MonitorConfig(robot='sim'), spec)
    samples = []
    for step in range(count):
        now = step * _PERIOD
        chunk = _chunk(step, now)
        began = time.perf_counter()
        health.hops.decision(chunk.observation_stamp_ns, now, 0.02)
        if step % _CHUNK_EVERY == 0:
            health.chunk(chunk, now)
        samples.append(1e6 * (time.perf_counter() - began))
    return Row('monitor_record', 'µs', samples)


def observation_record(count: int = 5_000) -> Row:
    """Hold one picture and the odometry against what the demo's policy was trained on."""
    spec = find_spec('demo')
    guard = ObservationGuard(spec)
    seen = Observation({slot.name: _picture(slot) for slot in spec.cameras}, 0)
    moving = {'odom.v': 0.3, 'odom.w': 0.1}
    samples = _timed(lambda: guard.record(seen, moving), count)
    return Row('observation_record', 'µs', [1e3 * sample for sample in samples])


def inference(name: str, count: int = 300) -> Row:
    """Infer one frame; the instruction is encoded once."""
    folder = None if name in policy_names() else checkpoint_path(name)
    entry = load_manifest(folder).policy if folder else name
    policy = create_policy(entry, folder, 'cpu')
    spec = policy.spec
    images = {slot.name: _picture(slot) for slot in spec.cameras}
    state = np.zeros(len(spec.state_names))
    observation = Observation(images, 0, state, spec.state_names)
    began = time.perf_counter()
    language = policy.encode(_INSTRUCTION)
    encoding = 1e3 * (time.perf_counter() - began)
    samples = _timed(lambda: policy.infer(observation, language), count)
    policy.close()
    notes = {'policy': spec.model_id, 'first encoding ms': round(encoding, 1)}
    return Row('inference', 'ms', samples, notes=notes)


def _picture(slot: CameraSlot) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (slot.height, slot.width, 3), np.uint8)


def _timed(work: Callable[[], object], count: int) -> list[float]:
    for _ in range(_WARM_UP):
        work()
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        samples.append(1e3 * (time.perf_counter() - began))
    return samples


def _chunk(step: int, now: float) -> ActionChunk:
    stamp_ns = round(now * 1e9)
    data = np.zeros((8, len(NATIVE_AXES)))
    data[:, 0] = 0.3
    return ActionChunk(
        stamp_ns=stamp_ns,
        observation_stamp_ns=stamp_ns,
        step_dt=0.1,
        sequence=step + 1,
        names=NATIVE_AXES,
        units=NATIVE_UNITS,
        data=data,
        status=Status.RUNNING,
        policy_run=1,
        instruction_id=1,
        inference_seconds=0.005,
    )
