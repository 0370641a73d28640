"""Checkpoints of networks that can be trained on: safetensors and a manifest in one folder.

    manifest.yaml                 contract, sizes, statistics, provenance, SHA-256 of every file
    model.safetensors             the network without its BERT
    encoder/model.safetensors     the BERT, if it has one, with encoder/config.json
    tokenizer.json
    language_mean.safetensors     what a blind policy hears, if training instructions were given

A folder appears under its name only when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import json
from pathlib import Path
import shutil
from typing import Any, NamedTuple

from safetensors.torch import save_file
import torch
from torch import Tensor

from vla_core.errors import CheckpointError, ConfigError
from vla_core.manifest import (
    FILE_NAME,
    IncludedLanguage,
    load_manifest,
    Manifest,
    write_manifest,
)
from vla_core.types import PolicySpec
from vla_learning.data.batch import Features
from vla_learning.model.config import ModelConfig
from vla_learning.model.encoders import Bert, read_tokenizer
from vla_learning.model.language import mean_of_words, Words
from vla_learning.model.minilm import installed_encoder, installed_tokenizer, TOKENIZER_FILE
from vla_learning.model.policy import Policy
from vla_learning.model.tensors import load_into, read_tensors

MODEL_FILE = 'model.safetensors'
ENCODER_FILE = 'encoder/model.safetensors'
ENCODER_CONFIG = 'encoder/config.json'
MEAN_FILE = 'language_mean.safetensors'
_ENCODER = 'encoder.'


class Loaded(NamedTuple):
    """A checkpoint in memory.

    Attributes:
        policy: the network, in evaluation mode.
        manifest: what the folder says of it.
    """

    policy: Policy
    manifest: Manifest


def replaceable(folder: Path, source: Path) -> None:
    """Make sure that a folder may be written, and that it is not what it will be made of.

    Raises:
        ConfigError: if it is, or if it holds something that is no checkpoint.
    """
    if folder.resolve() == source.resolve():
        raise ConfigError(f'{folder} is what is read: expected another folder to write')
    # What is there gets deleted: nobody's home may be taken for a checkpoint.
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / FILE_NAME).is_file():
        raise ConfigError(
            f'{folder.name} is there and no checkpoint: expected a new or empty folder, or an '
            'earlier checkpoint'
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty draft that takes the place of `folder` when the block ends well.

    If it does not, or the process dies in it, `folder` is as it was; if it dies between the two
    renames at the end, the next call puts it back.

    Raises:
        ConfigError: if there is something that is no checkpoint.
    """
    folder = folder.resolve()
    draft = folder.with_name(f'.{folder.name}.draft')
    previous = folder.with_name(f'.{folder.name}.previous')
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    replaceable(folder, draft)
    for leftover in (draft, previous):
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(previous)
    draft.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def save(
    folder: Path,
    policy: Policy,
    spec: PolicySpec,
    training: Mapping[str, Any],
    statistics: Mapping[str, Any] | None = None,
    sample: Features | None = None,
) -> None:
    """Write a checkpoint folder, replacing what was there.

    Args:
        folder: where to write.
        policy: network; a BERT of its own is written with it.
        spec: contract, with the name of the checkpoint.
        training: provenance, as plain values.
        statistics: of the actions in the training data, as plain values.
        sample: embeddings of training instructions, for runs without what was said.

    Raises:
        ConfigError: if contract and network differ, the BERT that the network needs is missing, or
            `folder` holds something that is no checkpoint.
        CheckpointError: if a value is none that YAML knows; the folder is not touched.
    """
    check_contract(spec, policy.config)
    if policy.config.encoder == 'bert' and policy.encoder is None:
        raise ConfigError(f'{spec.model_id}: made without its BERT: expected Policy.encoder')
    with new_folder(folder) as draft:
        _save(policy_state(policy), draft / MODEL_FILE)
        if sample is not None:
            _save(mean_words(policy, sample)._asdict(), draft / MEAN_FILE)
        bert = policy.encoder
        if bert is None:
            language = installed_encoder()
            shutil.copy(installed_tokenizer(), draft / TOKENIZER_FILE)
        else:
            language = IncludedLanguage(ENCODER_FILE, bert.max_tokens, TOKENIZER_FILE)
            (draft / ENCODER_FILE).parent.mkdir()
            _save(bert.network.state_dict(), draft / ENCODER_FILE)
            text = json.dumps(bert.network.config.to_diff_dict(), indent=1, default=str)
            (draft / ENCODER_CONFIG).write_text(text, encoding='utf-8')
            bert.tokenizer.save(str(draft / TOKENIZER_FILE))
        write_manifest(
            draft,
            'native',
            spec,
            language,
            training=training,
            model=policy.config.plain(),
            statistics=statistics,
        )


