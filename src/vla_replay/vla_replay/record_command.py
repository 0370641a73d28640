"""The command `vla record`."""

from __future__ import annotations

from datetime import datetime, UTC
from pathlib import Path

from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from vla_cli.connection import ANSWER, connect, DISCOVERY, NoGraphError, valid_namespace
from vla_core.errors import ConfigError
from vla_replay.bag_options import Record
from vla_replay.recorder_node import RecorderNode, run_recorder

SAVE = 'recorder/save'


def record(options: Record) -> int:
    """Record until Ctrl-C, or ask another recorder to save; return the exit status.

    Raises:
        ConfigError: if options contradict each other.
        NoGraphError: if there is no recorder to ask.
    """
    if options.save:
        return _save(options.namespace)
    overrides = [Parameter(name, value=value) for name, value in parameters(options).items()]
    namespace = valid_namespace(options.namespace)
    return run_recorder(lambda: RecorderNode(namespace=namespace, parameter_overrides=overrides))


def parameters(options: Record) -> dict[str, object]:
    """Return the parameters of the node.

    Raises:
        ConfigError: if options contradict each other.
    """
    for name, given in (('on-warn', options.on_warn), ('after', options.after is not None)):
        if given and options.ring is None:
            raise ConfigError(f'--{name} without --ring: expected --ring SECONDS with it')
    values: dict[str, object] = {
        'topics': ' '.join(options.topics),
        'exclude': ' '.join(options.exclude),
        'images': options.images,
        'keep_raw': ' '.join(options.keep_raw),
        'jpeg_quality': options.jpeg_quality,
        'split_mb': options.split_mb,
        'split_seconds': options.split_seconds,
        'on_warn': options.on_warn,
    }
    if options.after is not None:
        values['after_seconds'] = options.after
    if options.ring is not None:
        return values | {
            'mode': 'ring',
            'ring_seconds': options.ring,
            'folder': str((options.output or Path()).absolute()),
        }
    now = datetime.now(UTC)
    bag = (options.output or Path(f'bag-{now:%Y%m%dT%H%M%S}Z')).absolute()
    return values | {'folder': str(bag.parent), 'name': bag.name}


def _save(namespace: str) -> int:
    with connect(namespace) as connection:
        client = connection.node.create_client(Trigger, SAVE)
        if not connection.wait(client.service_is_ready, DISCOVERY):
            name = connection.node.resolve_service_name(SAVE)
            raise NoGraphError(
                f'no recorder: nobody offers {name}; expected a running '
                '`vla record --ring SECONDS` with the same --namespace and ROS_DOMAIN_ID'
            )
        future = client.call_async(Trigger.Request())
        if not connection.wait(future.done, ANSWER):
            raise NoGraphError(f'the recorder does not answer within {ANSWER:g} s')
        print(future.result().message)
        return 0 if future.result().success else 1
