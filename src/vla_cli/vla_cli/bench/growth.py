"""How cost grows with cameras, pixels, horizon and robots, and where this machine stops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
import importlib.util
from pathlib import Path
import statistics
import time

import numpy as np

from vla_cli.bench.gate_world import ahead, chunk, CHUNK_EVERY, DRIVING, inputs, PERIOD, sent
from vla_cli.bench.learning import rows_of
from vla_cli.bench.load import class_of
from vla_cli.bench.parts import timed
from vla_cli.bench.report import Row
from vla_cli.bench.turning import NODES, turn
from vla_cli.graph import Graph, GraphError
from vla_cli.live import LiveGraph
from vla_core.envelope_guard import ObservationGuard
from vla_core.execution import Execution
from vla_core.gate.core import Gate
from vla_core.policy import native_spec
from vla_core.preprocess import resize
from vla_core.robot import load_robot
from vla_core.types import (
    CameraSlot,
    Observation,
)
from vla_ros.domains import own_domain
from vla_ros.files import robot_path

CAMERAS = (1, 2, 4)
#: px, width and height of a policy's picture.
PIXELS = (224, 448)
#: Steps of 0.1 s that a policy answers with.
HORIZONS = (1, 10, 50)
ROBOTS = (1, 2, 4)


def growth(policy: str, count: int, folder: Path) -> list[Row]:
    """Measure everything that can grow; rows end in the number that grew.

    Args:
        policy: turns the robots.
        count: frames of every robot, and of everything else.
        folder: for what the graphs say.
    """
    rows = [camera_row(number, count) for number in CAMERAS]
    rows += [pixel_row(number, count) for number in PIXELS]
    rows += inference_rows(count)
    for number in HORIZONS:
        rows += horizon_rows(number, count)
    for number in ROBOTS:
        try:
            rows += robot_rows(number, policy, count, folder)
        except GraphError as error:
            # Where it stops is what was asked, not a failure to measure it.
            rows += [Row(f'growth_robots_{number}', 'ms', [], notes={'stops here': str(error)})]
            break
    return rows


def camera_row(cameras: int, count: int) -> Row:
    """Bring a 640x480 picture of each camera to the demo's slot and hold all against training.

    The policies here look through one camera; so this is what the camera nodes and the policy
    node do about each further one, without a network.
    """
    spec = native_spec('growth')
    (front,) = spec.cameras
    slots = tuple(replace(front, name=f'camera_{number}') for number in range(cameras))
    guard = ObservationGuard(replace(spec, cameras=slots))
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)

    def see() -> None:
        images = {slot.name: resize(frame, slot) for slot in slots}
        guard.record(Observation(images, 0), {})

    return Row(f'growth_cameras_{cameras}', 'ms', timed(see, count))


def pixel_row(pixels: int, count: int) -> Row:
    """Bring 640x480 to a square of so many pixels."""
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    slot = CameraSlot('front', pixels, pixels, 'stretch')
    samples = timed(lambda: resize(frame, slot), count)
    return Row(f'growth_pixels_{pixels}_preprocess', 'ms', samples)


def inference_rows(count: int) -> list[Row]:
    """Run the compact network, exported at each size with random weights; empty without torch."""
    if not importlib.util.find_spec('torch'):
        missing = {'left out': 'torch is missing (make setup-train)'}
        return [Row(f'growth_pixels_{n}_inference', 'ms', [], notes=missing) for n in PIXELS]
    sizes = [str(number) for number in PIXELS]
    return rows_of('vla_learning.benchmark.pixels', str(count), *sizes)


def horizon_rows(horizon: int, count: int) -> list[Row]:
    """Bring chunks of so many steps to the gate's rate, and step the gate with what comes out."""
    robot = load_robot(robot_path('sim'))
    spec = replace(native_spec('growth'), horizon=horizon)
    execution, gate = Execution(spec, robot), Gate(robot)
    execution.begin()
    answer = ahead(horizon)
    spliced: list[float] = []
    stepped: list[float] = []
    step = 0
    while len(stepped) < count:
        now = step * PERIOD
        chunks = []
        if step % CHUNK_EVERY == 0:
            stamp_ns = round(now * 1e9)
            began = time.perf_counter()
            start_ns, rows = execution.follow(execution.velocities(answer), stamp_ns, stamp_ns)
            spliced.append(1e3 * (time.perf_counter() - began))
            chunks = [sent(chunk(step, now, rows, start_ns), now)]
        world = inputs(step, now, chunks)
        began = time.perf_counter()
        result = gate.step(now, world)
        if step >= DRIVING:
            stepped.append(1e3 * (time.perf_counter() - began))
        step += 1
    notes = {'rows of the chunk': len(rows), 'state': result.state.name}
    return [
        Row(f'growth_horizon_{horizon}_execution', 'ms', spliced[-count:], notes=notes),
        Row(f'growth_horizon_{horizon}_gate_step', 'ms', stepped, notes=notes),
    ]


def robot_rows(robots: int, policy: str, frames: int, folder: Path) -> list[Row]:
    """Drive so many robots, each a whole graph in a namespace of its own, in one ROS domain.

    Raises:
        GraphError: if one of them does not come to drive, or not to its frames, in time.
    """
    with own_domain() as domain_id, ExitStack() as stack:
        lives = []
        for number in range(robots):
            name = f'robot_{number}'
            arguments = {'robot': 'sim', 'policy': policy, 'namespace': name}
            graph = Graph(domain_id, folder / f'growth_{name}.log', arguments)
            stack.callback(graph.close)
            live = LiveGraph(graph, domain_id, name)
            stack.callback(live.close)
            lives.append(live)
        with ThreadPoolExecutor(robots) as threads:
            list(threads.map(LiveGraph.until_active, lives))
            turns = list(threads.map(lambda live: turn(live, frames), lives))
        scheduling = class_of(lives[0].process('gate').pid)
    latencies = [sample for one in turns for sample in one.latencies.values()]
    late = [sample for one in turns for sample in one.late]
    cpu = {
        f'{name}, % CPU each': round(statistics.mean(one.cpu[name] for one in turns))
        for name in NODES
    }
    rate = statistics.mean(one.rate for one in turns)
    notes = {'frames per s of each': round(rate, 1), **cpu}
    rows = (('camera_to_cmd_vel', latencies), ('gate_late', late))
    return [
        Row(f'growth_robots_{robots}_{name}', 'ms', samples, notes=notes, scheduling=scheduling)
        for name, samples in rows
    ]
