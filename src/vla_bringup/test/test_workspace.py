"""The workspace itself: setup's refusals, the environment file, locks and settings that agree."""

import ast
from collections.abc import Callable
from graphlib import TopologicalSorter
import importlib
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tomllib
from types import SimpleNamespace
import xml.etree.ElementTree as ET

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = sorted(path.parent for path in ROOT.glob('src/*/setup.py'))
BOOTSTRAP = ROOT / 'requirements' / 'bootstrap.py'
# What rosdep calls the Python packages that Debian has.
ROSDEP_KEYS = {'numpy': 'python3-numpy', 'PIL': 'python3-pil', 'psutil': 'python3-psutil'}
ROSDEP_KEYS |= {'yaml': 'python3-yaml', 'pytest': 'python3-pytest'}
#: Imported only where somebody names a checkout of it (`vla bench --peer`).
PEERS = {'vla_ros2'}
ROS_PACKAGE = re.compile(
    r'(rclpy|launch\w*|cv_bridge|ament_index_python|std_srvs|\w+_msgs|vla_\w+)'
)


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch):
    """Import one file of requirements/, without leaving it importable for other tests."""
    monkeypatch.syspath_prepend(str(BOOTSTRAP.parent))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def run_bootstrap(step: str, path: Path) -> subprocess.CompletedProcess:
    """Run a step with only the tools of the folder `path`."""
    return subprocess.run(
        [sys.executable, str(BOOTSTRAP), step],
        env={'PATH': str(path), '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'},
        capture_output=True,
        text=True,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess) -> str:
    """Return the only line of standard error of a refused step."""
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize('missing', ['g++', 'cmake', 'make'])
def test_missing_tool_is_refused_with_the_command_that_installs_it(tmp_path: Path, missing):
    for tool in {'g++', 'cmake', 'make'} - {missing}:
        (tmp_path / tool).symlink_to(shutil.which('true'))
    line = one_line(run_bootstrap('setup', tmp_path))
    assert line.startswith('setup: ')
    assert missing in line
    assert f'apt-get install -y {missing}' in line


@pytest.mark.parametrize('version', [(2, 7, 18), (3, 10, 13), (3, 15, 0)])
def test_unsupported_python_is_refused_with_the_remedy(version):
    pretend = (
        'import runpy, sys\n'
        f'sys.version_info, sys.version = {version}, "{".".join(map(str, version))} (test)"\n'
        f'sys.argv = ["bootstrap.py", "setup"]\n'
        f'runpy.run_path({str(BOOTSTRAP)!r}, run_name="__main__")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', pretend], capture_output=True, text=True, check=False
    )
    line = one_line(done)
    assert '.'.join(map(str, version)) in line
    assert '3.11 to 3.14' in line
    assert 'PYTHON=' in line


