"""The manifest of a checkpoint folder: its contract, and the hash of every file in it.

Needs neither torch nor onnxruntime, so that a camera node can ask which pictures a policy wants.
"""

from collections.abc import Mapping
import contextlib
from dataclasses import dataclass, field, replace
import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vla_core.envelope import Envelope
from vla_core.errors import CheckpointError, ConfigError
from vla_core.parameters import load_yaml
from vla_core.types import CameraSlot, PolicySpec, Representation

SCHEMA_VERSION = 1
FILE_NAME = 'manifest.yaml'
#: The manifest while it is written; one that a killed process left behind is no file of anybody's.
DRAFT_NAME = f'.{FILE_NAME}.draft'
_OWN = frozenset({FILE_NAME, DRAFT_NAME})
_SECTIONS = frozenset(
    {'schema_version', 'model_id', 'policy', 'contract', 'language', 'files', 'training', 'parity'}
)
# Sections that only some checkpoints have: an exported graph says itself what it computes, and
# what training was like may not be known.
_OPTIONAL = frozenset({'model', 'statistics', 'envelope', 'runtime'})
_CONTRACT = frozenset(
    {'cameras', 'state_names', 'action_names', 'action_units', 'action_scale', 'representation'}
    | {'horizon', 'step_dt', 'rate', 'max_inference', 'max_observation_age'}
)
_SLOT = frozenset({'name', 'width', 'height', 'mode'})
_LANGUAGE = frozenset(
    {'package', 'version', 'module', 'file', 'sha256', 'max_tokens', 'tokenizer'}
)
_RUNTIME = frozenset({'threads', 'precision'})
_INCLUDED = frozenset({'file', 'max_tokens', 'tokenizer'})
_T = TypeVar('_T')


@dataclass(frozen=True)
class LanguageReference:
    """A frozen language encoder that ships in a package, and its tokenizer in the folder.

    Attributes:
        package: distribution name in the package registry.
        version: of the package.
        module: name under which it is imported.
        file: path of the weights inside the module.
        sha256: of the weights, hex.
        max_tokens: longest token sequence; the rest of a text is cut off.
        tokenizer: name of the tokenizer's file in the checkpoint folder.
    """

    package: str
    version: str
    module: str
    file: str
    sha256: str
    max_tokens: int
    tokenizer: str


@dataclass(frozen=True)
class IncludedLanguage:
    """A language encoder that lies in the checkpoint folder, because it learned with the policy.

    Attributes:
        file: path of its weights in the folder.
        max_tokens: longest token sequence; the rest of a text is cut off.
        tokenizer: name of the tokenizer's file in the folder.
    """

    file: str
    max_tokens: int
    tokenizer: str


@dataclass(frozen=True)
class Runtime:
    """How an exported policy is run.

    Attributes:
        threads: of one inference.
        precision: `f32`, or `bf16` where the runtime may compute in it; int8 lies in the graph.
    """

    threads: int = 1
    precision: str = 'f32'

    def __post_init__(self) -> None:
        """Refuse what no runtime has.

        Raises:
            CheckpointError: if the threads are not 1 to 64 or the precision is unknown.
        """
        if type(self.threads) is not int or not 1 <= self.threads <= 64:
            raise CheckpointError(f'runtime threads {self.threads!r}: expected 1 to 64')
        if self.precision not in ('f32', 'bf16'):
            raise CheckpointError(f'runtime precision {self.precision!r}: expected f32 or bf16')


@dataclass(frozen=True)
class Manifest:
    """A verified checkpoint folder.

    Attributes:
        folder: where it lies.
        policy: name of the entry point that loads it.
        spec: contract of the policy.
        language: its language encoder.
        training: provenance: revision, seeds, configuration, counts.
        parity: how far the exported artefact is from the trained model.
        model: sizes of the network, for a checkpoint that can be trained on.
        statistics: of the actions in the training data, by axis.
        files_sha256: SHA-256 over the hashes of all files, what a parity report is about.
        runtime: how it is run.
        settings_sha256: SHA-256 over contract, language and runtime: the report is about them too.
    """

    folder: Path
    policy: str
    spec: PolicySpec
    language: LanguageReference | IncludedLanguage
    training: Mapping[str, Any]
    parity: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    files_sha256: str = ''
    runtime: Runtime = Runtime()
    settings_sha256: str = ''


