"""The command `vla`: only the subcommand that needs ROS imports it, so `vla --help` is quick."""

from __future__ import annotations

from collections.abc import Callable
import errno
from importlib.metadata import entry_points
from io import TextIOWrapper
from pathlib import Path
import select
import signal
import sys
from typing import Annotated

import tyro

from vla_cli.faults.options import List, Run
from vla_cli.telling import silence, tell
from vla_core.errors import VlaError

Text = tyro.conf.Positional[tuple[str, ...]]
Only = Annotated[tuple[str, ...], tyro.conf.arg(metavar='NAME[=N] ...')]
Namespace = Annotated[str, tyro.conf.arg(help='namespace of the robot, as given to vla_up')]


def say(text: Text, *, deadline: float = 0.0, namespace: Namespace = '') -> int:
    """Give the robot an instruction and follow it to its end. Ctrl-C stops the robot.

    So do SIGTERM and a closed terminal. Exit status: 0 done, 130 after Ctrl-C, 143 after SIGTERM,
    129 after SIGHUP, else 1.

    Args:
        text: the instruction, with or without quotes.
        deadline: seconds after which the policy gives up; 0: the policy's own limit.
        namespace: namespace of the robot, as given to vla_up.
    """
    from vla_cli.say import say as follow

    return follow(' '.join(text), deadline, namespace)


def arm(*, namespace: Namespace = '') -> int:
    """Let the policy move the robot; prints what keeps the gate from it."""
    return _ask('arm', namespace)


def disarm(*, namespace: Namespace = '') -> int:
    """Stop the robot and take the policy's leave to move it."""
    return _ask('disarm', namespace)


def stop(*, namespace: Namespace = '') -> int:
    """Stop the robot until its next instruction, and wait until it is still."""
    from vla_cli.gate import stop as stop_robot

    return stop_robot(namespace)


def reset(*, namespace: Namespace = '') -> int:
    """Release a latched emergency stop. The robot stays disarmed."""
    return _ask('reset', namespace)


def estop(*, namespace: Namespace = '') -> int:
    """Stop the robot at once and latch the stop until `vla reset`."""
    return _ask('estop', namespace)


def top(*, namespace: Namespace = '') -> int:
    """Show nodes, rates, ages, latencies and velocities, live."""
    from vla_cli.top import show

    return show(namespace)


def doctor(*, checkpoint: str = 'demo') -> int:
    """Check what the robot needs on this machine; every line says what to do about it.

    Args:
        checkpoint: name or path of the checkpoint to verify.
    """
    from vla_cli.doctor import examine

    return examine(checkpoint)


def blackbox(file: tyro.conf.Positional[Path], /, *, output: Path | None = None) -> int:
    """Say and draw what the gate did in the seconds before an emergency stop.

    Args:
        file: a .jsonl file from the folder black_box in ROS's log folder.
        output: picture; beside the file by default.
    """
    from vla_cli.black_box import show as show_black_box

    return show_black_box(file, output)


def bench(
    what: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar='[compare OLD NEW | history [FOLDER] | growth [FILE]]'),
    ] = (),
    /,
    *,
    only: Only = (),
    long: bool = False,
    peer: Path | None = None,
    names: Annotated[bool, tyro.conf.arg(name='list')] = False,
    margin: float = 0.2,
    output: Path | None = None,
) -> int:
    """Measure latencies, stops and the gate on this machine; writes build/bench.json.

    Takes about ten minutes. POLICY in the environment says which policy drives.

    Args:
        what: nothing: measure. compare: two files that were measured, exit status 1 if a figure
            is worse by more than the margin. history: draw the files of a folder
            (docs/measurements). growth: draw the rows of growth of a file (build/bench.json).
        only: what to measure, NAME or NAME=N for another number than usual.
        long: take the numbers that the promises name; all together that is most of a day.
        peer: checkout of github.com/rsasaki0109/vla_ros2, whose node is measured beside ours.
        names: say what can be measured, and stop.
        margin: share by which a figure may be worse, for compare.
        output: picture, for history and growth; in docs/pictures by default.
    """
    from vla_cli.bench.command import bench as measure
    from vla_cli.bench.command import listing, look

    if names:
        print(listing())
        return 0
    if what:
        return look(what, margin, output)
    return measure(only, long, peer)


def faults(
    what: Annotated[
        Annotated[Run, tyro.conf.subcommand('run', prefix_name=False)]
        | Annotated[List, tyro.conf.subcommand('list', prefix_name=False)],
        tyro.conf.arg(name=''),
    ],
) -> int:
    """Break one thing after another beside a simulated robot; judge what its gate does.

    Args:
        what: play the faults, or name them.
    """
    from vla_cli.faults.command import list_faults, run

    return run(what) if isinstance(what, Run) else list_faults(what)


def _ask(request: str, namespace: str) -> int:
    from vla_cli.gate import ask

    return ask(request, namespace)


#: Group of entry points through which other packages add subcommands.
GROUP = 'vla.commands'
COMMANDS: dict[str, Callable[..., int]] = {
    'say': say,
    'top': top,
    'arm': arm,
    'disarm': disarm,
    'stop': stop,
    'reset': reset,
    'estop': estop,
    'blackbox': blackbox,
    'doctor': doctor,
    'bench': bench,
    'faults': faults,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A letter that the output does not know must not end the command.
        sys.stdout.reconfigure(errors='replace')
    try:
        try:
            return _run(arguments)
        finally:
            # What fails when Python ends can no longer be told.
            print(end='', flush=True)
    except BrokenPipeError:
        if not _reader_left():
            raise
        silence(sys.stdout)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        silence(sys.stdout)
        tell(f'vla: {error.strerror}: expected room for what is written', failed=True)
        return 1


def _reader_left() -> bool:
    """Say whether nobody reads the output any more; a child's pipe may break as well."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _run(arguments: list[str] | None) -> int:
    try:
        return tyro.extras.subcommand_cli_from_dict(
            COMMANDS | {found.name: found.load() for found in entry_points(group=GROUP)},
            prog='vla',
            description='Command a robot and look at it.',
            args=arguments,
        )
    except VlaError as error:
        tell(f'vla: {error}', failed=True)
        return 1
    except KeyboardInterrupt as interrupted:
        # Where the subcommand does not mind it, or had not begun to: then it is Python's Ctrl-C.
        return getattr(interrupted, 'status', 128 + signal.SIGINT)


if __name__ == '__main__':
    sys.exit(main())
