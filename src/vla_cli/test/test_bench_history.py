"""What is drawn of the files of a folder, and where."""

import pytest

from vla_cli.bench import history
from vla_cli.bench.compare import CompareError, read
from vla_cli.bench.report import Row, write


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw one file of rows; return its panels by their title."""
    figures = []
    monkeypatch.setattr(history, 'save', lambda figure, picture: figures.append(figure))

    def draw(*rows: Row) -> dict:
        write(rows, {'POLICY': 'hold'}, tmp_path / '1.json')
        history.draw({'1': read(tmp_path / '1.json')}, tmp_path / 'a.png')
        return {panel.get_title(): panel for panel in figures[-1].axes if panel.get_visible()}

    return draw


def test_a_single_p99_is_drawn(drawn):
    (panel,) = drawn(Row('row', 'ms', [1.0] * 90 + [3.0] * 10)).values()
    p50, p99 = panel.lines
    assert (list(p50.get_ydata()), list(p99.get_ydata())) == ([1.0], [3.0])
    assert 'None' not in (p50.get_marker(), p99.get_marker())


def test_row_whose_p99_alone_is_no_zero_is_drawn(drawn):
    panels = drawn(Row('late', 's', [0.0] * 90 + [2.0] * 10), Row('violations', 'n', [0.0] * 100))
    assert list(panels) == ['late, s']
    assert panels['late, s'].get_ylim() == (0.0, pytest.approx(2.3))


@pytest.mark.parametrize('name', ['picture', 'folder', 'folder.png', 'a.nonsense'])
def test_picture_that_would_be_another_file_is_refused(tmp_path, name):
    write([Row('row', 'ms', [1.0])], {'POLICY': 'hold'}, tmp_path / '1.json')
    for folder in ('folder', 'folder.png'):
        (tmp_path / folder).mkdir()
    with pytest.raises(CompareError, match='expected a picture'):
        history.history(tmp_path, tmp_path / name)
    assert not (tmp_path / f'{name}.png').is_file()
