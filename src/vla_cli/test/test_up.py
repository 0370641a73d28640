"""The command line of vla_up, up to the point where processes start."""

import json
import os
from pathlib import Path

import pytest

from vla_cli import up

CONTENT = """<launch>
  <arg name="word" default="hello" description="what to say"/>
  <arg name="tone"><choice value="low"/><choice value="high"/></arg>
  <executable cmd="echo $(var word)"/>
</launch>
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / 'say.launch.xml'
    path.write_text(CONTENT)
    return str(path)


def test_a_dry_run_prints_the_processes(file: str, capsys: pytest.CaptureFixture) -> None:
    assert up.main([file, 'tone:=low', '--dry-run', 'word:=two words']) == 0
    (process,) = json.loads(capsys.readouterr().out)
    assert process['command'] == ['echo', 'two words']
    assert process['environment'] == {}


def test_the_arguments_of_a_file_are_shown(file: str, capsys: pytest.CaptureFixture) -> None:
    assert up.main([file, '--show-args']) == 0
    output = capsys.readouterr().out
    assert "word: what to say (default 'hello')" in output
    assert 'tone:  (required; one of low, high)' in output


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ([], "launch argument 'tone' has no default; expected tone:=value"),
        (['tone:=loud'], "is 'loud'; expected one of low, high"),
        (['tone:=low', 'wrod:=x'], 'launch argument wrod is unknown; expected one of tone, word'),
        (['tone=low'], "argument 'tone=low'; expected name:=value"),
    ],
)
def test_wrong_arguments_are_refused(
    file: str, capsys: pytest.CaptureFixture, values: list[str], message: str
) -> None:
    assert up.main([file, *values, '--builtin']) == 2
    assert message in capsys.readouterr().err


def test_the_shipped_graph_is_not_started_with_what_nobody_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / 'limits.yaml'
    file.write_text('/**/gtae: {ros__parameters: {speed_scale: 0.1}}')
    assert up.main(['robot.launch.xml', f'params_file:={file}', '--dry-run']) == 2
    said = "section '/**/gtae' is for none of the nodes that read it; expected one of /camera"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize('launch', ['robot.launch.xml', 'sim.launch.xml'])
def test_one_parameter_file_serves_the_robot_and_the_simulator(
    tmp_path: Path, launch: str
) -> None:
    file = tmp_path / 'mine.yaml'
    names = ('gate', 'sim', 'recorder', 'camera')
    file.write_text('\n'.join(f'/**/{name}: {{ros__parameters: {{}}}}' for name in names))
    assert up.main([launch, f'params_file:={file}', '--dry-run']) == 0


def test_only_the_file_is_required(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        up.main([])
    assert capsys.readouterr().err.endswith('arguments are required: file\n')


def test_a_name_that_is_no_file_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert up.main(['nowhere.launch.xml']) == 2
    assert "launch file 'nowhere.launch.xml' does not exist" in capsys.readouterr().err


class Replaced(Exception):
    """This process would have become another program."""


@pytest.fixture
def ros_launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Pretend that ROS 2's own launch is installed; return its command."""

    def execv(path: str, words: list[str]) -> None:
        raise Replaced(path, words)

    command = tmp_path / 'bin' / 'ros2'
    command.parent.mkdir()
    command.touch(mode=0o755)
    monkeypatch.setenv('PATH', str(command.parent))
    monkeypatch.setattr(up, 'find_spec', lambda module: object())
    monkeypatch.setattr(os, 'execv', execv)
    return str(command)


def test_where_ros_launch_is_installed_it_takes_over(file: str, ros_launch: str) -> None:
    with pytest.raises(Replaced) as replaced:
        up.main([file, 'tone:=low'])
    assert replaced.value.args == (ros_launch, [ros_launch, 'launch', file, 'tone:=low'])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('<executable cmd="true"/>', 'launch argument params_file is unknown'),
        (
            '<arg name="params_file"/><include file="$(var params_file)"/>',
            'launch file /nowhere.yaml: No such file or directory',
        ),
        (
            '<arg name="params_file"/>'
            '<node pkg="vla_safety" exec="gate"><param from="$(var params_file)"/></node>',
            "parameter file '/nowhere.yaml' does not exist",
        ),
    ],
)
def test_ros_launch_gets_nothing_that_is_wrong(
    tmp_path: Path,
    ros_launch: str,
    capsys: pytest.CaptureFixture,
    content: str,
    message: str,
) -> None:
    """ROS 2's launch starts a robot without the limits of a file that it does not find."""
    path = tmp_path / 'test.launch.xml'
    path.write_text(f'<launch>{content}</launch>')
    assert up.main([str(path), 'params_file:=/nowhere.yaml']) == 2
    assert message in capsys.readouterr().err


FOREIGN = {
    'element': '<timer period="1.0"/>',
    'attribute': '<executable cmd="true" shell="true"/>',
    'substitution': '<let name="a" value="$(eval 1)"/>',
    'parameter': '<node pkg="vla_safety" exec="gate"><param name="a" value="$(eval 1)"/></node>',
    'output': '<executable cmd="true" output="both"/>',
    'included file': '<include file="{}"/>',
}


@pytest.mark.parametrize('case', FOREIGN)
def test_ros_launch_gets_unchecked_what_is_not_played_here(
    tmp_path: Path, ros_launch: str, case: str
) -> None:
    other = tmp_path / 'other.launch.py'
    other.touch()
    path = tmp_path / 'test.launch.xml'
    path.write_text(f'<launch>{FOREIGN[case].format(other)}</launch>')
    with pytest.raises(Replaced):
        up.main([str(path), 'some:=thing'])
    assert up.main([str(path), 'some:=thing', '--builtin']) == 2


def test_ros_launch_gets_a_python_file(tmp_path: Path, ros_launch: str) -> None:
    path = tmp_path / 'test.launch.py'
    path.touch()
    with pytest.raises(Replaced):
        up.main([str(path)])
