"""The hazard table names tests that exist, and leaves no cause of the gate out."""

import ast
from pathlib import Path
import re

import pytest

from vla_core.gate.causes import Cause

ROOT = Path(__file__).parents[3]
TABLE = ROOT / 'docs' / 'reference' / 'hazards.md'
ROWS = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in TABLE.read_text(encoding='utf-8').splitlines()
    if line.startswith('|') and not line.startswith(('|---', '| hazard |'))
]
TESTS = {
    f'{path.name}::{node.name}'
    for path in ROOT.glob('src/*/test/test_*.py')
    for node in ast.parse(path.read_text(encoding='utf-8')).body
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row[0]}: {row[1]}'[:60])
def test_a_row_is_complete_and_its_tests_exist(row):
    assert len(row) == 5
    assert all(row)
    named = re.findall(r'`([^`]+)`', row[4])
    assert named
    assert [name for name in named if name not in TESTS] == []


def test_every_cause_of_the_gate_is_a_hazard_that_somebody_thought_of():
    words = set(re.findall(r'[A-Z_]{5,}', TABLE.read_text(encoding='utf-8')))
    assert {cause.name for cause in Cause} - {'NONE'} - words == set()
    assert len(ROWS) > 30
