"""Pictures as JPEG: the fields of sensor_msgs/Image in, those of CompressedImage out."""

import io

import numpy as np
from PIL import Image
from rosbags.typesys import get_typestore, Stores

from vla_core.errors import ObservationError
from vla_core.image import decode_raw
from vla_replay.bag.topics import Message
from vla_replay.recording.choice import COMPRESSED, IMAGE


class Pictures:
    """Turns raw images into JPEG; what it does not understand stays raw.

    Attributes:
        refused: topic -> why its newest picture stayed raw.
    """

    def __init__(self, quality: int) -> None:
        """Compress with this quality, 1 to 95."""
        self._quality = quality
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self.refused: dict[str, str] = {}
        # Now, so that the first picture takes no longer than the others.
        Image.preinit()
        for kind in (IMAGE, COMPRESSED):
            self._store.get_msgdef(kind)

    def convert(self, message: Message) -> Message:
        """Return the picture on the topic `.../compressed`, or the message as it is."""
        try:
            data = self._jpeg(message.data)
        except ObservationError as error:
            self.refused[message.topic] = str(error)
            return message
        except Exception as error:  # whatever a message from outside makes of a decoder
            self.refused[message.topic] = f'{type(error).__name__}: {error}: expected an image'
            return message
        self.refused.pop(message.topic, None)
        return Message(f'{message.topic}/compressed', message.stamp_ns, data)

    def _jpeg(self, data: bytes) -> bytes:
        raw = self._store.deserialize_cdr(data, IMAGE)
        pixels = decode_raw(memoryview(raw.data), raw.encoding, raw.width, raw.height, raw.step)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, 'JPEG', quality=self._quality)
        compressed = self._store.types[COMPRESSED](
            header=raw.header,
            # As compressed_image_transport words it.
            format='rgb8; jpeg compressed bgr8',
            data=np.frombuffer(file.getbuffer(), np.uint8),
        )
        return bytes(self._store.serialize_cdr(compressed, COMPRESSED))
