"""How each fault is done: broken on entry, mended on exit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
import signal
import subprocess
import time

from geometry_msgs.msg import Twist
import psutil
from std_msgs.msg import Bool, String

from vla_cli.faults import policy, spoiling
from vla_cli.faults.expectation import BACK_AND_ROUND, GROSS, TOO_FAST
from vla_cli.faults.intruder import Lie, Reading
from vla_cli.faults.processes import frozen, killed, unable_to_write
from vla_cli.faults.scene import Scene
from vla_interfaces.msg import ActionChunk
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.conversion import to_ns

#: Breaks something meanwhile; yields ROS time of the break, ns.
Break = AbstractContextManager[int]
Injector = Callable[[Scene], Break]

#: s beyond the age up to which a frame is of use.
_TOO_LATE = 0.4
_FLOOD_PERIOD = 0.05
_MEGABYTE = 1_000_000
_JUMP = 10_000_000_000
_WILD_JUMP = 1_000_000_000_000
#: s in which the monitor must have tried a file again, and that is longer than its own period.
_RETRIED = 15.0
#: s in which the recorder must write again; a killed one is started again after 2 s.
_WRITES_AGAIN = 20.0
#: s in which the end of the gate has to end the graph, SIGTERM and SIGKILL included.
_ENDED = 20.0
_PROCESSES = ('gate', 'policy', 'camera', 'monitor', 'base')


@contextmanager
def _process(scene: Scene, name: str, break_: Callable[..., Break]) -> Iterator[int]:
    with break_(scene.process(name)) as began:
        yield began


@contextmanager
def _without_monitor(scene: Scene, break_: Callable[..., Break]) -> Iterator[int]:
    with break_(scene.process('monitor')) as began:
        yield began
        if not any('monitor' in warning for warning in scene.live.state.warnings):
            scene.trouble.append('no warning of the gate that the monitor is silent')


@contextmanager
def _recorder(scene: Scene, break_: Callable[..., Break]) -> Iterator[int]:
    """Break the recorder once it writes; afterwards it must write again."""
    live = scene.live
    live.until(lambda: scene.recorded() > 0, 'the recorder writes')
    with break_(scene.process('recorder')) as began:
        yield began
        before = scene.recorded()
    end = time.monotonic() + _WRITES_AGAIN
    while scene.recorded() <= before and time.monotonic() < end:
        live.spin(0.5)
    if scene.recorded() <= before:
        scene.trouble.append(f'the recorder writes nothing {_WRITES_AGAIN:g} s afterwards')


@contextmanager
def _gate_killed(scene: Scene) -> Iterator[int]:
    with killed(scene.process('gate')) as began:
        yield began
        try:
            if not scene.live.graph.wait(_ENDED):
                scene.trouble.append('the graph ended with status 0: expected a failure')
        except subprocess.TimeoutExpired:
            scene.trouble.append(f'the graph still runs {_ENDED:g} s after its gate died')


@contextmanager
def _images(scene: Scene, make: Callable[[Scene], spoiling.Maker]) -> Iterator[int]:
    yield scene.relay.spoil(make(scene))
    scene.relay.spoil(None)


@contextmanager
def _odometry(scene: Scene, spoiler: spoiling.Spoiler) -> Iterator[int]:
    began = time.time_ns()
    scene.intruder.odometry = spoiler
    yield began
    scene.intruder.odometry = spoiling.pass_on


@contextmanager
def _chunks(scene: Scene, make: Callable[[ActionChunk], Lie]) -> Iterator[int]:
    """Kill the policy and speak in its name, until it is there again with new numbers."""
    true_one, false_one = scene.process('policy'), scene.intruder.policy
    lie = make(false_one.newest)
    with killed(true_one) as began:
        false_one.speak(lie)
        yield began
        false_one.fall_silent()


@contextmanager
def _told(scene: Scene, text: str) -> Iterator[int]:
    """Tell the policy `faulty` what to do wrong; afterwards it must start anew."""
    process, live = scene.process('policy'), scene.live
    # By the stamp of the policy itself: with its next frame it begins.
    told = live.records[live.say(text)]
    yield to_ns(told.header.stamp)
    with suppress(psutil.NoSuchProcess):
        process.kill()


@contextmanager
def _clock(scene: Scene, make: Callable[[int], Reading]) -> Iterator[int]:
    began = time.time_ns()
    right, scene.intruder.reading = scene.intruder.reading, make(began)
    yield began
    scene.intruder.reading = right


def _stopped(began: int) -> Reading:
    return lambda now_ns: None


def _shifted(shift: int) -> Callable[[int], Reading]:
    return lambda began: lambda now_ns: now_ns + shift


def _wild(began: int) -> Reading:
    """Return a clock that runs, jumps to the future and to the past, and stops."""

    def read(now_ns: int) -> int | None:
        quarter = (now_ns - began) // 250_000_000
        return {0: now_ns, 1: now_ns + _WILD_JUMP, 2: now_ns - _WILD_JUMP}.get(quarter)

    return read


@contextmanager
def _flooded(scene: Scene, flood: Break) -> Iterator[int]:
    before = [scene.process(name) for name in _PROCESSES]
    with flood as began:
        yield began
    dead = [
        name for name, process in zip(_PROCESSES, before, strict=True) if not process.is_running()
    ]
    if dead:
        scene.trouble.append(f'{", ".join(dead)} died: expected all to live')


@contextmanager
def _commands(scene: Scene) -> Iterator[int]:
    node = scene.intruder.node
    commands = node.create_publisher(String, 'command', qos.COMMAND)
    text = String(data='x' * _MEGABYTE)
    timer = node.create_timer(_FLOOD_PERIOD, lambda: commands.publish(text), clock=STEADY)
    yield time.time_ns()
    node.destroy_timer(timer)
    node.destroy_publisher(commands)


@contextmanager
def _second_writer(scene: Scene) -> Iterator[int]:
    node = scene.live.node
    began = time.time_ns()
    writer = node.create_publisher(Twist, 'cmd_vel', qos.VELOCITY)
    writer.publish(Twist())
    yield began
    node.destroy_publisher(writer)


@contextmanager
def _unplugged(scene: Scene) -> Iterator[int]:
    began = time.time_ns()
    scene.intruder.unplug()
    yield began
    scene.intruder.plug()


@contextmanager
def _disk_full(scene: Scene) -> Iterator[int]:
    """Let the black box fail, and be written once there is room again."""
    live, counts = scene.live, scene.black_box_counts
    live.until(lambda: bool(scene.black_box), 'the monitor reports its files')
    written, failed = counts()
    button = live.node.create_publisher(Bool, 'safety/estop', qos.ESTOP_LATCHED)
    live.until(lambda: button.get_subscription_count() > 0, 'the button is heard')
    with unable_to_write(scene.process('monitor')):
        began = time.time_ns()
        button.publish(Bool(data=True))
        yield began
        live.spin(1.5)
        if counts()[1] <= failed:
            scene.trouble.append('the monitor counts no failed file')
    button.publish(Bool(data=False))
    end = time.monotonic() + _RETRIED
    while counts()[0] <= written and time.monotonic() < end:
        live.spin(0.5)
    if counts()[0] <= written:
        scene.trouble.append(f'no black box {_RETRIED:g} s after the disk has room again')


def _always(spoiler: spoiling.Spoiler) -> Callable[[Scene], spoiling.Maker]:
    return lambda scene: partial(spoiling.always, spoiler)


def _told_to(text: str) -> Injector:
    return partial(_told, text=text)


INJECTORS: dict[str, Injector] = {
    'monitor-freeze': partial(_without_monitor, break_=frozen),
    'monitor-kill': partial(_without_monitor, break_=killed),
    'clock-foreign': partial(_clock, make=_wild),
    'flood-commands': lambda scene: _flooded(scene, _commands(scene)),
    'flood-odom': lambda scene: _flooded(scene, _odometry(scene, spoiling.ten_times)),
    'flood-images': lambda scene: _flooded(scene, _images(scene, _always(spoiling.ten_times))),
    'image-drop': partial(_images, make=_always(spoiling.drop)),
    'image-freeze': partial(_images, make=lambda scene: spoiling.freeze),
    'image-delay': partial(
        _images,
        make=lambda scene: partial(spoiling.delay, scene.robot.max_observation_age + _TOO_LATE),
    ),
    'image-corrupt': partial(_images, make=lambda scene: spoiling.corrupt),
    'image-black': partial(_images, make=_always(spoiling.blacken)),
    'odom-drop': partial(_odometry, spoiler=spoiling.drop),
    'odom-nan': partial(_odometry, spoiler=spoiling.without_number),
    'chunk-nan': partial(_chunks, make=lambda newest: spoiling.with_nan),
    'chunk-gross': partial(_chunks, make=lambda newest: spoiling.asking_for(GROSS)),
    'chunk-future': partial(_chunks, make=lambda newest: spoiling.due_in_an_hour),
    'chunk-replay': partial(_chunks, make=lambda newest: lambda chunk: newest),
    'chunk-over-range': partial(_chunks, make=lambda newest: spoiling.asking_for(TOO_FAST)),
    'chunk-jump': partial(
        _chunks,
        make=lambda newest: spoiling.asking_for(BACK_AND_ROUND),
    ),
    'chunk-end': partial(_chunks, make=lambda newest: lambda chunk: None),
    'policy-kill': partial(_process, name='policy', break_=killed),
    'policy-segv': partial(_process, name='policy', break_=partial(killed, number=signal.SIGSEGV)),
    'policy-freeze': partial(_process, name='policy', break_=frozen),
    'camera-freeze': partial(_process, name='camera', break_=frozen),
    'camera-kill': partial(_process, name='camera', break_=killed),
    'base-freeze': partial(_process, name='base', break_=frozen),
    'base-kill': partial(_process, name='base', break_=killed),
    'gate-freeze': partial(_process, name='gate', break_=frozen),
    'gate-kill': _gate_killed,
    'recorder-freeze': partial(_recorder, break_=frozen),
    'recorder-kill': partial(_recorder, break_=killed),
    'estop-unplugged': _unplugged,
    'second-writer': _second_writer,
    'disk-full': _disk_full,
    'policy-hold-interpreter': _told_to(policy.HOLD_INTERPRETER),
    'policy-sleep': _told_to(policy.NEVER_RETURN),
    'policy-raise': _told_to(policy.RAISE),
    'policy-nan': _told_to(policy.ANSWER_NAN),
    'policy-memory': _told_to(policy.EXHAUST_MEMORY),
    'sim-clock-stop': partial(_clock, make=_stopped),
    'sim-clock-back': partial(_clock, make=_shifted(-_JUMP)),
    'sim-clock-ahead': partial(_clock, make=_shifted(_JUMP)),
}
