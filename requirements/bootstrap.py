"""Make the workspace usable: `setup`, add `train`, `optimise`, `edge` or `mutants`, `build`.

Run through the Makefile. It uses nothing but the standard library, because it runs before anything
is installed. Every refusal is one line: what is wrong, what was found, what to do.
"""

import fcntl
import os
import sys

# Python versions that the lock files are resolved for.
OLDEST, NEWEST = (3, 11), (3, 14)


def main() -> int:
    """Run one command; exit code 1 and one line on standard error if it cannot be done."""
    step = sys.argv[1] if len(sys.argv) == 2 else ''
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = f'{sys.version.split()[0]} ({sys.executable})'
        print(
            f'{step}: Python {found} is not supported, expected 3.{OLDEST[1]} to 3.{NEWEST[1]}; '
            'install one of them and name it: make setup PYTHON=python3.11',
            file=sys.stderr,
        )
        return 1

    # Only now: the other files use what an old Python lacks.
    import building
    import packages
    from workspace import BootstrapError, ROOT

    commands = {
        'setup': packages.setup,
        'train': packages.train,
        'optimise': packages.optimise,
        'edge': packages.edge,
        'mutants': packages.mutants,
        'build': building.build,
    }
    if step not in commands:
        print(f'bootstrap: {sys.argv[1:]}, expected one of {list(commands)}', file=sys.stderr)
        return 2
    # Two of these at once would write the same files: the second waits for the first.
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        commands[step]()
    except BootstrapError as error:
        print(f'{step}: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'{step}: {error}; check permissions and free space', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'{step}: interrupted; run the same command again to go on', file=sys.stderr)
        return 130
    finally:
        os.close(lock)
    return 0


if __name__ == '__main__':
    sys.dont_write_bytecode = True
    sys.exit(main())
