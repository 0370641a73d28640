"""Parameters refuse bad values by name, value and what is allowed."""

from dataclasses import dataclass
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.errors import ConfigError
from vla_core.parameters import build, load_yaml, parameter


@dataclass(frozen=True, kw_only=True)
class Example:
    """One field of each kind."""

    speed: float = parameter(default=0.5, unit='m/s', low=0.01, high=2.0, doc='Speed')
    count: int = parameter(default=3, low=1, high=9, doc='Count')
    mode: str = parameter(default='pad', choices=('pad', 'crop'), doc='Mode')
    armed: bool = parameter(default=False, doc='Armed')
    name: str = parameter(doc='Name')


GOOD = {'name': 'x'}


def test_defaults_and_values():
    """Given values replace defaults."""
    config = build(Example, {**GOOD, 'speed': 1.0}, 'test')
    assert (config.speed, config.count, config.mode) == (1.0, 3, 'pad')


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({}, 'parameter name is missing'),
        ({**GOOD, 'sped': 1.0}, "unknown parameter 'sped'"),
        ({**GOOD, 'speed': 0.0}, r'speed is 0.0: expected a finite float in \[0.01, 2\] m/s'),
        ({**GOOD, 'speed': math.nan}, 'speed is nan'),
        ({**GOOD, 'speed': math.inf}, 'speed is inf'),
        ({**GOOD, 'speed': 1}, 'decimal point'),
        ({**GOOD, 'speed': '1.0'}, "speed is '1.0'"),
        ({**GOOD, 'speed': None}, 'speed is None'),
        ({**GOOD, 'count': 10}, r'count is 10: expected an integer in \[1, 9\]'),
        ({**GOOD, 'count': True}, 'count is True'),
        ({**GOOD, 'mode': 'none'}, 'expected one of pad, crop'),
        ({**GOOD, 'armed': 1}, 'armed is 1'),
    ],
)
def test_bad_value_is_refused(values, message):
    """The message names where, parameter, value and what is allowed."""
    with pytest.raises(ConfigError, match=message) as caught:
        build(Example, values, 'robot.yaml')
    assert str(caught.value).startswith('robot.yaml: ')


@given(st.floats())
def test_only_finite_floats_in_range_pass(value):
    """No float outside the range gets through, whatever its bits."""
    try:
        build(Example, {**GOOD, 'speed': value}, 'test')
    except ConfigError:
        assert not (0.01 <= value <= 2.0)
    else:
        assert 0.01 <= value <= 2.0


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('a: 1\na: 2\n', 'given twice'),
        ('- 1\n', 'expected a mapping'),
        ('a: [1\n', 'not YAML'),
        ('a: !!python/object/apply:os.getcwd []\n', 'not YAML'),
        ('', 'expected a mapping'),
    ],
)
def test_bad_yaml_is_refused(tmp_path, content, message):
    """Every error names the file."""
    path = tmp_path / 'bad.yaml'
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_yaml(path)
    assert str(path) in str(caught.value)


def test_missing_and_huge_yaml_are_refused(tmp_path):
    """Size is looked at before the content."""
    with pytest.raises(ConfigError, match='No such file'):
        load_yaml(tmp_path / 'missing.yaml')
    big = tmp_path / 'big.yaml'
    big.write_text('a: ' + 'x' * 100)
    with pytest.raises(ConfigError, match='expected at most 50'):
        load_yaml(big, max_bytes=50)
