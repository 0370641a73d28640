"""How long the lines of a table may be."""

import io

import pytest

from vla_cli.screen import open_console


@pytest.mark.parametrize(('terminal', 'lengths'), [(False, [140, 60]), (True, [80, 80, 40])])
def test_only_a_terminal_has_a_width_of_its_own(monkeypatch, terminal, lengths):
    for name in ('FORCE_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('COLUMNS', '80')
    out = io.StringIO()
    out.isatty = lambda: terminal
    monkeypatch.setattr('sys.stdout', out)
    open_console(140).print('a' * 200)
    assert [len(line) for line in out.getvalue().split()] == lengths
