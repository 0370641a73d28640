"""The shipped parameter file and the declarations say the same."""

import dataclasses
from pathlib import Path

from vla_core.parameters import build, load_yaml
from vla_inference.config import PolicyConfig

SHIPPED = Path(__file__).parents[3] / 'config' / 'policy.yaml'


def test_shipped_values_are_declared_and_allowed():
    values = load_yaml(SHIPPED)['/**/policy']['ros__parameters']
    config = build(PolicyConfig, {**values, 'robot': 'sim', 'checkpoint': 'demo'}, str(SHIPPED))
    assert dataclasses.asdict(config).items() >= values.items()


def test_shipped_values_are_the_declared_defaults():
    values = load_yaml(SHIPPED)['/**/policy']['ros__parameters']
    defaults = PolicyConfig(robot='sim', checkpoint='demo')
    assert values == {name: getattr(defaults, name) for name in values}
