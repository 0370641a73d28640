"""`vla-learn`: from recordings to a checkpoint one can trust."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import importlib
import logging
import os
import sys
from typing import Any, get_type_hints, NamedTuple

# Spinning OpenMP threads starve beside any other busy process, and large blocks that go back to
# the system after every step cost a fifth of the time. Both are read when a process starts.
ENVIRONMENT = {
    'OMP_WAIT_POLICY': 'PASSIVE',
    'GOMP_SPINCOUNT': '0',
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(8 << 30),
    'MALLOC_TOP_PAD_': str(256 << 20),
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
}


class Command(NamedTuple):
    """Where a command is found, without importing it.

    Attributes:
        text: what it does.
        module: where it lies.
        function: takes a dataclass of options, returns the exit status.
        parse: takes the command's name and its arguments, returns the options; empty: tyro does.
    """

    text: str
    module: str
    function: str = 'command'
    parse: str = ''


COMMANDS = {
    'train': Command(
        'train a policy: vla-learn train EXPERIMENT.yaml [--run FOLDER] [--train.steps N ...]',
        'vla_learning.training.command',
        'train',
        'parse',
    ),
    'evaluate': Command('measure a policy on data and in the simulator', 'vla_learning.offline'),
    'compare': Command('say whether one policy is worse than another', 'vla_learning.compare'),
    'inspect': Command('verify a checkpoint and say what is in it', 'vla_learning.inspect'),
    'envelope': Command('measure what a checkpoint was trained on', 'vla_learning.envelope'),
    'export': Command('turn a native checkpoint into an ONNX one', 'vla_learning.export'),
    'intents': Command('teach anew what to refuse, in minutes', 'vla_learning.sim.reteach'),
    'optimise': Command('make a checkpoint faster', 'vla_learning.optimise.command'),
    'verify': Command(
        'check an optimised checkpoint on this machine', 'vla_learning.optimise.verify'
    ),
    'full-size': Command(
        'make a full-size checkpoint to measure with', 'vla_learning.optimise.full_size'
    ),
    'import-seed': Command('turn a .pth of the seed into one', 'vla_learning.seed_import'),
    'convert': Command('write a data set as LeRobotDataset v3', 'vla_learning.data.convert'),
    'data': Command('say what is in a data set', 'vla_learning.data.convert', 'listing'),
    'randomise': Command('show what randomisation does', 'vla_learning.randomise_picture'),
    'bench': Command('measure how the network is fed', 'vla_learning.benchmark.feeding'),
    'demo': Command('make the demo policy', 'vla_learning.sim.commands', 'make_demo'),
    'choose': Command('drive a checkpoint without ROS', 'vla_learning.sim.commands', 'choose'),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if any(name not in os.environ for name in ENVIRONMENT) and arguments is None:
        os.environ.update(ENVIRONMENT | {n: os.environ[n] for n in ENVIRONMENT if n in os.environ})
        # As it was called: `-m vla_learning.cli` must not become a script in this folder.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    # It would say at every start what it could not accelerate.
    logging.getLogger('OpenGL').setLevel(logging.WARNING)
    from vla_core.errors import VlaError

    try:
        return _run(options.command, options.arguments)
    except ModuleNotFoundError as error:
        print(f'vla-learn: {error.name} is missing: run `make setup-train`', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'vla-learn: {error}', file=sys.stderr)
        return 1
    except VlaError as error:
        # Several processes are interrupted together: one line is enough.
        number = getattr(error, 'signal', 0)
        if not number or os.environ.get('RANK', '0') == '0':
            print(f'vla-learn: {error}', file=sys.stderr)
        return 128 + number if number else 1


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {command.text}' for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog='vla-learn',
        description=__doc__,
        usage='vla-learn COMMAND ... (vla-learn COMMAND --help for its options)',
        epilog='\n'.join(['commands:', *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help='one of those below')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _run(name: str, arguments: list[str]) -> int:
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    function: Callable[[Any], int] = getattr(module, command.function)
    prog = f'vla-learn {name}'
    if command.parse:
        return function(getattr(module, command.parse)(prog, arguments))
    import tyro

    return function(tyro.cli(get_type_hints(function)['options'], prog=prog, args=arguments))


if __name__ == '__main__':
    sys.exit(main())
