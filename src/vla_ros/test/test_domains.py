"""A domain of one's own: apart from the caller's robot, from other users, and without a file."""

import os
from pathlib import Path
import subprocess
import sys
import tempfile

from ament_index_python.packages import get_package_prefix
import pytest

from vla_ros import domains
from vla_ros.domains import ALONE, DomainError, own_domain

#: Names that no other process asks for.
FIRST = 1000 * os.getpid()


@pytest.fixture(autouse=True)
def two_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, 'DOMAINS', range(FIRST, FIRST + 2))


@pytest.mark.parametrize('text', ['{}', ' {} ', '0{}'])
def test_the_exported_domain_is_never_handed_out(monkeypatch: pytest.MonkeyPatch, text) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', text.format(FIRST))
    with own_domain() as domain:
        assert domain == FIRST + 1
        with pytest.raises(DomainError, match='all taken'), own_domain():
            pass


def test_who_is_alone_says_so_in_variables_that_ros_reads() -> None:
    library = (Path(get_package_prefix('rcl')) / 'lib/librcl.so').read_bytes()
    for name in ALONE:
        assert f'{name}\0'.encode() in library


def test_two_users_never_share_a_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.getuid()
    with own_domain() as first:
        monkeypatch.setattr(os, 'getuid', lambda: user + 1)
        with own_domain() as second:
            assert {first, second} == {FIRST, FIRST + 1}


def test_no_file_is_made_and_no_planted_link_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    precious = tmp_path / 'precious'
    precious.write_text('content')
    folder = tmp_path / f'vla-domains-{os.getuid()}'
    folder.mkdir()
    (folder / str(FIRST)).symlink_to(precious)
    with own_domain() as domain:
        assert domain == FIRST
    assert precious.read_text() == 'content'
    assert {path.name for path in tmp_path.rglob('*')} == {'precious', folder.name, str(FIRST)}


def test_a_domain_is_free_again_after_its_use_and_after_a_kill() -> None:
    holder = (
        'import os\n'
        'from vla_ros import domains\n'
        f'domains.DOMAINS = range({FIRST}, {FIRST + 2})\n'
        'with domains.own_domain() as domain:\n'
        '    print(domain)\n'
        '    os.kill(os.getpid(), 9)\n'
    )
    done = subprocess.run([sys.executable, '-uc', holder], capture_output=True, check=False)
    assert int(done.stdout) == FIRST
    for _ in range(2):
        with own_domain() as domain:
            assert domain == FIRST
