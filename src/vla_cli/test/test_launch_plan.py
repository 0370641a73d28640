"""The launch file reader: what it refuses, and the places it names.

Agreement with ROS 2's own launch is compared in vla_bringup (test_launch_processes.py).
"""

from pathlib import Path

from hypothesis import given, strategies
import pytest

from vla_cli.launching import substitutions
from vla_cli.launching.plan import InlineParameters, Plan
from vla_core.errors import ConfigError


def planned(tmp_path: Path, content: str, **arguments: str) -> Plan:
    path = tmp_path / 'test.launch.xml'
    path.write_text(f'<launch>\n{content}\n</launch>\n')
    plan = Plan(arguments, {'PATH': '/bin'})
    plan.add(path)
    return plan


REFUSED = {
    'unknown element': ('<timer period="1"/>', '<timer>: not possible inside <launch>'),
    'unknown attribute': (
        '<let name="a" value="b" colour="c"/>',
        '<let>: unknown attribute colour',
    ),
    'missing attribute': ('<let name="a"/>', '<let>: missing attribute value'),
    'child of a leaf': (
        '<let name="a" value="b"><env name="a" value="b"/></let>',
        '<env>: not poss',
    ),
    'both conditions': ('<group if="true" unless="true"/>', '<group>: has both if and unless'),
    'no boolean': ('<group if="maybe"/>', "<group>: condition 'maybe' is not a boolean"),
    'stray text': ('hello', "stray text 'hello'"),
    'unclosed element': ('<group>', 'not well-formed XML'),
    'unclosed call': ('<let name="a" value="$(var x"/>', '<let>: '),
    'unknown call': ('<let name="a" value="$(eval 1)"/>', '<let>: unknown substitution $(eval)'),
    'too many arguments': ('<let name="a" value="$(not a b)"/>', '<let>: $(not) has 2 arguments'),
    'unset variable': ('<let name="a" value="$(var x)"/>', "launch argument 'x' does not exist"),
    'unset environment': ('<let name="a" value="$(env X)"/>', "environment variable 'X' does not"),
    'required argument': (
        '<arg name="a"/>',
        "launch argument 'a' has no default; expected a:=value",
    ),
    'no choice': (
        '<arg name="a" default="1"><choice value="2"/></arg>',
        "is '1'; expected one of 2",
    ),
    'package': ('<node pkg="nowhere" exec="a"/>', "<node>: package 'nowhere' is not installed"),
    'share': ('<let name="a" value="$(find-pkg-share nowhere)"/>', "package 'nowhere' is not"),
    'output': ('<executable cmd="a" output="both"/>', "<executable>: output is 'both'; expected"),
    'on_exit': (
        '<executable cmd="a" on_exit="respawn"/>',
        "on_exit is 'respawn'; expected shutdown",
    ),
    'substituted retries': (
        '<executable cmd="a" respawn_max_retries="$(env PATH)"/>',
        'expected a literal int',
    ),
    'namespace': ('<push_ros_namespace namespace="my robot"/>', "name '/my robot' is invalid"),
    'list as global': ('<set_parameter name="a" value="[1, 2]"/>', 'is a list; expected a scalar'),
    'mixed list': (
        '<set_parameter name="a" value="[1, x]"/>',
        "is [1, 'x']; expected a scalar or",
    ),
    'empty text compared': (
        '<group if="$(equals $(env HOME) \'\')"/>',
        "launch takes it for '[]'; expected text",
    ),
    'missing file': ('<include file="/nowhere.xml"/>', 'launch file /nowhere.xml: No such file'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_is_not_played_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    with pytest.raises(ConfigError) as refusal:
        planned(tmp_path, content)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(f'{tmp_path}/test.launch.xml:')


def test_a_place_is_the_line_of_the_element(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'test\.launch\.xml:4: <timer>'):
        planned(tmp_path, '<group>\n\n<timer/></group>')


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'entities.xml'
    path.write_text('<!DOCTYPE x [<!ENTITY a "aaaa">]>\n<launch>&a;</launch>')
    with pytest.raises(ConfigError, match=r'entities\.xml:1: has a DOCTYPE'):
        Plan({}, {}).add(path)


def test_a_missing_parameter_file_is_refused(tmp_path: Path, gate_package: None) -> None:
    content = '<node pkg="some_package" exec="gate">\n<param from="/nowhere.yaml"/></node>'
    with pytest.raises(ConfigError, match=r":3: <param>: parameter file '/nowhere.yaml' does not"):
        planned(tmp_path, content)


GRAPH = """<group>
  <push_ros_namespace namespace="left"/>
  <node pkg="some_package" exec="gate" name="gate"><param from="{file}"/></node>
  <node pkg="nowhere" exec="recorder" name="recorder" if="false"/>
  <include file="{folder}/sim.launch.xml" if="false"/>
  <include file="/nowhere.xml" if="false"/>
</group>"""
LIMIT = '{ros__parameters: {speed_scale: 0.1}}'


def planned_with(tmp_path: Path, parameters: str) -> Plan:
    file = tmp_path / 'parameters.yaml'
    file.write_text(parameters)
    simulator = '<launch><node pkg="nowhere" exec="sim" name="sim"/></launch>'
    (tmp_path / 'sim.launch.xml').write_text(simulator)
    return planned(tmp_path, GRAPH.format(file=file, folder=tmp_path))


@pytest.mark.parametrize(
    'parameters',
    [
        *('', '# nothing\n', '{}'),
        *(f'{name}: {LIMIT}' for name in ('/**', '/left/gate', 'left/gate', '"*/gate"')),
        *(f'{name}: {LIMIT}' for name in ('/**/gate', '/left/*', '/**/gate/**', '/**/left/gate')),
        f'left: {{gate: {LIMIT}}}',
        # They are left out this time; the same file serves with them.
        *(f'/**/{name}: {LIMIT}' for name in ('recorder', 'sim')),
    ],
)
def test_a_section_for_a_node_is_let_through(
    tmp_path: Path, gate_package: None, parameters: str
) -> None:
    assert len(planned_with(tmp_path, parameters).processes) == 1


@pytest.mark.parametrize(
    'section',
    ['/**/gtae', 'gate', '/gate', '/*', '/*/*/gate', '/right/gate', '/left', '/**/gate/x'],
)
def test_a_section_for_nobody_is_refused(tmp_path: Path, gate_package: None, section: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        planned_with(tmp_path, f'/**/gate: {LIMIT}\n{section}: {LIMIT}')
    for part in (f'{tmp_path}/parameters.yaml', repr(section), 'expected one of /left/gate, or'):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    'left_out',
    [
        '<group if="false"><include file="{folder}/other.launch.xml"/></group>',
        '<include if="false" file="{folder}/other.launch.xml"/>',
        '<include if="false" file="{folder}/other.launch.py"/>',
        '<group if="false"><push_ros_namespace namespace="front"/>'
        '<node pkg="nowhere" exec="lidar" name="lidar"/></group>',
        '<executable cmd="lidar --ros-args --params-file {folder}/parameters.yaml"/>',
    ],
)
def test_a_section_for_what_is_left_out_is_let_through(
    tmp_path: Path, gate_package: None, left_out: str
) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text(f'/**/gate: {LIMIT}\n/**/lidar: {LIMIT}')
    lidar = '<arg name="name" default="lidar"/><node pkg="no" exec="x" name="$(var name)"/>'
    (tmp_path / 'other.launch.xml').write_text(f'<launch>{lidar}</launch>')
    (tmp_path / 'other.launch.py').touch()
    gate = f'<node pkg="some_package" exec="gate" name="gate"><param from="{file}"/></node>'
    planned(tmp_path, gate + left_out.format(folder=tmp_path))


def test_a_section_for_a_node_that_does_not_read_the_file_is_refused(
    tmp_path: Path, gate_package: None
) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text(f'/**/gate: {LIMIT}')
    other = f'<node pkg="some_package" exec="gate" name="other"><param from="{file}"/></node>'
    gate = '<node pkg="some_package" exec="gate" name="gate"/>'
    with pytest.raises(
        ConfigError, match='none of the nodes that read it; expected one of /other'
    ):
        planned(tmp_path, other + gate)


@pytest.mark.parametrize(
    ('parameters', 'said'),
    [
        ('[]', 'content is []; expected a mapping'),
        ('a: [', 'not YAML'),
        ('/**/gate: 3', "section '/**/gate' is 3; expected a mapping"),
        ('/**/gate: {}', "section '/**/gate': no ros__parameters"),
        ('/**/gate: {speed_scale: 0.1}', "section '/**/gate': no ros__parameters"),
        ('/**/gate: {ros_parameters: {a: 1}}', "section '/**/gate/ros_parameters': no ros__"),
        ('/**/gate: {ros__parameters: 3}', "section '/**/gate': expected one mapping ros__"),
        (f'/**/gate: {LIMIT}\n/**/gate: {LIMIT}', "'/**/gate' is given twice"),
    ],
)
def test_a_file_without_parameters_is_refused(
    tmp_path: Path, gate_package: None, parameters: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=r'test\.launch\.xml:4: <param>: parameter file') as no:
        planned_with(tmp_path, parameters)
    assert said in str(no.value)


def test_a_section_may_be_for_a_node_that_names_itself(tmp_path: Path, gate_package: None) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text(f'/**/whoever: {LIMIT}')
    content = f'<node pkg="some_package" exec="gate"><param from="{file}"/></node>'
    assert len(planned(tmp_path, content).processes) == 1


def test_declared_arguments_are_listed_with_their_defaults(tmp_path: Path) -> None:
    plan = planned(tmp_path, '<arg name="a" default="$(env PATH)" description="why"/>', a='given')
    assert plan.declared['a'].default == '/bin'
    assert plan.declared['a'].description == 'why'


def test_inline_parameters_become_a_file_for_their_node(
    tmp_path: Path, gate_package: None
) -> None:
    content = (
        '<node pkg="some_package" exec="gate" name="gate"><param name="a" value="1.5"/></node>'
    )
    (process,) = planned(tmp_path, content).processes
    assert InlineParameters('/**', {'a': 1.5}) in process.command
    path = Path(process.with_files(tmp_path).command[-1])
    assert path.read_text() == '/**:\n  ros__parameters:\n    a: 1.5\n'


@given(strategies.text().filter(lambda text: '\0' not in text))
def test_escaped_text_resolves_to_itself(text: str) -> None:
    escaped = ''.join(f'\\{character}' for character in text)
    assert substitutions.resolve(substitutions.parse(escaped), {}, {}) == text


@given(strategies.text(), strategies.text())
def test_equals_is_symmetric_and_boolean(left: str, right: str) -> None:
    def resolved(a: str, b: str) -> str:
        template = substitutions.parse('$(equals $(var a) $(var b))')
        return substitutions.resolve(template, {'a': a, 'b': b}, {})

    assert resolved(left, right) == resolved(right, left)
    assert resolved(left, right) in ('true', 'false')
    assert resolved(left, left) == 'true' or left.strip().lower().lstrip('+-') == 'nan'


@pytest.fixture
def gate_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / 'share/ament_index/resource_index/packages/some_package'
    index.parent.mkdir(parents=True)
    index.touch()
    executable = tmp_path / 'lib/some_package/gate'
    executable.parent.mkdir(parents=True)
    executable.touch(mode=0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
