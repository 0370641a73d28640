"""The SROS2 policy: what it grants is what the nodes use, and only the gate writes cmd_vel."""

import ast
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
import re
import time
from xml.etree import ElementTree as ET

import pytest
import rclpy
from rclpy.action import (
    get_action_client_names_and_types_by_node,
    get_action_server_names_and_types_by_node,
)
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_camera.camera_node import CameraNode
from vla_cli.connection import connect
from vla_cli.gate import SERVICES
from vla_cli.say import ACTION
from vla_inference.policy_node import PolicyNode
from vla_monitor.monitor_node import MonitorNode
from vla_replay.record_command import SAVE
from vla_replay.recorder_node import RecorderNode
from vla_ros.domains import own_domain
from vla_safety.gate_node import GateNode

ROOT = Path(__file__).parents[3]
POLICY = ROOT / 'config' / 'security' / 'policy.xml'
VERBS = {
    'topics': ('publish', 'subscribe'),
    'services': ('reply', 'request'),
    'actions': ('execute', 'call'),
}
#: Granted though this test's nodes do not use them: name -> when they are used.
SOMETIMES = {
    ('/vla/gate', 'subscribe', '/scan'): 'a robot file with zones',
    ('/vla/gate', 'subscribe', '/clock'): 'simulated time',
    ('/vla/policy', 'subscribe', '/clock'): 'simulated time',
    ('/vla/camera', 'subscribe', '/clock'): 'simulated time',
    ('/vla/monitor', 'subscribe', '/clock'): 'simulated time',
    ('/vla/camera', 'subscribe', '/camera/color/image_raw/compressed'): 'transport: compressed',
}
#: The two services of a node that tell its parameters.
_PARAMETERS = ('/list_parameters', '/get_parameters')
ROBOT = """
simulated: true
estop: none
odom: required
discovery: LOCALHOST
gripper: {}
axes:
  linear.x: {max_speed: 0.6, max_accel: 1.0, max_decel: 1.0}
"""

Grant = tuple[str, str, str]


def grants(policy: Path | None = None) -> set[Grant]:
    """Every (enclave, verb, absolute name) of the policy."""
    found = set()
    for enclave in ET.parse(policy or POLICY).getroot().iter('enclave'):
        profiles = list(enclave.iter('profile'))
        assert profiles
        for profile, rule in ((one, rule) for one in profiles for rule in one):
            namespace, node = profile.get('ns', '').rstrip('/'), profile.get('node')
            verbs = [verb for verb in VERBS[rule.tag] if rule.get(verb)]
            assert len(verbs) == len(rule.attrib) > 0
            assert set(rule.attrib.values()) == {'ALLOW'}
            for verb in verbs:
                for item in rule:
                    assert item.tag == rule.tag.removesuffix('s')
                    name = (item.text or '').replace('~', f'/{node}')
                    name = name if name.startswith('/') else f'{namespace}/{name}'
                    found.add((enclave.get('path', ''), verb, name))
    return found


def holders(verb: str, name: str) -> set[str]:
    return {enclave for enclave, granted, what in grants() if (granted, what) == (verb, name)}


# -- the file alone


def test_every_process_of_the_launch_files_runs_in_an_enclave_that_exists():
    enclaves = {enclave for enclave, _, _ in grants()}
    assert len(enclaves) == 8
    nodes = [
        node
        for path in sorted((ROOT / 'launch').glob('*.launch.xml'))
        for node in ET.parse(path).getroot().iter('node')
    ]
    assert len(nodes) >= 7
    for node in nodes:
        found = re.findall(r'--enclave (\S+)', node.get('args', ''))
        assert len(found) == 1, node.get('exec')
        assert found[0] in enclaves
        if node.get('exec') != 'sim':
            assert found[0] == f'/vla/{node.get("exec")}'


def test_sros2_can_read_it():
    """sros2 asks every child of `enclaves` for its path, a comment too, and fails on it."""
    builder = ET.TreeBuilder(insert_comments=True)
    tree = ET.parse(POLICY, ET.XMLParser(target=builder))
    root = tree.getroot()
    assert (root.tag, root.get('version')) == ('policy', '0.2.0')
    enclaves = root.find('enclaves')
    assert enclaves is not None
    assert all(isinstance(child.tag, str) and child.get('path') for child in enclaves)


