"""Robots and checkpoints are found by name or path, or the known names are listed."""

import pytest

from vla_core.errors import ConfigError
from vla_ros.files import checkpoint_path, find_spec, policy_path, robot_path


def test_path_is_taken_as_it_is(tmp_path):
    """A user's own robot file needs no installation."""
    path = tmp_path / 'mine.yaml'
    path.touch()
    assert robot_path(str(path)) == path
    assert checkpoint_path(str(tmp_path)) == tmp_path


def test_contract_is_that_of_the_built_in_policy_or_of_the_checkpoint():
    """No model is loaded for it."""
    assert find_spec('hold').model_id == 'hold'
    spec = find_spec('demo')
    assert (spec.model_id, len(spec.model_sha256)) == ('demo', 64)
    assert set(spec.envelope.actions) == set(spec.action_names)


@pytest.mark.parametrize('find', [robot_path, checkpoint_path, find_spec])
@pytest.mark.parametrize('name', ['', 'no_such_thing', '../gate', 'missing/path.yaml'])
def test_unknown_name_lists_what_is_known(find, name):
    """Nobody has to guess."""
    with pytest.raises(ConfigError, match=r'expected a path or one of|no such path'):
        find(name)


@pytest.mark.parametrize(
    ('find', 'policies'), [(find_spec, True), (policy_path, True), (checkpoint_path, False)]
)
def test_built_in_policies_are_named_where_one_would_do(find, policies):
    """Where only a checkpoint does, they are not."""
    with pytest.raises(ConfigError, match=r"'hodl'.*'demo'") as caught:
        find('hodl')
    assert ("'hold'" in str(caught.value) and "'scripted'" in str(caught.value)) is policies


@pytest.mark.parametrize('find', [robot_path, checkpoint_path, find_spec])
def test_home_of_nobody_is_named(find):
    """An error of one line, like any other."""
    with pytest.raises(ConfigError, match=r'~nosuchuser/x\.yaml.*expected a path'):
        find('~nosuchuser/x.yaml')