def load(folder: Path, device: str = 'cpu') -> Loaded:
    """Verify a checkpoint folder and make its network.

    Raises:
        CheckpointError: if the folder does not match its manifest, is of another kind, or its
            tensors do not fit the network.
    """
    manifest = load_manifest(folder)
    if manifest.policy != 'native':
        raise CheckpointError(
            f'{folder.name} is a checkpoint of policy {manifest.policy}: expected native'
        )
    try:
        config = ModelConfig.from_plain(manifest.model)
        check_contract(manifest.spec, config)
        policy = Policy(config, _read_encoder(manifest, config))
    except (ConfigError, RuntimeError) as error:  # torch's own, where sizes are beyond memory
        raise CheckpointError(f'{folder.name}: {error}') from error
    state = read_tensors(folder / MODEL_FILE)
    if policy.encoder is not None:
        state |= {
            f'{_ENCODER}network.{name}': value
            for name, value in read_tensors(folder / ENCODER_FILE).items()
        }
    load_into(policy, state, folder.name)
    return Loaded(policy.to(device).eval(), manifest)


def load_mean(folder: Path) -> Words | None:
    """Read what a blind policy hears: tokens [1, 1, W]; None if nothing was kept."""
    file = folder / MEAN_FILE
    if not file.is_file():
        return None
    return words_of(read_tensors(file), file)


def words_of(tensors: Mapping[str, Tensor], file: Path) -> Words:
    """Make words of named tensors.

    Raises:
        CheckpointError: if one is missing or too many.
    """
    try:
        return Words(**tensors)
    except TypeError as error:
        raise CheckpointError(f'{file.name}: {error}: expected {Words._fields}') from error


def check_contract(spec: PolicySpec, config: ModelConfig) -> None:
    """Compare what a checkpoint promises with the network in it.

    Raises:
        ConfigError: if pictures, state, horizon or axes differ.
    """
    promised = (
        [(slot.height, slot.width) for slot in spec.cameras],
        len(spec.state_names),
        spec.horizon,
        len(spec.action_names),
    )
    given = ([(config.height, config.width)], 0, config.horizon, config.axes)
    if promised != given:
        raise ConfigError(
            f'{spec.model_id}: the contract has pictures, state names, horizon and axes '
            f'{promised}: expected {given}, as the network'
        )


def policy_state(policy: Policy) -> dict[str, Tensor]:
    """All tensors of a network but those of its BERT."""
    state = policy.state_dict()
    return {name: value for name, value in state.items() if not name.startswith(_ENCODER)}


@torch.no_grad()
def mean_words(policy: Policy, sample: Features) -> Words:
    """Average instructions: one token [1, 1, W] and the pooled vector [1, W].

    Args:
        policy: whose language head hears them.
        sample: embeddings of instructions [N, T, E].
    """
    training = policy.training
    policy.eval()
    device = policy.action_query.device
    words = policy.language(sample.tokens.to(device).float(), sample.padding.to(device))
    policy.train(training)
    token = mean_of_words(words.tokens, words.padding).mean(dim=0)
    return Words(
        tokens=token[None, None],
        padding=torch.zeros(1, 1, dtype=torch.bool, device=device),
        pooled=words.pooled.mean(dim=0, keepdim=True),
    )


def _save(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors; each gets memory of its own, laid out row by row."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(plain, file)


def _read_encoder(manifest: Manifest, config: ModelConfig) -> Bert | None:
    """Make the BERT of a checkpoint with random weights, if it has one."""
    language = manifest.language
    if isinstance(language, IncludedLanguage) != (config.encoder == 'bert'):
        raise ConfigError(
            f'model encoder {config.encoder} and a {type(language).__name__}: expected them to fit'
        )
    if not isinstance(language, IncludedLanguage):
        return None
    file = manifest.folder / ENCODER_CONFIG
    try:
        config = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{manifest.folder.name}/{ENCODER_CONFIG}: {error}') from error
    if not isinstance(config, dict):
        raise CheckpointError(f'{ENCODER_CONFIG}: {type(config).__name__}: expected a mapping')
    tokenizer = read_tokenizer(manifest.folder / language.tokenizer)
    return Bert.build(config, tokenizer, language.max_tokens)