@pytest.mark.parametrize(
    ('verb', 'name', 'only'),
    [
        ('publish', '/cmd_vel', {'/vla/gate'}),
        ('publish', '/gripper_command', {'/vla/gate'}),
        ('publish', '/safety/decision', {'/vla/gate'}),
        ('publish', '/safety/state', {'/vla/gate'}),
        ('publish', '/safety/events', {'/vla/gate'}),
        ('publish', '/vla/action_chunk', {'/vla/policy'}),
        ('publish', '/vla/instruction', {'/vla/policy'}),
        ('publish', '/vla/image/front', {'/vla/camera'}),
        ('publish', '/odom', {'/vla/robot'}),
        ('publish', '/scan', {'/vla/robot'}),
        ('publish', '/clock', {'/vla/robot'}),
        ('publish', '/cmd_vel_human', {'/vla/operator'}),
        ('publish', '/command', {'/vla/operator'}),
        ('publish', '/safety/estop', {'/vla/operator', '/vla/estop'}),
        ('publish', '/safety/request', {'/vla/operator', '/vla/monitor'}),
        *(('request', f'/{service}', {'/vla/operator'}) for service in SERVICES.values()),
        *(('reply', f'/{service}', {'/vla/gate'}) for service in SERVICES.values()),
        ('request', f'/{SAVE}', {'/vla/operator'}),
        ('reply', f'/{SAVE}', {'/vla/recorder'}),
        ('call', f'/{ACTION}', {'/vla/operator'}),
        ('execute', f'/{ACTION}', {'/vla/policy'}),
        ('request', '/policy/change_state', set()),
    ],
)
def test_what_moves_or_releases_the_robot_is_granted_to_exactly(verb, name, only):
    assert holders(verb, name) == only


def test_a_second_profile_of_an_enclave_is_seen(tmp_path):
    """Its node has the same keys: what one profile grants, the whole process may."""
    tree = ET.parse(POLICY)
    profiles = tree.getroot().find('enclaves/enclave[@path="/vla/policy"]/profiles')
    assert profiles is not None
    profile = ET.SubElement(profiles, 'profile', ns='/', node='helper')
    topics = ET.SubElement(profile, 'topics', publish='ALLOW')
    ET.SubElement(topics, 'topic').text = 'cmd_vel'
    tree.write(tmp_path / 'policy.xml')
    added = grants(tmp_path / 'policy.xml') - grants()
    assert added == {('/vla/policy', 'publish', '/cmd_vel')}


def test_nothing_is_granted_by_a_pattern():
    assert [grant for grant in grants() if re.search(r'[*?\[]', grant[2])] == []


def test_whatever_is_heard_may_be_said_by_somebody():
    said = {name for _, verb, name in grants() if verb == 'publish'}
    heard = {name for _, verb, name in grants() if verb == 'subscribe'}
    assert heard - said == set()
    asked = {name for _, verb, name in grants() if verb in ('request', 'call')}
    answered = {name for _, verb, name in grants() if verb in ('reply', 'execute')}
    assert asked - answered == set()


def test_the_recorder_hears_whatever_is_said_and_asks_every_node_for_its_parameters():
    granted = grants()
    said = {name for _, verb, name in granted if verb == 'publish'}
    answered = {name for _, verb, name in granted if verb == 'reply'}
    parameters = {name for name in answered if name.endswith(_PARAMETERS)}
    assert len(said) > 25
    assert len(parameters) == 2 * 7
    may = {(verb, name) for enclave, verb, name in granted if enclave == '/vla/recorder'}
    assert {name for verb, name in may if verb == 'subscribe'} == said
    assert {name for verb, name in may if verb == 'request'} == parameters


# -- the file and the nodes


@pytest.fixture(scope='module')
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[Grant]]]:
    """Yield what each node of the graph really uses, as the middleware sees it."""
    robot = tmp_path_factory.mktemp('robot') / 'robot.yaml'
    robot.write_text(ROBOT)
    common = {'robot': str(robot)}
    ring = {'folder': str(robot.parent), 'mode': 'ring'}
    kinds: tuple[tuple[str, Callable[..., Node], dict[str, str]], ...] = (
        ('gate', GateNode, common),
        ('monitor', MonitorNode, common),
        ('camera', CameraNode, {**common, 'checkpoint': 'hold', 'slot': 'front'}),
        ('recorder', RecorderNode, ring),
        ('policy', PolicyNode, {**common, 'checkpoint': 'hold'}),
    )
    with own_domain() as domain:
        context = Context()
        rclpy.init(args=[], context=context, domain_id=domain)
        nodes = [
            make(
                context=context,
                parameter_overrides=[Parameter(key, value=text) for key, text in values.items()],
            )
            for _, make, values in kinds
        ]
        # The policy opens its pictures and its chunks only when it is configured.
        nodes[-1].start()
        yield _settled(lambda: {name: _uses(nodes[0], name) for name, _, _ in kinds})
        for node in nodes:
            node.close() if hasattr(node, 'close') else None
            node.destroy_node()
        rclpy.try_shutdown(context=context)


