"""Whatever stands in a launch file: it is planned, or refused by our error, and never hangs.

FUZZ=100000 in the environment tries harder than `make test` does.
"""

from collections.abc import Iterator
import os
from pathlib import Path
import signal
from xml.sax.saxutils import quoteattr

from hypothesis import example, given, settings
from hypothesis import strategies as st
import pytest

from vla_cli.launching import substitutions
from vla_cli.launching.parameters import from_yaml, typed
from vla_cli.launching.plan import Plan
from vla_core.errors import ConfigError

EXAMPLES = int(os.environ.get('FUZZ', '60'))
FUZZ = settings(max_examples=EXAMPLES)
#: s; an example takes a few milliseconds.
PATIENCE = 60 + EXAMPLES
SHIPPED = Path(__file__).parents[3] / 'launch' / 'robot.launch.xml'
TAGS = (
    *('arg', 'let', 'include', 'group', 'push_ros_namespace', 'set_env', 'set_parameter'),
    *('executable', 'node', 'param', 'remap', 'env', 'choice', 'launch', 'other'),
)
NAMES = (
    *('name', 'default', 'value', 'file', 'if', 'unless', 'scoped', 'namespace', 'cmd', 'pkg'),
    *('exec', 'args', 'from', 'to', 'type', 'output', 'respawn', 'respawn_delay', 'on_exit'),
    *('respawn_max_retries', 'description'),
)
PIECES = (
    *('$(', ')', '$(var a)', '$(var a b)', '$(env HOME)', '$(find-pkg-share vla_bringup)'),
    *('$(not true)', '$(equals 1 1.0)', "$(equals 'a' b)", '$(eval 1)', "'", '"', '\\', ' ', '/'),
    *('true', '1', 'a', 'nan', '1e999', '[1, 2]', '{a: b}', '&a [*a]', '2001-99-99', '~', '\x85'),
)
# Not every character may stand in XML at all.
VALUES = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(min_codepoint=32, max_codepoint=900)),
    max_size=4,
).map(''.join)
HOSTILE = (
    b'',
    b'<launch>',
    b'<launch/><launch/>',
    b'<!DOCTYPE launch [<!ENTITY a "aaaa">]><launch>&a;</launch>',
    b'<?xml version="1.0" encoding="utf-7"?><launch/>',
    b'<?xml version="1.0" encoding="nonsense"?><launch/>',
    b'<?xml version="1.0" encoding="shift_jis"?><launch/>',
    b'<?xml version="1.0" encoding="utf-16"?><launch/>',
    b'<?xml version="1.1"?><launch/>',
    b'\x00<launch/>',
    b'\xff\xfe<\x00',
    b'<launch>&amp;</launch>',
    b'<launch>' + b'<group>' * 3000 + b'</group>' * 3000 + b'</launch>',
    b'<launch><include file="{itself}"/></launch>',
    b'<launch><let name="a" value="' + b'$(not ' * 3000 + b'true' + b')' * 3000 + b'"/></launch>',
    b'<launch><executable cmd="\'"/></launch>',
    b'<launch><executable cmd=""/></launch>',
    b'<launch><executable cmd=" "/></launch>',
    b'<launch><executable cmd="$(var a \'\')"/></launch>',
    b'<launch><executable cmd="ls" respawn_delay="nan"/></launch>',
    b'<launch><executable cmd="ls" respawn_delay="-1"/></launch>',
    b'<launch><executable cmd="ls" respawn_max_retries="' + b'9' * 5000 + b'"/></launch>',
    b'<launch><include file=""/></launch>',
    b'<launch><include file="/"/></launch>',
    b'<launch><include file="/dev/null"/></launch>',
    b'<launch><set_env name="" value="x"/></launch>',
    b'<launch><set_env name="A=B" value="x"/></launch>',
    b'<launch><set_parameter name="a" value="&amp;a [*a]"/></launch>',
    b'<launch><set_parameter name="a" value="2001-99-99"/></launch>',
    b'<launch><node pkg="../.." exec="x"/></launch>',
    b'<launch><node pkg="" exec="x"/></launch>',
)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f'not done in {PATIENCE} s')

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope='module')
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('fuzz') / 'any.launch.xml'


def plan(path: Path) -> Plan | None:
    """Return the plan of a file; None where it was refused in less than a page."""
    plan = Plan({'a': 'x'}, {'HOME': '/root', 'PATH': '/usr/bin'})
    try:
        plan.add(path)
    except ConfigError as error:
        reason = str(error)
    else:
        for process in plan.processes:
            assert process.command
            assert all(word for word in process.command[:1])
        return plan
    assert 'launch' in reason or 'dev' in reason
    assert len(reason) < 3000
    return None


@pytest.mark.parametrize('content', HOSTILE, ids=lambda content: repr(content[:60]))
def test_hostile_file_is_refused_in_a_few_words(path, content):
    path.write_bytes(content.replace(b'{itself}', str(path).encode()))
    plan(path)


@FUZZ
@given(content=st.binary(max_size=200))
def test_any_bytes(path, content):
    path.write_bytes(content)
    assert plan(path) is None or b'launch' in content


ELEMENTS = st.recursive(
    st.tuples(st.sampled_from(TAGS), st.dictionaries(st.sampled_from(NAMES), VALUES), st.just([])),
    lambda inner: st.tuples(
        st.sampled_from(TAGS),
        st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


def written(element) -> str:
    tag, attributes, children = element
    given = ''.join(f' {name}={quoteattr(value)}' for name, value in attributes.items())
    return f'<{tag}{given}>{"".join(map(written, children))}</{tag}>'


@FUZZ
@given(elements=st.lists(ELEMENTS, max_size=4))
def test_any_elements(path, elements):
    path.write_text(f'<launch>{"".join(map(written, elements))}</launch>', encoding='utf-8')
    plan(path)


@FUZZ
@given(place=st.floats(0, 1), cut=st.integers(0, 40), patch=VALUES)
@example(place=0.0, cut=0, patch='')
def test_spoiled_shipped_file(path, place, cut, patch):
    text = SHIPPED.read_text()
    start = int(place * len(text))
    path.write_text(text[:start] + patch + text[start + cut :], encoding='utf-8')
    plan(path)


@FUZZ
@given(text=VALUES, kind=st.sampled_from(['str', 'bool', 'int', 'float', 'yaml', 'other']))
@example(text='1: 2: 3', kind='yaml')
@example(text='9' * 5000, kind='int')
@example(text='9' * 5000, kind='yaml')
@example(text='[', kind='bool')
@example(text='2001-99-99', kind='bool')
def test_any_value(text, kind):
    def resolve(template: substitutions.Template) -> str:
        return substitutions.resolve(template, {'a': 'x'}, {'HOME': '/root'})

    for read in (
        lambda: typed(text, kind, resolve),
        lambda: from_yaml(text),
        lambda: substitutions.split_words(substitutions.parse(text)),
        lambda: substitutions.boolean(text),
    ):
        try:
            read()
        except ConfigError as error:
            reason = str(error)
        else:
            continue
        assert 0 < len(reason) < 12_000
