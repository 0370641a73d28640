"""Which machines are taken to be alike."""

import pytest

from vla_core import machine

XEON = {'model name': 'Intel(R) Xeon(R) Processor', 'cpu family': '6', 'model': '207'}
CORTEX = {'CPU implementer': '0x41', 'CPU part': '0xd42', 'CPU revision': '1'}


@pytest.fixture
def kind_of(monkeypatch):
    """Say the kind of a machine whose /proc/cpuinfo has these fields."""

    def kind(fields):
        monkeypatch.setattr(machine, '_field', lambda file, name, *_: fields.get(name, ''))
        return machine.kind()[0]

    return kind


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (XEON | {'stepping': '2'}, XEON | {'stepping': '8'}),
        (XEON, XEON | {'model': '85'}),
        (CORTEX, CORTEX | {'CPU part': '0xd0b'}),
    ],
)
def test_models_of_one_name_are_told_apart(kind_of, one, other):
    assert kind_of(one) != kind_of(other)
    assert kind_of(one) == kind_of(dict(one))


def test_kind_begins_with_the_name_for_a_person(kind_of):
    assert kind_of(XEON | {'stepping': '2'}) == 'Intel(R) Xeon(R) Processor 6/207/2'


def test_this_machine_has_a_name_and_cores():
    name, cores = machine.kind()
    assert name
    assert cores >= 1


def test_gpu_is_part_of_the_name_where_policies_may_run_on_one(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, '_DEVICES', tmp_path)
    monkeypatch.setattr(machine, '_NVIDIA', tmp_path / 'gpus')
    plain = machine.kind()
    assert machine.kind('auto') == plain
    (tmp_path / 'nvidia0').touch()
    assert machine.kind('auto') == (f'{plain[0]} with GPU', plain[1])
    for number in range(2):
        (tmp_path / 'gpus' / str(number)).mkdir(parents=True)
        (tmp_path / 'gpus' / str(number) / 'information').write_text('Model: \t NVIDIA Abacus\n')
    assert machine.kind('cuda')[0] == f'{plain[0]} with NVIDIA Abacus'
    assert machine.kind('cpu') == plain