def test_unknown_interpreter_is_refused_by_make():
    done = subprocess.run(
        ['make', '--silent', 'setup', 'PYTHON=no-such-python'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith('setup: no no-such-python in PATH')


def test_environment_of_wheels_is_not_replaced_because_a_ros_was_sourced(bootstrap, tmp_path):
    workspace, packages = bootstrap('workspace'), bootstrap('packages')
    workspace.VENV = tmp_path
    workspace.write_stamp('origin', 'wheels')
    packages.ROS_DISTRO = 'jazzy'
    with pytest.raises(workspace.BootstrapError, match=r'made for ROS from wheels.*has jazzy'):
        packages.create_venv()


class Setup:
    """`setup` of a workspace in a folder of its own; venv and pip are fakes."""

    def __init__(self, bootstrap, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.workspace, self.packages = bootstrap('workspace'), bootstrap('packages')
        self.venv, self.aside = folder / 'venv', folder / 'before'
        self.created: list[list[str]] = []
        self.pip: Callable[[], object] = lambda: None
        for module in (self.workspace, self.packages):
            monkeypatch.setattr(module, 'VENV', self.venv)
            monkeypatch.setattr(module, 'ROS_DISTRO', '')
        fakes = {
            'ASIDE': self.aside,
            'LOG': self.venv / 'setup.log',
            'require_place': lambda: None,
            'require_system': lambda: None,
            'install': self._install,
            'subprocess': SimpleNamespace(run=self._create),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(self.packages, name, fake)

    def _create(self, command: list[str], **_: object) -> subprocess.CompletedProcess:
        assert command[1:] == ['-m', 'venv', '--clear', str(self.venv)]
        assert not Path(command[0]).is_relative_to(ROOT / '.venv')
        self.created.append(command)
        (self.venv / 'bin').mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(command, 0)

    def _install(self, *_: object) -> None:
        (self.venv / 'setup.log').write_text('what pip says')
        self.pip()

    def made_before(self, interpreter: str) -> Path:
        """Make a complete environment of another lock; return a file in it."""
        (self.venv / 'bin').mkdir(parents=True)
        for name, text in (('interpreter', interpreter), ('origin', 'wheels'), ('setup', 'old')):
            self.workspace.write_stamp(name, text)
        kept = self.venv / 'package'
        kept.touch()
        return kept


@pytest.fixture
def setup(bootstrap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Setup:
    return Setup(bootstrap, monkeypatch, tmp_path)


def test_environment_survives_a_rebuild_of_its_python(setup, monkeypatch):
    """The security update of a distribution changes sys.version, which holds the build's date."""
    before, stamp = setup.workspace.interpreter(), setup.workspace.stamp_of()
    monkeypatch.setattr(sys, 'version', '3.11.2 (main, Jan  1 2030, 00:00:00) [GCC 99.0]')
    assert (setup.workspace.interpreter(), setup.workspace.stamp_of()) == (before, stamp)
    kept = setup.made_before(before)
    setup.packages.setup()
    assert kept.exists()
    assert setup.created == []


def test_environment_with_the_stamp_of_an_older_workspace_is_kept(setup):
    kept = setup.made_before(f'{sys.version} {sys.base_prefix} ')
    setup.packages.setup()
    assert kept.exists()
    assert setup.created == []


@pytest.mark.parametrize('interpreter', ['cpython-39 /usr ', '3.9.2 (main) [GCC 1] /usr '])
def test_environment_of_another_python_is_replaced(setup, interpreter):
    kept = setup.made_before(interpreter)
    setup.packages.setup()
    assert len(setup.created) == 1
    assert not kept.exists()
    assert not setup.aside.exists()
    setup.packages.setup()
    assert len(setup.created) == 1


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
def test_environment_is_put_back_when_its_replacement_fails(setup, error):
    kept = setup.made_before('cpython-39 /usr ')

    def fail() -> None:
        assert not kept.exists()
        raise error

    setup.pip = fail
    with pytest.raises(error):
        setup.packages.setup()
    assert kept.exists()
    assert (setup.venv / 'setup.log').read_text() == 'what pip says'
    assert not setup.aside.exists()


@pytest.mark.parametrize('begun', [False, True])
def test_environment_that_a_killed_setup_put_aside_is_put_back(setup, begun):
    kept = setup.made_before(setup.workspace.interpreter())
    setup.venv.rename(setup.aside)
    if begun:
        setup.venv.mkdir()
    setup.packages.setup()
    assert kept.exists()
    assert setup.created == []
    assert not setup.aside.exists()


def test_environment_put_aside_is_removed_when_the_new_one_was_complete(setup):
    setup.made_before('cpython-39 /usr ').rename(setup.venv / 'old package')
    setup.venv.rename(setup.aside)
    kept = setup.made_before(setup.workspace.interpreter())
    setup.packages.setup()
    assert [path.name for path in setup.venv.glob('*package')] == [kept.name]
    assert not setup.aside.exists()


def test_closed_registry_is_told_from_a_bad_requirement(bootstrap):
    explain = bootstrap('packages').explain
    closed = (
        'WARNING: Retrying (Retry(total=0)) after connection broken by NewConnectionError\n'
        'ERROR: Could not find a version that satisfies the requirement numpy (from versions:)'
    )
    assert 'cannot be reached' in explain(closed)
    assert 'PIP_INDEX_URL' in explain(closed)
    unknown = 'Collecting nothing\nERROR: No matching distribution found for nothing==1'
    assert 'No matching distribution found for nothing==1' in explain(unknown)
    assert '\n' not in explain(closed) + explain(unknown)


@pytest.mark.slow
def test_closed_registry_is_one_line_in_a_fresh_clone(tmp_path: Path):
    shutil.copytree(BOOTSTRAP.parent, tmp_path / 'requirements')
    done = subprocess.run(
        [sys.executable, str(tmp_path / 'requirements' / 'bootstrap.py'), 'setup'],
        env={
            'PATH': '/usr/local/bin:/usr/bin:/bin',
            'PIP_CONFIG_FILE': '/dev/null',
            'PIP_INDEX_URL': 'http://127.0.0.1:9/simple',
            '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'cannot be reached' in one_line(done)


@pytest.mark.parametrize('shell', ['sh', 'bash'])
def test_environment_file_survives_odd_paths_and_a_second_time(tmp_path: Path, shell, bootstrap):
    root = tmp_path / "it's a path"
    (root / '.venv' / 'bin').mkdir(parents=True)
    for part in ('share/vla_core', 'bin', 'lib/python3.11/site-packages'):
        (root / 'install' / 'vla_core' / part).mkdir(parents=True)
    packages = bootstrap('packages')
    packages.ROOT, packages.ROS_DISTRO = root, ''
    script = root / 'vla-env'
    script.write_text(packages.environment_script())
    once = '. "$0"; printf "%s|%s|%s\\n" "$PATH" "$AMENT_PREFIX_PATH" "$PYTHONPATH"'
    done = subprocess.run(
        [shell, '-euc', f'{once}; {once}', str(script)],
        env={'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == second
    prefix = f'{root}/install/vla_core'
    assert first == (
        f'{prefix}/bin:{root}/.venv/bin:/usr/bin:/bin|{prefix}:{root}/.venv'
        f'|{prefix}/lib/python3.11/site-packages'
    )


def test_scripts_start_in_a_path_with_spaces(tmp_path: Path, bootstrap):
    building = bootstrap('building')
    building.ROOT = tmp_path
    script = tmp_path / 'install' / 'vla_cli' / 'bin' / 'vla'
    script.parent.mkdir(parents=True)
    script.write_text('#!"/a path/python"\nprint(1)\n')
    building.free_scripts_of_quotes()
    assert script.read_text() == '#!/usr/bin/env python3\nprint(1)\n'
    script.write_text('#!/apath/python\nprint(1)\n')
    building.free_scripts_of_quotes()
    assert script.read_text() == '#!/apath/python\nprint(1)\n'


def test_edited_module_needs_no_build_but_a_new_entry_point_does(tmp_path: Path, bootstrap):
    building = bootstrap('building')
    building.ROOT = tmp_path
    package = tmp_path / 'src' / 'vla_core'
    package.mkdir(parents=True)
    module, setup = package / 'module.py', package / 'setup.py'
    module.write_text('1')
    setup.write_text('1')
    before = building.inputs()
    module.write_text('2')
    assert building.inputs() == before
    setup.write_text('2')
    assert building.inputs() != before


def test_cmake_exports_of_the_wheels_name_no_foreign_machine():
    exports = [path.read_text() for path in ROOT.glob('.venv/share/**/*.cmake')]
    assert exports or 'ROS_DISTRO' in os.environ
    assert not [text for text in exports if '/opt/python/' in text]


def bringup_alone(tmp_path: Path) -> Path:
    """Copy what setup.py of vla_bringup needs into a workspace inside another one."""
    inner = tmp_path / 'outer' / 'src' / 'inner'
    package = inner / 'src' / 'vla_bringup'
    for name in ('setup.py', 'package.xml', 'resource', 'vla_bringup'):
        source = ROOT / 'src' / 'vla_bringup' / name
        package.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, package / name)
    (package / 'checkpoints' / 'demo').mkdir(parents=True)
    (package / 'checkpoints' / 'demo' / 'manifest.yaml').touch()
    for folder, file in (('launch', 'robot.launch.xml'), ('config', 'robots/sim.yaml')):
        (inner / folder / file).parent.mkdir(parents=True)
        (inner / folder / file).touch()
    return package


def run_setup(package: Path) -> subprocess.CompletedProcess:
    """Ask setup.py for what colcon asks it: the mapping of its data files."""
    ask = (
        'import distutils.core, json, setuptools, sys\n'
        'd = distutils.core.run_setup("setup.py", stop_after="config")\n'
        'print(json.dumps(d.data_files))'
    )
    return subprocess.run(
        [sys.executable, '-B', '-c', ask], cwd=package, capture_output=True, text=True, check=False
    )


def test_bringup_stages_inside_its_package_only(tmp_path: Path):
    package = bringup_alone(tmp_path)
    before = set(tmp_path.rglob('*'))
    for _ in range(2):
        done = run_setup(package)
        assert done.returncode == 0, done.stderr
    entries = dict(yaml.safe_load(done.stdout))
    assert entries['share/vla_bringup/launch'] == ['launch/robot.launch.xml']
    assert entries['share/vla_bringup/config/robots'] == ['config/robots/sim.yaml']
    assert entries['share/vla_bringup/checkpoints/demo'] == ['checkpoints/demo/manifest.yaml']
    new = {path for path in set(tmp_path.rglob('*')) - before if not path.is_relative_to(package)}
    assert new == set()
    assert {path.name for path in package.iterdir() if path.is_symlink()} == {'launch', 'config'}


def test_bringup_without_its_workspace_says_what_is_missing(tmp_path: Path):
    package = bringup_alone(tmp_path)
    shutil.rmtree(package.parents[1] / 'config')
    done = run_setup(package)
    assert done.returncode != 0
    assert 'vla_bringup: the workspace has no config/' in done.stderr.splitlines()[-1]


def requirements(name: str) -> set[str]:
    """Return the names that an input file asks for, those of included files too."""
    names = set()
    for line in (BOOTSTRAP.parent / name).read_text().splitlines():
        if line.startswith('-r '):
            names |= requirements(line[3:].strip())
        elif match := re.match(r'\w[\w-]*', line):
            names.add(match[0].lower().replace('_', '-'))
    return names


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions of a lock file by name."""
    versions: dict[str, set[str]] = {}
    for line in (BOOTSTRAP.parent / name).read_text().splitlines():
        if re.match(r'\w', line):
            match = re.match(r'([\w.-]+)==([\w.]+)( |$)', line)
            assert match, f'{name}: not pinned: {line}'
            versions.setdefault(match[1], set()).add(match[2])
    return versions


@pytest.mark.parametrize('name', ['wheels', 'apt', 'train', 'train-alone', 'mutants'])
def test_lock_file_holds_everything_its_input_asks_for(name):
    assert requirements(f'{name}.in') <= set(locked(f'{name}.txt'))


@pytest.mark.parametrize('name', ['wheels', 'apt', 'train-alone', 'mutants'])
def test_every_locked_package_has_a_hash(name):
    text = (BOOTSTRAP.parent / f'{name}.txt').read_text()
    blocks = re.split(r'\n(?=\w)', text[text.index('\n', text.rindex('#    ')) + 1 :])
    assert [block for block in blocks if '--hash=sha256:' not in block] == []


@pytest.mark.parametrize(('extra', 'common'), [('train', 'numpy'), ('mutants', 'pytest')])
def test_extra_changes_nothing_that_setup_installed(extra, common):
    setup, added = locked('wheels.txt'), locked(f'{extra}.txt')
    shared = set(setup) & set(added)
    assert common in shared
    assert {name: added[name] for name in shared} == {name: setup[name] for name in shared}


def test_ros_from_apt_gets_the_numpy_that_it_was_compiled_for():
    lines = (BOOTSTRAP.parent / 'apt.txt').read_text().splitlines()
    found = sorted(line.rstrip(' \\') for line in lines if line.startswith('numpy=='))
    assert found[0] == "numpy==1.26.4 ; python_full_version < '3.13'"  # Jazzy, Kilted
    assert re.fullmatch(r"numpy==2\.\S+ ; python_full_version >= '3\.13'", found[1])  # Lyrical


def test_workflow_runs_every_python_that_setup_accepts(bootstrap):
    entry = bootstrap('bootstrap')
    accepted = [f'3.{minor}' for minor in range(entry.OLDEST[1], entry.NEWEST[1] + 1)]
    workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ci.yaml').read_text())
    assert workflow['jobs']['wheels']['strategy']['matrix']['python'] == accepted


def test_container_installs_the_renderers_that_setup_looks_for(bootstrap):
    dockerfile = (ROOT / 'docker' / 'Dockerfile').read_text()
    assert [p for p in bootstrap('system').RENDERER_PACKAGES if p not in dockerfile] == []


def test_mutants_meet_every_test_of_the_gate():
    config = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['mutmut']
    tests = sorted(path.name for path in ROOT.glob('src/vla_core/test/test_gate_*.py'))
    assert config['pytest_add_cli_args_test_selection'] == [f'test/{name}' for name in tests]


def test_help_names_every_target():
    done = subprocess.run(
        ['make', '--silent', 'help'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    phony = re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    assert phony
    assert [line.split()[0] for line in done.stdout.splitlines()] == phony[1].split()


@pytest.mark.parametrize(('long', 'asked'), [('0', False), ('', False), ('1', True)])
def test_a_bench_of_hours_is_asked_for(long: str, asked: bool):
    make = ['make', '-n', 'bench', f'LONG={long}']
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ('vla bench  --long' in done.stdout) is asked


@pytest.mark.parametrize('package', PACKAGES, ids=lambda path: path.name)
def test_package_describes_itself_once(package: Path):
    manifest = ET.parse(package / 'package.xml').getroot()
    text = (package / 'setup.py').read_text()
    assert manifest.findtext('name') == package.name
    assert manifest.findtext('license') == 'Apache-2.0'
    assert f"version='{manifest.findtext('version')}'" in text
    assert (package / 'resource' / package.name).is_file()


def imported(folder: Path) -> set[str]:
    """Return the top-level modules that the Python files of a folder import."""
    names = set()
    for file in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split('.')[0])
    return names


@pytest.mark.parametrize('package', PACKAGES, ids=lambda path: path.name)
def test_package_declares_what_it_imports(package: Path):
    """A missing line in package.xml builds here and fails on a machine that asks rosdep."""
    manifest = ET.parse(package / 'package.xml').getroot()
    declared = {element.text for element in manifest if element.tag.endswith('depend')}
    needed = {
        ROSDEP_KEYS.get(name, name)
        for name in imported(package / package.name) | imported(package / 'test')
        if name in ROSDEP_KEYS
        or re.fullmatch(
            r'rclpy|launch\w*|cv_bridge|ament_index_python|std_srvs|\w+_msgs|vla_\w+', name
        )
    }
    assert needed - declared - PEERS - {package.name} == set()


def entry_points(package: Path) -> list[str]:
    """Return `module:function` of every entry point that a setup.py declares."""
    text = (package / 'setup.py').read_text()
    return re.findall(r"'[\w-]+ *= *([\w.]+:\w+)'", text)


@pytest.mark.parametrize('package', PACKAGES, ids=lambda path: path.name)
def test_every_entry_point_exists(package: Path):
    """Read, not imported: vla_learning needs torch, which the demo does without."""
    for entry in entry_points(package):
        module, function = entry.split(':')
        file = package / Path(*module.split('.')).with_suffix('.py')
        assert file.is_file(), entry
        tree = ast.parse(file.read_text())
        names = {getattr(node, 'name', None) for node in tree.body}
        assert function in names, entry


def test_packages_depend_on_each_other_in_one_direction():
    """Colcon refuses a circle, on a fresh clone only: what is built hides it."""
    needs = {}
    for package in PACKAGES:
        manifest = ET.parse(package / 'package.xml').getroot()
        found = {element.text for element in manifest if element.tag.endswith('depend')}
        needs[package.name] = found & {other.name for other in PACKAGES}
    assert list(TopologicalSorter(needs).static_order())