def files_digest(files: Mapping[str, str]) -> str:
    """Sum up the hashes of all files: what `sha256sum * | sha256sum` prints in a flat folder."""
    lines = ''.join(f'{files[name]}  {name}\n' for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _settings_digest(data: Mapping[str, Any]) -> str:
    settings = {key: data.get(key) for key in ('contract', 'language', 'runtime')}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder but its manifest, by relative path."""
    there = sorted(path for path in folder.rglob('*') if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in there
        if path.name not in _OWN
    }


def folder_digest(folder: Path) -> str:
    """Return what `Manifest.files_sha256` of a folder will be."""
    return files_digest(hash_files(folder))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def load_manifest(folder: Path) -> Manifest:
    """Read and verify a checkpoint folder.

    Raises:
        CheckpointError: if the folder or manifest is missing, has another schema version, unknown
            or missing keys or wrong types, or a file is missing, unreadable, altered, unlisted.
    """
    path = folder / FILE_NAME
    try:
        data = load_yaml(path)
    except ConfigError as error:
        raise CheckpointError(f'checkpoint {folder.name}: {error}') from error
    where = f'{folder.name}/{FILE_NAME}'
    version = data.get('schema_version')
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise CheckpointError(f'{where}: schema_version {version!r}: expected {SCHEMA_VERSION}')
    _keys(data, _SECTIONS | (_OPTIONAL & set(data)), where)
    _verify_files(folder, _typed(data['files'], dict, f'{where}: files'), where)
    return Manifest(
        folder=folder,
        policy=_typed(data['policy'], str, f'{where}: policy'),
        spec=_read_spec(data, sha256(path), where),
        language=_read_language(data, where),
        training=_typed(data['training'], dict, f'{where}: training'),
        parity=_typed(data['parity'], dict, f'{where}: parity'),
        model=_typed(data.get('model', {}), dict, f'{where}: model'),
        statistics=_typed(data.get('statistics', {}), dict, f'{where}: statistics'),
        files_sha256=files_digest(data['files']),
        runtime=_read_runtime(data, where),
        settings_sha256=_settings_digest(data),
    )


def write_manifest(
    folder: Path,
    policy: str,
    spec: PolicySpec,
    language: LanguageReference | IncludedLanguage,
    *,
    training: Mapping[str, Any],
    parity: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    statistics: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
) -> None:
    """Hash every file of a folder and write its manifest, which makes it a checkpoint.

    Args:
        folder: complete but for the manifest.
        policy: name of the entry point that loads it.
        spec: contract, with its envelope; its `model_id` is the checkpoint's.
        language: the language encoder.
        training: provenance, as plain values.
        parity: see `Manifest`; none for a checkpoint that was not exported.
        model: see `Manifest`.
        statistics: see `Manifest`.
        runtime: see `Manifest`; None: one thread, f32.

    Raises:
        CheckpointError: if a value is none that YAML knows, or the folder cannot be written.
    """
    manifest = {
        'schema_version': SCHEMA_VERSION,
        'model_id': spec.model_id,
        'policy': policy,
        'contract': {
            'cameras': [vars(slot) for slot in spec.cameras],
            'state_names': list(spec.state_names),
            'action_names': list(spec.action_names),
            'action_units': list(spec.action_units),
            'action_scale': [float(scale) for scale in spec.action_scale],
            'representation': spec.representation.name,
            'horizon': spec.horizon,
            'step_dt': float(spec.step_dt),
            'rate': float(spec.rate),
            'max_inference': float(spec.max_inference),
            'max_observation_age': float(spec.max_observation_age),
        },
        'language': vars(language),
        **({'runtime': vars(runtime)} if runtime else {}),
        **({'model': dict(model)} if model else {}),
        'files': hash_files(folder),
        **({'statistics': dict(statistics)} if statistics else {}),
        **({'envelope': spec.envelope.plain()} if spec.envelope else {}),
        'training': dict(training),
        'parity': dict(parity or {}),
    }
    _write(folder, manifest)


def write_envelope(folder: Path, envelope: Envelope) -> None:
    """Put an envelope into the manifest of a checkpoint; everything else in it stays.

    Raises:
        CheckpointError: if the folder does not match its manifest, or cannot be written.
        ConfigError: if the envelope has a name that the contract has not.
    """
    replace(load_manifest(folder).spec, envelope=envelope)
    manifest = load_yaml(folder / FILE_NAME)
    _write(folder, manifest | {'envelope': envelope.plain()})


def write_parity(folder: Path, parity: Mapping[str, Any]) -> None:
    """Put a parity report into the manifest of a checkpoint; everything else in it stays.

    Raises:
        CheckpointError: if the folder does not match its manifest or cannot be written, or a value
            is none that YAML knows.
    """
    load_manifest(folder)
    _write(folder, load_yaml(folder / FILE_NAME) | {'parity': dict(parity)})


def _write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest so that a reader finds the old or the new, never half of it.

    Raises:
        CheckpointError: if a value is none that YAML knows, or the folder cannot be written.
    """
    try:
        text = yaml.safe_dump(dict(manifest), sort_keys=False, default_flow_style=None, width=99)
    except yaml.YAMLError as error:
        raise CheckpointError(
            f'{folder.name}/{FILE_NAME}: {error}: expected plain values'
        ) from error
    draft = folder / DRAFT_NAME  # Not beside the folder, which may be a mount of its own.
    try:
        draft.write_text(text, encoding='utf-8')
        draft.replace(folder / FILE_NAME)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise CheckpointError(
            f'{folder / FILE_NAME}: {error.strerror or error}: expected to be able to write it'
        ) from error


def _verify_files(folder: Path, files: Mapping[str, Any], where: str) -> None:
    """Compare the folder with the list of its files, both ways."""
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if not path.is_dir() and path.name not in _OWN
    }
    unlisted = sorted(there - set(files))
    if unlisted:
        raise CheckpointError(
            f'{where}: file {unlisted[0]} is not listed: expected {sorted(files)}'
        )
    for name, expected in files.items():
        if name not in there:
            raise CheckpointError(f'{where}: file {name} is missing: expected in {folder.name}')
        try:
            found = sha256(folder / name)
        except OSError as error:
            raise CheckpointError(
                f'{where}: file {name}: {error.strerror}: expected one that can be read'
            ) from error
        if found != expected:
            raise CheckpointError(f'{where}: SHA-256 of {name} is {found}: expected {expected}')


