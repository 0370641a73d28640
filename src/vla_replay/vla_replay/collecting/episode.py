"""One demonstration on its way into a bag."""

from __future__ import annotations

from pathlib import Path
import shutil

from rclpy.node import Node

from vla_replay.bag.topics import INSTRUCTION, LABEL, Message
from vla_replay.listening import Listening
from vla_replay.recording.choice import Choice
from vla_replay.recording.config import MEGABYTE, RecorderConfig
from vla_replay.recording.making import make_recorder
from vla_replay.recording.pictures import Pictures
from vla_replay.recording.queue import Queue
from vla_replay.recording.thread import WritingThread

#: Labels; other drives have none.
SUCCESS, FAILURE = 'success', 'failure'
#: What a demonstration consists of.
_TOPICS = 'camera/* odom cmd_vel cmd_vel_human safety/decision safety/state safety/events'


class Episode:
    """Records from its making to its end."""

    def __init__(self, node: Node, folder: Path, instruction: str, camera: str) -> None:
        """Begin a bag.

        Args:
            node: hears; somebody spins it.
            folder: new.
            instruction: what the person does.
            camera: further topic of frames; empty: none.

        Raises:
            BagError: if the bag cannot be made.
            ConfigError: if its folder cannot be made.
        """
        self._node, self.folder = node, folder
        config = RecorderConfig(name=folder.name, topics=f'{_TOPICS} {camera}')
        self._queue = Queue(config.queue_mb * MEGABYTE)
        self._recorder = make_recorder(config, folder.parent)
        self._pictures = Pictures(config.jpeg_quality)
        choice = Choice(config, node.get_namespace())
        self._listening = Listening(node, choice, self._queue, self._recorder)
        self._recorder.note(INSTRUCTION, instruction)
        self._thread = WritingThread(self._queue, self._recorder, self._convert)
        self._listening.look()

    def end(self, label: str) -> str:
        """Finish the bag under a label; an empty one discards it.

        Returns:
            The label that counts: what a disk has refused is a failure.
        """
        self._listening.close()
        if label:
            # By the thread that writes, behind the last message: a file has one writer.
            self._queue.call(lambda: self._recorder.note(LABEL, self._judged(label)))
        self._thread.close()
        if not label:
            shutil.rmtree(self.folder, ignore_errors=True)
            return ''
        return self._judged(label)

    @property
    def dropped(self) -> int:
        """Messages that found no room."""
        return sum(self._queue.dropped.values())

    @property
    def problem(self) -> str:
        """Why messages are not written, or that some were not; empty: all of them are."""
        status = self._recorder.status
        lost = f'{status.lost} messages lost on disk' if status.lost else ''
        return status.error or lost

    def _judged(self, label: str) -> str:
        return FAILURE if self.problem else label

    def _convert(self, message: Message) -> Message:
        return (
            self._pictures.convert(message) if message.topic in self._listening.jpeg else message
        )
