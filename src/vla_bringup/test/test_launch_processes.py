"""vla_up starts the very processes that ROS 2's own launch starts (docs/reference/commands.md).

`launch_processes.json` holds what real launch makes of each case. Where launch is installed, the
tests make it anew and compare; `python test_launch_processes.py`, there, writes it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
import json
import os
from pathlib import Path
import tempfile
from unittest.mock import patch

import pytest
import yaml

from vla_cli.launching.plan import Plan
from vla_cli.up import described

HERE = Path(__file__).parent
WORKSPACE = Path(__file__).resolve().parents[3]
RECORDED = HERE / 'launch_processes.json'
EXECUTABLES = {
    'vla_safety': 'gate',
    'vla_monitor': 'monitor',
    'vla_camera': 'camera',
    'vla_inference': 'policy',
    'vla_replay': 'recorder',
    'vla_sim': 'sim',
}
CONFIG = ('camera', 'gate', 'monitor', 'overrides', 'policy', 'sim')
# name: (launch file, arguments); {here} is this folder.
CASES: dict[str, tuple[str, dict[str, str]]] = {
    'default': ('robot.launch.xml', {}),
    'namespace': ('robot.launch.xml', {'namespace': 'left', 'use_sim_time': 'true'}),
    'real_robot': (
        'robot.launch.xml',
        {
            'robot': 'turtlebot3',
            'policy': 'hold',
            'camera_topic': 'front/image',
            'camera_info_topic': 'front/camera_info',
            'log_level': 'debug',
        },
    ),
    'simulator_with_other_robot_file': (
        'robot.launch.xml',
        {
            'robot': '/elsewhere/robot.yaml',
            'sim': 'true',
            'params_file': '{here}/../config/overrides.yaml',
        },
    ),
    'always_respawned': ('robot.launch.xml', {'policy_respawns': '-1'}),
    'recorded': ('robot.launch.xml', {'namespace': 'left', 'record': 'to bags'}),
    'simulator_alone': ('sim.launch.xml', {}),
    'replay': ('replay.launch.xml', {'bag': '/elsewhere/bag', 'instruction': 'go to the ball'}),
    'replay_of_a_part': (
        'replay.launch.xml',
        {'bag': 'bag', 'namespace': 'left', 'rate': '2.0', 'start': '1.5', 'policy': 'hold'},
    ),
    'every_element': ('{here}/every_element.launch.xml', {'given': 'from outside'}),
    'every_element_otherwise': ('{here}/every_element.launch.xml', {'given': '5', 'choice': 'b'}),
}
HAVE_LAUNCH = all(find_spec(module) for module in ('launch', 'launch_ros', 'launch_xml'))

Description = list[dict[str, object]]


@pytest.mark.parametrize('case', CASES)
def test_vla_up_starts_what_launch_starts(case: str, tmp_path: Path) -> None:
    assert played(case, tmp_path) == json.loads(RECORDED.read_text())[case]


@pytest.mark.parametrize(
    ('case', 'peers'),
    [('default', ''), ('simulator_alone', ''), ('replay', ''), ('real_robot', '10.9.0.2')],
)
def test_only_a_real_robot_asks_the_peers_of_the_shell(
    case: str, peers: str, tmp_path: Path
) -> None:
    """rmw_fastrtps asks static peers in the range LOCALHOST too."""
    file, arguments = CASES[case]
    with installation(tmp_path, '') as environment:
        plan = Plan(filled(arguments), {**environment, 'ROS_STATIC_PEERS': '10.9.0.2'})
        plan.add(located(file, tmp_path))
    assert {process.environment['ROS_STATIC_PEERS'] for process in plan.processes} == {peers}


def test_every_launch_file_is_compared() -> None:
    compared = {Path(file).name for file, _ in CASES.values()}
    assert compared >= {path.name for path in (WORKSPACE / 'launch').glob('*.xml')}


if HAVE_LAUNCH:

    @pytest.mark.parametrize('case', CASES)
    def test_the_record_is_what_the_installed_launch_makes(case: str, tmp_path: Path) -> None:
        assert launched(*CASES[case], tmp_path) == json.loads(RECORDED.read_text())[case]

    def test_the_python_file_starts_the_same_processes(tmp_path: Path) -> None:
        _, arguments = CASES['namespace']
        started = launched('robot.launch.py', arguments, tmp_path)
        assert started == json.loads(RECORDED.read_text())['namespace']


def played(case: str, prefix: Path) -> Description:
    """Describe the processes that vla_up would start."""
    file, arguments = CASES[case]
    with installation(prefix, '') as environment:
        plan = Plan(filled(arguments), environment)
        plan.add(located(file, prefix))
    processes = described(plan, environment)
    return portable([{**process, 'label': None} for process in processes], prefix)


def launched(file: str, arguments: dict[str, str], prefix: Path) -> Description:
    """Let ROS 2's own launch visit the file, with a note in place of every start."""
    from launch.actions import ExecuteLocal, IncludeLaunchDescription
    from launch.launch_description_sources import AnyLaunchDescriptionSource
    from launch.utilities import perform_substitutions, visit_all_entities_and_collect_futures

    from launch import LaunchContext

    notes: Description = []

    def note(action: ExecuteLocal, context: LaunchContext) -> None:
        action.prepare(context)
        name = '_ExecuteLocal__{}'.format
        changed = {
            key: value for key, value in action.env.items() if environment.get(key) != value
        }
        notes.append(
            {
                'label': None,
                'command': [with_content(word) for word in action.cmd],
                'environment': changed,
                'output': perform_substitutions(context, action.output),
                'respawn': getattr(action, name('respawn')),
                'respawn_delay': getattr(action, name('respawn_delay')) or 0.0,
                'respawn_max_retries': getattr(action, name('respawn_max_retries')),
                'ends_launch': getattr(action, name('on_exit')) is not None,
            }
        )

    # launch reads a grammar from its own package.
    with installation(prefix, os.environ['AMENT_PREFIX_PATH']) as environment:
        source = AnyLaunchDescriptionSource(str(located(file, prefix)))
        include = IncludeLaunchDescription(
            source, launch_arguments=list(filled(arguments).items())
        )
        with patch.object(ExecuteLocal, 'execute', note):
            visit_all_entities_and_collect_futures(include, LaunchContext())
    return portable(notes, prefix)


