"""The policy `faulty`: drives like `scripted` until a text tells it what to do wrong.

For `vla faults` only. `vla_inference` refuses it on real robots.
"""

from __future__ import annotations

import itertools
import mmap
from pathlib import Path
import resource
import time

import numpy as np

from vla_core.policy import native_spec
from vla_core.scripted import ScriptedPolicy
from vla_core.types import Intent, Language, Observation, Prediction

HOLD_INTERPRETER = 'hold the interpreter'
NEVER_RETURN = 'never return'
RAISE = 'raise an exception'
ANSWER_NAN = 'answer nan'
EXHAUST_MEMORY = 'exhaust the memory'
_AS_TOLD = (HOLD_INTERPRETER, NEVER_RETURN, RAISE, ANSWER_NAN, EXHAUST_MEMORY)
#: Bytes that the process may still take before it has no memory left: the machine never has none.
_ALLOWANCE = 64 << 20
_BLOCK = 1 << 20


class FaultyPolicy(ScriptedPolicy):
    """Whatever can be wrong inside a policy's process, on demand."""

    def __init__(self) -> None:
        """Be well."""
        super().__init__()
        self.spec = native_spec('faulty')
        self._hoard: list[mmap.mmap] = []

    def encode(self, text: str) -> Language:
        """Take a fault for a motion; parse any other text."""
        return Language(text, Intent.MOTION) if text in _AS_TOLD else super().encode(text)

    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Do what the text says."""
        text = language.text
        if text not in _AS_TOLD:
            return super().infer(observation, language)
        if text == HOLD_INTERPRETER:
            # Endless, in C: neither another thread nor a signal handler gets a turn.
            sum(itertools.repeat(0))
        if text == NEVER_RETURN:
            while True:
                time.sleep(1.0)
        if text == ANSWER_NAN:
            return Prediction(np.full((self.spec.horizon, len(self.spec.action_names)), np.nan))
        if text == EXHAUST_MEMORY:
            self._exhaust()
        raise RuntimeError(f'told to {text}')

    def _exhaust(self) -> None:
        """Take all memory, and keep it.

        Raises:
            MemoryError: always.
        """
        if not self._hoard:
            pages = int(Path('/proc/self/statm').read_text().split()[0])
            limit = pages * resource.getpagesize() + _ALLOWANCE
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            while True:
                self._hoard.append(mmap.mmap(-1, _BLOCK))
        except OSError as error:
            raise MemoryError(f'{len(self._hoard)} MiB taken, no more to be had') from error


def create(checkpoint: Path | None, device: str) -> FaultyPolicy:
    """Make the policy for the entry point `faulty`; it has no weights and needs no device."""
    return FaultyPolicy()
