"""The policy network: camera picture and instruction in, action chunk out.

A vision trunk gives a grid of tokens, the tokens attend to the words of the instruction, a learned
action query attends to the tokens, and an MLP turns what it gathered into actions. One code serves
two scales, see `ModelConfig` and docs/reference/model.md.
"""

from vla_learning.model.config import ModelConfig
from vla_learning.model.encoders import Bert, Ids, LanguageEncoder, MiniLm
from vla_learning.model.fusion import Attention, FusionBlock
from vla_learning.model.language import LanguageHead, mean_of_words, Words
from vla_learning.model.policy import create, encoder_for, Output, parameter_counts, Policy
from vla_learning.model.vision import CompactTrunk, find_imagenet, ResNetTrunk, VisionTrunk

__all__ = [
    'ModelConfig',
    'Policy',
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
