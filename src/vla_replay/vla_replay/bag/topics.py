"""What a bag holds: topics and messages."""

from dataclasses import dataclass

from rosbags.interfaces import Qos, QosDurability

#: Facts of a bag that holds one demonstration (vla demo collect).
INSTRUCTION, LABEL = 'instruction', 'label'
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


@dataclass(frozen=True)
class Topic:
    """One topic of a bag.

    Attributes:
        name: as recorded, with its leading slash.
        type: for example `std_msgs/msg/String`.
        count: messages in the bag.
        qos: profiles of the publishers, as far as they were known.
        type_hash: RIHS01 of the type; empty: the bag does not say.
        definition: text of the type and of all types in it; empty: unknown.
    """

    name: str
    type: str
    count: int = 0
    qos: tuple[Qos, ...] = ()
    type_hash: str = ''
    definition: str = ''

    @property
    def latched(self) -> bool:
        """Whether its newest message is for subscribers that join later, too."""
        return any(one.durability is QosDurability.TRANSIENT_LOCAL for one in self.qos)


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        topic: its name.
        stamp_ns: when it was received, ns since 1970.
        data: complete CDR, with its header of four bytes.
    """

    topic: str
    stamp_ns: int
    data: bytes
