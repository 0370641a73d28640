"""The file metadata.yaml of a bag, version 9 of rosbag2."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import os
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import dump_qos_v9
import yaml

from vla_replay.bag.topics import Topic

NAME = 'metadata.yaml'
_VERSION = 9


@dataclass
class Part:
    """One file of a bag as metadata.yaml describes it.

    Attributes:
        name: of the file.
        counts: topic -> messages.
        first_ns: stamp of the earliest message.
        last_ns: stamp of the latest message.
    """

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0

    @property
    def total(self) -> int:
        """Messages of all topics."""
        return sum(self.counts.values())


def qos_text(profiles: Sequence[Qos]) -> str:
    """Return profiles as a channel of MCAP names them."""
    return yaml.safe_dump(dump_qos_v9(list(profiles)), sort_keys=False).strip()


def write(
    folder: Path, parts: Sequence[Part], topics: Iterable[Topic], custom: Mapping[str, str]
) -> None:
    """Write metadata.yaml as a whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    text = yaml.safe_dump(_content(parts, topics, custom), sort_keys=False, allow_unicode=True)
    draft = folder / f'{NAME}.part'
    with draft.open('w', encoding='utf-8') as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / NAME)


def _content(
    parts: Sequence[Part], topics: Iterable[Topic], custom: Mapping[str, str]
) -> dict[str, Any]:
    filled = [part for part in parts if part.total]
    first = min((part.first_ns for part in filled), default=0)
    last = max((part.last_ns for part in filled), default=0)
    return {
        'rosbag2_bagfile_information': {
            'version': _VERSION,
            'storage_identifier': 'mcap',
            'relative_file_paths': [part.name for part in parts],
            **_span(first, last),
            'message_count': sum(part.total for part in parts),
            'topics_with_message_count': [
                {
                    'topic_metadata': {
                        'name': topic.name,
                        'type': topic.type,
                        'serialization_format': 'cdr',
                        'offered_qos_profiles': dump_qos_v9(list(topic.qos)),
                        'type_description_hash': topic.type_hash,
                    },
                    'message_count': sum(part.counts.get(topic.name, 0) for part in parts),
                }
                for topic in topics
            ],
            'compression_format': '',
            'compression_mode': '',
            'files': [
                {
                    'path': part.name,
                    **_span(part.first_ns, part.last_ns),
                    'message_count': part.total,
                }
                for part in parts
            ],
            'custom_data': dict(custom) or None,
            'ros_distro': os.environ.get('ROS_DISTRO', 'jazzy'),
        }
    }


def _span(first: int, last: int) -> dict[str, dict[str, int]]:
    return {
        'duration': {'nanoseconds': last - first},
        'starting_time': {'nanoseconds_since_epoch': first},
    }