def _read_language(data: Mapping[str, Any], where: str) -> LanguageReference | IncludedLanguage:
    language = _typed(data['language'], dict, f'{where}: language')
    included = 'package' not in language
    _keys(language, _INCLUDED if included else _LANGUAGE, f'{where}: language')
    for key, value in language.items():
        _typed(value, int if key == 'max_tokens' else str, f'{where}: language {key}')
    for key in ('tokenizer', 'file') if included else ('tokenizer',):
        if language[key] not in data['files']:
            raise CheckpointError(
                f'{where}: {key} {language[key]!r}: expected one of {sorted(data["files"])}'
            )
    return IncludedLanguage(**language) if included else LanguageReference(**language)


def _read_runtime(data: Mapping[str, Any], where: str) -> Runtime:
    if 'runtime' not in data:
        return Runtime()
    runtime = _typed(data['runtime'], dict, f'{where}: runtime')
    _keys(runtime, _RUNTIME, f'{where}: runtime')
    return Runtime(**runtime)


def _read_spec(data: Mapping[str, Any], digest: str, where: str) -> PolicySpec:
    contract = _typed(data['contract'], dict, f'{where}: contract')
    _keys(contract, _CONTRACT, f'{where}: contract')

    def names(key: str, kind: type[_T]) -> tuple[_T, ...]:
        items = _typed(contract[key], list, f'{where}: contract {key}')
        return tuple(_typed(item, kind, f'{where}: contract {key}') for item in items)

    def number(key: str) -> float:
        return _typed(contract[key], float, f'{where}: contract {key}')

    representation = _typed(contract['representation'], str, f'{where}: contract representation')
    if representation not in Representation.__members__:
        raise CheckpointError(
            f'{where}: representation {representation!r}: '
            f'expected {list(Representation.__members__)}'
        )
    slots = names('cameras', dict)
    for slot in slots:
        _keys(slot, _SLOT, f'{where}: contract camera')
        for key, value in slot.items():
            _typed(value, int if key in ('width', 'height') else str, f'{where}: camera {key}')
    try:
        return PolicySpec(
            model_id=_typed(data['model_id'], str, f'{where}: model_id'),
            model_sha256=digest,
            cameras=tuple(CameraSlot(**slot) for slot in slots),
            state_names=names('state_names', str),
            action_names=names('action_names', str),
            action_units=names('action_units', str),
            action_scale=names('action_scale', float),
            representation=Representation[representation],
            horizon=_typed(contract['horizon'], int, f'{where}: contract horizon'),
            step_dt=number('step_dt'),
            rate=number('rate'),
            max_inference=number('max_inference'),
            max_observation_age=number('max_observation_age'),
            envelope=Envelope.from_plain(data['envelope']) if 'envelope' in data else None,
        )
    except ConfigError as error:
        raise CheckpointError(f'{where}: {error}') from error


def _keys(data: Mapping[str, Any], expected: frozenset[str], where: str) -> None:
    wrong = sorted(map(str, set(data) ^ expected))
    if wrong:
        problem = 'unknown' if wrong[0] in data else 'missing'
        raise CheckpointError(
            f'{where}: key {wrong[0]!r} is {problem}: expected {sorted(expected)}'
        )


def _typed(value: Any, kind: type[_T], where: str) -> _T:
    if type(value) is not kind:
        raise CheckpointError(f'{where} is {value!r}: expected a {kind.__name__}')
    return value
