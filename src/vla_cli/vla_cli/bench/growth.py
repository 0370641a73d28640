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
import psutil

from vla_cli.bench.graphs import NODES, TURN
from vla_cli.bench.learning import rows_of
from vla_cli.bench.load import class_of
from vla_cli.bench.parts import timed
from vla_cli.bench.report import Row
from vla_cli.graph import Graph, GraphError
from vla_cli.live import LiveGraph
from vla_core.envelope_guard import ObservationGuard
from vla_core.execution import Execution
from vla_core.gate.causes import State
from vla_core.gate.core import Gate
from vla_core.gate.messages import Beat, Chunk, Inputs, Odom, Request
from vla_core.policy import native_spec
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
from vla_ros.conversion import to_ns
from vla_ros.domains import own_domain
from vla_ros.files import robot_path

CAMERAS = (1, 2, 4)
#: px, width and height of a policy's picture.
PIXELS = (224, 448)
#: Steps of 0.1 s that a policy answers with.
HORIZONS = (1, 10, 50)
ROBOTS = (1, 2, 4)
_PERIOD = 0.02
_CHUNK_EVERY = 2
#: Steps until the gate is armed and the robot drives, and those in which a person arms.
_DRIVING, _ARMED = 300, (220, 240, 260)
_SETTLE = 2.0
#: s in which so many robots have to give what was asked of them, per frame at 30 Hz.
_SLOWEST = 10.0


def growth(policy: str, count: int, folder: Path) -> list[Row]:
    """Measure everything that can grow; rows end in the number that grew.

    Args:
        policy: drives the robots.
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
    answer = np.zeros((horizon, len(spec.action_names)))
    answer[:, 0] = 0.3
    spliced: list[float] = []
    stepped: list[float] = []
    step = 0
    while len(stepped) < count:
        now = step * _PERIOD
        messages: list[Odom | Beat | Chunk] = [Odom((0.0,) * 6, now)]
        messages.append(Beat('policy', now, policy_run=1))
        if step % _CHUNK_EVERY == 0:
            stamp_ns = round(now * 1e9)
            began = time.perf_counter()
            start_ns, rows = execution.follow(execution.velocities(answer), stamp_ns, stamp_ns)
            spliced.append(1e3 * (time.perf_counter() - began))
            chunk = _chunk(step + 1, stamp_ns, start_ns, rows)
            messages.append(Chunk(chunk, now, now, now))
        request = Request.ARM if step in _ARMED else None
        inputs = Inputs(wall=now, messages=tuple(messages), request=request, writers=1)
        began = time.perf_counter()
        result = gate.step(now, inputs)
        if step >= _DRIVING:
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
            drives = list(threads.map(lambda live: drive(live, frames), lives))
        scheduling = class_of(lives[0].process('gate').pid)
    latencies = [sample for one in drives for sample in one.latencies]
    late = [sample for one in drives for sample in one.late]
    cpu = {
        f'{name}, % CPU each': round(statistics.mean(one.cpu[name] for one in drives))
        for name in NODES
    }
    rate = statistics.mean(one.rate for one in drives)
    notes = {'frames per s of each': round(rate, 1), **cpu}
    rows = (('camera_to_cmd_vel', latencies), ('gate_late', late))
    return [
        Row(f'growth_robots_{robots}_{name}', 'ms', samples, notes=notes, scheduling=scheduling)
        for name, samples in rows
    ]


class Drive:
    """What one of several robots did.

    Attributes:
        latencies: ms from a frame's stamp to the first command from it.
        late: ms by which each step of the gate came later than 20 ms after the one before; a chunk
            makes it step earlier.
        rate: frames per s.
        cpu: % of a core, by process.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.rate = 0.0
        self.cpu: dict[str, float] = {}


def drive(live: LiveGraph, frames: int) -> Drive:
    """Turn until so many frames have led to a command.

    Raises:
        GraphError: if that takes ten times as long as it should.
    """
    result, known = Drive(), set[int]()
    processes = {name: live.process(name) for name in NODES}
    live.say('turn left')
    live.spin(_SETTLE)
    live.forget()
    began, sent = time.monotonic(), live.heartbeats['sim'].progress
    before = {name: _cpu(process) for name, process in processes.items()}
    said = began
    while len(result.latencies) < frames:
        now = time.monotonic()
        if now - began > _SLOWEST * (_SETTLE + frames / 30.0):
            state, reasons = State(live.state.state).name, list(live.state.blockers)
            raise GraphError(
                f'{len(result.latencies)} of {frames} frames obeyed; gate {state}, {reasons}'
            )
        if now - said >= TURN:
            live.say('turn left')
            said = now
        live.spin(0.5)
        live.graph.check()
        for decision in live.decisions:
            observed = to_ns(decision.observation_stamp)
            result.late.append(1e3 * max(0.0, decision.dt - _PERIOD))
            if decision.chunk_status == Status.RUNNING and observed not in known:
                known.add(observed)
                result.latencies.append((to_ns(decision.header.stamp) - observed) * 1e-6)
        live.forget()
    wall = time.monotonic() - began
    result.rate = (live.heartbeats['sim'].progress - sent) / wall
    result.cpu = {
        name: 100.0 * (_cpu(process) - before[name]) / wall for name, process in processes.items()
    }
    return result


def _chunk(sequence: int, observed_ns: int, start_ns: int, rows: np.ndarray) -> ActionChunk:
    return ActionChunk(
        stamp_ns=start_ns,
        observation_stamp_ns=observed_ns,
        step_dt=_PERIOD,
        sequence=sequence,
        names=NATIVE_AXES,
        units=NATIVE_UNITS,
        data=rows,
        status=Status.RUNNING,
        policy_run=1,
        instruction_id=1,
        inference_seconds=0.005,
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
