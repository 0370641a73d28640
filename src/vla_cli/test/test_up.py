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


def test_a_name_that_is_no_file_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert up.main(['nowhere.launch.xml']) == 2
    assert "launch file 'nowhere.launch.xml' does not exist" in capsys.readouterr().err


def test_where_ros_launch_is_installed_it_takes_over(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Replaced(Exception):
        pass

    def execv(path: str, words: list[str]) -> None:
        raise Replaced(path, words)

    monkeypatch.setattr(up, 'find_spec', lambda module: object())
    monkeypatch.setattr(up.shutil, 'which', lambda name: '/opt/ros/bin/ros2')
    monkeypatch.setattr(os, 'execv', execv)
    with pytest.raises(Replaced) as replaced:
        up.main([file, 'tone:=low'])
    command = ['/opt/ros/bin/ros2', 'launch', file, 'tone:=low']
    assert replaced.value.args == ('/opt/ros/bin/ros2', command)