def _settled(look: Callable[[], dict[str, set[Grant]]]) -> dict[str, set[Grant]]:
    """Look until nothing that is granted is missing and nothing has changed for a second.

    The graph hears of new endpoints bit by bit, and on a busy machine pauses for longer than that
    second; what is still missing after 30 s is missing.
    """
    begun = time.monotonic()
    found, since = look(), begun
    while True:
        now = time.monotonic()
        complete = all(not unused(name, used) for name, used in found.items())
        if now - since >= 1.0 and (complete or now - begun >= 30.0):
            return found
        time.sleep(0.1)
        again = look()
        if again != found:
            found, since = again, time.monotonic()


def unused(name: str, used: set[Grant]) -> set[Grant]:
    """Return what a node is granted and does not use."""
    granted = {grant for grant in grants() if grant[0] == f'/vla/{name}'}
    # rclpy's nodes publish parameter events and hear none; ROS grants both together.
    heard = {(f'/vla/{name}', 'subscribe', '/parameter_events')}
    if name == 'recorder':  # what it hears and asks depends on who is there
        heard = {grant for grant in granted if grant[1] in ('subscribe', 'request')}
    return granted - used - heard - set(SOMETIMES)


def _uses(observer: Node, name: str) -> set[Grant]:
    enclave = f'/vla/{name}'
    asked = (
        ('publish', observer.get_publisher_names_and_types_by_node(name, '/')),
        ('subscribe', observer.get_subscriber_names_and_types_by_node(name, '/')),
        ('reply', observer.get_service_names_and_types_by_node(name, '/')),
        ('request', observer.get_client_names_and_types_by_node(name, '/')),
        ('execute', get_action_server_names_and_types_by_node(observer, name, '/')),
        ('call', get_action_client_names_and_types_by_node(observer, name, '/')),
    )
    return {
        (enclave, verb, topic)
        for verb, names in asked
        for topic, _ in names
        # An action's own topics and services are granted with the action.
        if '/_action/' not in topic
    }


@pytest.mark.parametrize('name', ['gate', 'monitor', 'camera', 'policy', 'recorder'])
def test_a_node_may_do_what_it_does(used, name):
    assert len(used[name]) > 8
    assert used[name] - grants() == set()


@pytest.mark.parametrize('name', ['gate', 'monitor', 'camera', 'policy', 'recorder'])
def test_a_node_may_do_nothing_more(used, name):
    assert unused(name, used[name]) == set()


def test_the_simulator_may_do_what_it_does():
    source = ROOT / 'src' / 'vla_sim' / 'vla_sim' / 'sim_node.py'
    verbs = {
        'create_publisher': ('publish', 1),
        'create_subscription': ('subscribe', 1),
        'create_service': ('reply', 1),
    }
    found = {
        ('/vla/robot', verb, f'/{call.args[place].value}')
        for call in ast.walk(ast.parse(source.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        for verb, place in [verbs.get(call.func.attr, ('', 0))]
        if verb
    }
    assert len(found) >= 8
    assert found - grants() == set()


def test_the_node_of_a_command_needs_nothing_that_bears_its_name(monkeypatch):
    with own_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        with connect('') as connection:
            found = _uses(connection.node, connection.node.get_name())
    assert found
    assert {(verb, name) for _, verb, name in found} <= {
        (verb, name) for enclave, verb, name in grants() if enclave == '/vla/operator'
    }


def texts(*parts: str) -> set[str]:
    """Return every text in a source file below src/."""
    tree = ast.parse((ROOT / 'src').joinpath(*parts).read_text())
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def test_the_commands_of_a_person_may_do_what_they_do():
    """Every name that `vla` uses is one that the operator may say, hear or ask."""
    sources = [('vla_cli', 'vla_cli', f'{name}.py') for name in ('gate', 'say', 'top')]
    sources += [('vla_cli', 'vla_cli', 'connection.py')]
    sources += [('vla_replay', 'vla_replay', 'record_command.py')]
    sources += [('vla_replay', 'vla_replay', 'collecting', 'command.py')]
    name = re.compile(r'(safety|vla|recorder)/[a-z_/]+|command|odom|cmd_vel\w*')
    named = {f'/{text}' for parts in sources for text in texts(*parts) if name.fullmatch(text)}
    allowed = {name for enclave, _, name in grants() if enclave == '/vla/operator'}
    assert len(named) >= 10
    assert named - allowed == set()


def test_a_demonstration_of_a_person_hears_what_it_records():
    said = {name for _, verb, name in grants() if verb == 'publish'}
    (patterns,) = (
        text.split()
        for text in texts('vla_replay', 'vla_replay', 'collecting', 'episode.py')
        if 'camera/* ' in text
    )
    wanted = {name for name in said for one in patterns if fnmatchcase(name, f'/{one}')}
    heard = {
        name
        for enclave, verb, name in grants()
        if (enclave, verb) == ('/vla/operator', 'subscribe')
    }
    assert len(wanted) >= 9
    assert wanted - heard == set()
