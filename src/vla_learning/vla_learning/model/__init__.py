"""The policy network: camera picture and instruction in, action chunk out.

A vision trunk gives a grid of tokens, the tokens attend to the words of the instruction, a learned
action query attends to the tokens, and an MLP turns what it gathered into actions.
"""

from vla_learning.model.config import ModelConfig
from vla_learning.model.fusion import Attention, FusionBlock
from vla_learning.model.language import LanguageHead, Words
from vla_learning.model.policy import Output, Policy
from vla_learning.model.vision import VisionTrunk

__all__ = [
    'ModelConfig',
    'Policy',
    'Output',
    'Words',
    'LanguageHead',
    'VisionTrunk',
    'FusionBlock',
    'Attention',
]
