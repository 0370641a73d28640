"""The shipped parameter file and the declaration of the parameters name the same keys."""

import dataclasses
from pathlib import Path

from vla_core.gate.config import GateConfig
from vla_core.parameters import build, load_yaml

FILE = Path(__file__).parents[3] / 'config' / 'gate.yaml'


def test_file_and_declaration_agree():
    values = load_yaml(FILE)['/**/gate']['ros__parameters']
    declared = [field.name for field in dataclasses.fields(GateConfig)]
    # The launch file says which robot it is.
    assert ['robot', *values] == declared
    assert build(GateConfig, {'robot': 'sim', **values}, 'gate.yaml') == GateConfig('sim')
