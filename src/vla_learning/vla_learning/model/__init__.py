"""The policy network: camera picture and instruction in, action chunk out.

A vision trunk gives a grid of tokens, the tokens attend to the words of the instruction, a learned
action query attends to the tokens, and an MLP turns what it gathered into actions. One code serves
two scales, see `ModelConfig` and docs/reference/model.md.

Names are imported when they are asked for, because sizes alone (the command line's help, a
manifest) need no torch.
"""

from importlib import import_module
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from vla_learning.model.config import ModelConfig
    from vla_learning.model.encoders import Bert, Ids, LanguageEncoder, MiniLm
    from vla_learning.model.fusion import Attention, FusionBlock
    from vla_learning.model.language import LanguageHead, mean_of_words, Words
    from vla_learning.model.policy import (
        check_encoder,
        create,
        encoder_for,
        Output,
        parameter_counts,
        Policy,
    )
    from vla_learning.model.vision import CompactTrunk, find_imagenet, ResNetTrunk, VisionTrunk

_PLACES = {
    'config': ('ModelConfig',),
    'policy': ('Policy', 'create', 'Output', 'check_encoder', 'encoder_for', 'parameter_counts'),
    'language': ('Words', 'LanguageHead', 'mean_of_words'),
    'encoders': ('Ids', 'LanguageEncoder', 'MiniLm', 'Bert'),
    'vision': ('VisionTrunk', 'CompactTrunk', 'ResNetTrunk', 'find_imagenet'),
    'fusion': ('FusionBlock', 'Attention'),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    'ModelConfig',
    'Policy',
    'check_encoder',
    'create',
    'Output',
    'Words',
    'Ids',
    'LanguageEncoder',
    'MiniLm',
    'Bert',
    'encoder_for',
    'LanguageHead',
    'mean_of_words',
    'VisionTrunk',
    'CompactTrunk',
    'ResNetTrunk',
    'find_imagenet',
    'FusionBlock',
    'Attention',
    'parameter_counts',
]


def __getattr__(name: str) -> Any:
    """Import a name of this package on its first use."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
    globals()[name] = value
    return value
