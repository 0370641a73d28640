import importlib
from pathlib import Path
import subprocess
import sys

import pytest

pytest.importorskip('torch')

from vla_learning.cli import COMMANDS, main

BRIDGE = Path(__file__).parent / 'data' / 'bridge'
HEAVY = {'torch', 'transformers', 'torchvision', 'onnxruntime', 'mujoco', 'tyro'}


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_is_there(name):
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    assert callable(getattr(module, command.function))
    assert not command.parse or callable(getattr(module, command.parse))


def test_help_lists_the_commands_without_their_packages():
    code = (
        'import sys\n'
        'from vla_learning.cli import main\n'
        'try: main(["--help"])\n'
        'finally: print(sorted(set(sys.modules) & set(sys.argv[1:])))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, *HEAVY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '[]'
    for name in COMMANDS:
        assert f'\n  {name}' in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['train', 'missing.yaml'],
            'missing.yaml: No such file or directory: expected a YAML file',
        ),
        (['train', '--run', 'x'], 'expected the file first'),
        (['inspect', 'missing'], 'missing'),
        (['convert', str(BRIDGE), 'file/new', '--fps', '5', '--gripper', 'open'], 'file'),
    ],
)
def test_mistake_is_one_line_and_status_1(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    assert main(arguments) == 1
    line = capsys.readouterr().err
    assert line.startswith('vla-learn: ')
    assert message in line
    assert line.count('\n') == 1


def test_reference_page_has_every_command():
    page = (Path(__file__).parents[3] / 'docs/reference/commands.md').read_text(encoding='utf-8')
    assert [name for name in COMMANDS if f'`vla-learn {name}' not in page] == []


def test_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['trian'])
    assert stop.value.code == 2
    assert 'train' in capsys.readouterr().err