def with_content(word: str) -> object:
    """Take the content of a parameter file that launch made; keep any other word."""
    if not Path(word).name.startswith('launch_params_'):
        return word
    ((node, parameters),) = yaml.safe_load(Path(word).read_text()).items()
    Path(word).unlink()
    return {'node': node, 'values': parameters['ros__parameters']}


@contextmanager
def installation(prefix: Path, underlay: str) -> Iterator[Mapping[str, str]]:
    """Install the launch files and empty executables; give the environment that finds them."""
    index = prefix / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    for package in ('vla_bringup', *EXECUTABLES):
        (index / package).touch()
        (prefix / 'share' / package).mkdir()
    for package, name in EXECUTABLES.items():
        executable = prefix / 'lib' / package / name
        executable.parent.mkdir(parents=True)
        executable.touch(mode=0o755)
    share = prefix / 'share/vla_bringup'
    (share / 'launch').symlink_to(WORKSPACE / 'launch')
    (share / 'config').mkdir()
    for name in CONFIG:
        (share / 'config' / f'{name}.yaml').touch()
    prefixes = os.pathsep.join(filter(None, (str(prefix), underlay)))
    environment = {'AMENT_PREFIX_PATH': prefixes, 'HOME': str(prefix), 'VLA_TEST_WORD': 'word'}
    with patch.dict(os.environ, environment, clear=True):
        yield environment


def located(file: str, prefix: Path) -> Path:
    return prefix / 'share/vla_bringup/launch' / file.format(here=HERE)


def filled(arguments: dict[str, str]) -> dict[str, str]:
    return {name: value.format(here=HERE) for name, value in arguments.items()}


def portable(processes: Description, prefix: Path) -> Description:
    """Name this machine's folders, so that a description can be kept."""
    return json.loads(
        json.dumps(processes).replace(str(prefix), '<prefix>').replace(str(HERE), '<test>')
    )


def record() -> None:
    cases = {}
    for case, (file, arguments) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            cases[case] = launched(file, arguments, Path(folder))
    RECORDED.write_text(json.dumps(cases, indent=1, sort_keys=True) + '\n')


if __name__ == '__main__':
    record()
