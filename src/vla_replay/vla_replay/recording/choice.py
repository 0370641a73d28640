"""Which topics of a graph are recorded."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from vla_replay.recording.config import RecorderConfig

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'


class Choice:
    """Applies the patterns of a configuration to names."""

    def __init__(self, config: RecorderConfig, namespace: str = '/') -> None:
        """Read the patterns.

        Args:
            config: of the recorder.
            namespace: to which patterns without a leading slash are relative.
        """
        self._config = config
        self._topics = _patterns(config.topics or '/*', namespace)
        self._exclude = _patterns(config.exclude, namespace)
        self._keep_raw = _patterns(config.keep_raw, namespace)

    def jpeg(self, name: str, kind: str) -> bool:
        """Say whether the pictures of a topic are turned into JPEG."""
        return (
            kind == IMAGE and self._config.images == 'jpeg' and not _matches(name, self._keep_raw)
        )

    def of(self, graph: Mapping[str, Collection[str]]) -> dict[str, str]:
        """Return the topics to record, name -> type.

        Left out are hidden names, as `ros2 bag record` does, topics of several types, and images
        whose camera publishes them compressed as well.

        Args:
            graph: name -> types that its publishers offer.
        """
        chosen = {}
        wanted = self.wanted(graph)
        for name in wanted:
            if len(graph[name]) != 1:
                continue
            (kind,) = graph[name]
            twin = f'{name}/compressed'
            compressed = twin in wanted and COMPRESSED in graph[twin]
            if compressed and self.jpeg(name, kind):
                continue
            chosen[name] = kind
        return chosen

    def wanted(self, names: Iterable[str]) -> set[str]:
        """Return those of the names that the patterns ask for; hidden ones never."""
        return {
            name
            for name in names
            if not any(token.startswith('_') for token in name.split('/'))
            and _matches(name, self._topics)
            and not _matches(name, self._exclude)
        }


def _patterns(text: str, namespace: str) -> list[str]:
    prefix = namespace.rstrip('/')
    return [one if one.startswith('/') else f'{prefix}/{one}' for one in text.split()]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
