"""Short runs of what `vla bench` measures with live nodes; nothing here judges how fast it is."""

import pytest

from vla_cli.bench import estop, malformed, period, soak, startup
from vla_cli.bench.load import CLASSES
from vla_cli.bench.targets import TARGETS


# Minutes; test_gate_node_malformed.py and test_policy_node_malformed.py are for every day.
@pytest.mark.slow
def test_malformed_messages_of_every_type_break_nothing(tmp_path, figures):
    rows = list(malformed.malformed(30, 'scripted', tmp_path))
    assert len(rows) == len(TARGETS) + 1
    for row in rows:
        figures(row.line())
        assert len(row.samples) == 30, row.words()
        assert row.verdicts() == {'max': True}, row.words()
    # A robot that never moved, or nodes that heard nothing, would prove nothing.
    assert sum(int(row.notes['sent while the robot moved'].split()[0]) for row in rows) > 45
    assert sum(row.notes['errors that gate, policy, camera and monitor counted'] for row in rows)


def test_every_way_of_stopping_reaches_the_base(tmp_path, figures):
    rows = estop.estop_to_zero(8, tmp_path)
    assert [row.name for row in rows] == [way.name for way in estop.WAYS]
    for row in rows:
        figures(row.line())
        assert len(row.samples) + len(row.paused) >= 8
        # A stop that did not come counts as the whole time that was listened.
        assert max((*row.samples, *row.paused)) < 1e3 * estop.PATIENCE


def test_every_step_of_a_gate_is_counted(tmp_path, figures):
    (row,) = period.gate_period_error(100, tmp_path)
    figures(row.line())
    assert len(row.samples) == 100
    assert row.notes['decisions that did not reach the watcher'] == 0


@pytest.mark.slow
def test_gates_of_every_class_step_beside_each_other(tmp_path, figures):
    rows = period.gate_period_error_loaded(100, tmp_path)
    names = {f'gate_period_error_loaded_{name}' for name in CLASSES}
    assert {row.name for row in rows} <= names
    # Without privileges a process may only be left as it is.
    assert 'gate_period_error_loaded_other' in {row.name for row in rows}
    for row in rows:
        figures(row.line())
        assert len(row.samples) == 100


@pytest.mark.slow
def test_soak_looks_at_every_process(tmp_path, figures):
    rows = soak.soak(1, 'scripted', tmp_path)
    assert {row.name for row in rows} == {f'soak_rss_{name}' for name in soak.NODES}
    for row in rows:
        figures(row.line())
        assert min(row.samples) > 10.0
        assert row.notes['frames per s'] > 0.0


def test_every_process_starts_and_the_policy_stays_small(tmp_path, figures):
    rows = {row.name: row for row in startup.startup('demo', 1, tmp_path)}
    assert set(rows) == {f'{what}_{n}' for what in ('startup', 'memory') for n in startup.NODES}
    for row in rows.values():
        figures(row.line())
        assert min(row.samples) > 0.0
    # The promise is 200 MB on the machine of the README; 285 were held without the child.
    assert max(rows['memory_policy'].samples) < 250.0, rows['memory_policy'].words()
