"""`vla-learn intents`: an exported policy learns anew what to refuse, and drives as before.

torch is imported only when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
import shutil
import tempfile
from typing import Annotated, TYPE_CHECKING

import numpy as np
import tyro

from vla_core.errors import CheckpointError, ConfigError, ObservationError
from vla_core.manifest import FILE_NAME, folder_digest, load_manifest, write_manifest
from vla_core.parameters import load_yaml
from vla_core.text import clean_text
from vla_learning.experiment import IntentConfig, SimConfig
from vla_learning.sim.wording import COLOURS, fill, MOTIONS, NOUNS
from vla_learning.structure import check, plain, Range

if TYPE_CHECKING:
    from vla_learning.model import Policy
    from vla_learning.sim.sentences import Sentences

_SECTIONS = ('goal', *MOTIONS, 'refused')
#: Sentences of a file, with everything that stands for {o}.
_MOST = 100_000


@dataclass(frozen=True)
class Reteach:
    """Teach a checkpoint anew which texts are goals, motions or to be refused; minutes on a CPU.

    All else in it stays: it drives as before, to the bit. A file of your own sentences has lists
    under goal, move forward, move back, turn left, turn right and refused; {o} stands for every
    known thing ("red box").

    Attributes:
        checkpoint: exported folder, as the demo's: onnx, with the installed language encoder.
        out: folder to write; an earlier checkpoint there is replaced.
        sentences: YAML file of your own sentences, learned beside all that the demo learns.
        sayings: sentences for every motion, colour and noun, and relation.
        nonsense: sentences to be refused.
        seed: of these.
        intents: how it learns.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.Positional]
    sentences: Path | None = None
    sayings: Annotated[int, Range(1)] = SimConfig.sayings
    nonsense: Annotated[int, Range(1)] = SimConfig.nonsense
    seed: Annotated[int, Range(0)] = 0
    intents: IntentConfig = field(default_factory=IntentConfig)

    def __post_init__(self) -> None:
        check(self)


def command(options: Reteach) -> int:
    """Teach, compare, write; returns the exit status."""
    count, refused = reteach(options)
    print(f'{options.out}: learned from {count} sentences; what it does with pictures stayed')
    for text in refused:
        print(f'{text!r}: refused, for it would move another way')
    return 0


def reteach(options: Reteach) -> tuple[int, list[str]]:
    """Write the checkpoint with another intent head.

    Returns:
        How many sentences it learned from, and the own motions that it learned to refuse.

    Raises:
        CheckpointError: if the checkpoint is damaged, or no compact one that was exported with the
            installed encoder, or the export differs from what was learned.
        ConfigError: if the file of sentences is none, or `out` lies in the checkpoint or holds
            something that is no checkpoint.
        OSError: if `out` cannot be made.
    """
    from vla_inference.onnx_policy import LANGUAGE_FILE
    from vla_learning.checkpoint import new_folder, replaceable
    from vla_learning.onnx_graphs import round_weights, write_language
    from vla_learning.optimise.recover import network
    from vla_learning.sim.frames import collect, load, shards_of
    from vla_learning.sim.intents import teach_intents
    from vla_learning.sim.recipe import SHOWN
    from vla_learning.sim.sentences import training_sentences
    from vla_learning.training.provenance import revision

    source = options.checkpoint
    replaceable(options.out, source)
    if source.resolve() in options.out.resolve().parents:
        raise ConfigError(f'{options.out} lies in what is read: expected a folder outside of it')
    options.out.parent.mkdir(parents=True, exist_ok=True)
    own = read_sentences(options.sentences) if options.sentences else []
    manifest = load_manifest(source)
    if manifest.policy != 'onnx' or 'reference' in manifest.parity:
        raise CheckpointError(
            f'{source.name}: policy {manifest.policy!r}: expected onnx, exported and not optimised'
        )
    policy = network(manifest)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / 'sentences.npz'
        learned = training_sentences(cache, options.sayings, options.nonsense, options.seed)
        collect(Path(scratch), SHOWN, manifest.spec.cameras[0])
        images = load(shards_of(Path(scratch), SHOWN)).images[np.arange(SHOWN)]
    extra = _embed(own) if own else None
    refused = teach_intents(policy, learned, images, options.intents, extra)
    count = len(learned.lengths) + len(own)
    intents = {
        'revision': revision(),
        'config': plain(options.intents),
        'sentences': count,
        'own': len(own),
        'refused_motions': len(refused),
    }
    with new_folder(options.out) as draft:
        for path in source.iterdir():
            if path.is_file() and path.name not in (LANGUAGE_FILE, FILE_NAME):
                shutil.copy(path, draft)
        rounded = round_weights(policy)
        write_language(rounded, draft)
        difference = _compare(rounded, source / LANGUAGE_FILE, draft / LANGUAGE_FILE)
        known = manifest.parity.get('largest_difference', {})
        parity = {**manifest.parity, 'largest_difference': {**known, 'intent': difference}}
        write_manifest(
            draft,
            manifest.policy,
            manifest.spec,
            manifest.language,
            training={**manifest.training, 'intents': intents},
            parity={**parity, 'files_sha256': folder_digest(draft)},
            statistics=manifest.statistics,
            runtime=manifest.runtime,
        )
    return count, sorted({text for text, _ in own}.intersection(refused))


def read_sentences(file: Path) -> list[tuple[str, str]]:
    """Read texts and the sections they stand in.

    Raises:
        ConfigError: if it is no mapping of the sections to lists of texts, a text is empty, longer
            than an instruction may be, in two sections or has other places than {o}, a motion has
            one, or there are too many.
    """
    data = load_yaml(file)
    for section, texts in data.items():
        if section not in _SECTIONS:
            raise ConfigError(f'{file.name}: unknown key {section!r}: expected {_SECTIONS}')
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f'{file.name}: {section}: expected a list of texts')
    said_in: dict[str, str] = {}
    for section, texts in data.items():
        for text in texts:
            where = f'{file.name}: {section}: {text!r}'
            for said in _all_of(text, where, section in ('goal', 'refused')):
                other = said_in.setdefault(said, section)
                if other != section:
                    raise ConfigError(f'{where} is under {other} too: expected one place')
    found = list(said_in.items())
    if not 0 < len(found) <= _MOST:
        raise ConfigError(f'{file.name}: {len(found)} sentences: expected 1 to {_MOST}')
    return found


def _all_of(text: str, where: str, named: bool) -> list[str]:
    """Say a text of every known thing.

    Raises:
        ConfigError: if it has places that it may not have, or is no instruction.
    """
    rest = text.replace('{o}', '') if named else text
    if '{' in rest or '}' in rest:
        expected = 'no braces but those of {o}' if named else 'no thing in a motion'
        raise ConfigError(f'{where}: expected {expected}')
    try:
        text = clean_text(text)
    except ObservationError as error:
        raise ConfigError(f'{where}: {error}') from error
    if '{o}' not in text:
        return [text]
    nouns = [noun for names in NOUNS.values() for noun in names]
    return [fill(text, colour, noun) for colour in COLOURS for noun in nouns]


def _embed(own: list[tuple[str, str]]) -> Sentences:
    from vla_learning.model.minilm import open_encoder
    from vla_learning.sim.sentences import embed, NONSENSE
    from vla_learning.sim.views import KINDS

    # Which thing or relation a goal names is not learned here: any will do.
    meanings = {'goal': 0, 'refused': NONSENSE}
    meanings |= {motion: len(KINDS) + number for number, motion in enumerate(MOTIONS)}
    return embed([text for text, _ in own], [meanings[kind] for _, kind in own], open_encoder())


def _compare(policy: Policy, before: Path, after: Path) -> float:
    """Hold two language graphs, and torch, against each other on random words.

    Returns:
        Largest difference of the new graph's intents from torch's.

    Raises:
        CheckpointError: if words would be heard otherwise when pictures are looked at, or intents
            are further apart than any export's may be.
    """
    import torch

    from vla_inference.sessions import open_session
    from vla_learning.onnx_graphs import LanguageGraph, PARITY

    draw, graph = np.random.default_rng(0), LanguageGraph(policy).eval()
    sessions = [open_session(before), open_session(after)]
    largest = 0.0
    for length in range(1, 21):
        shape = (1, length, policy.config.words)
        embeddings = draw.standard_normal(shape, np.float32)
        names = ['tokens', 'pooled', 'intent']
        one, other = (s.run(names, {'embeddings': embeddings}) for s in sessions)
        for name, was, now in zip(names[:2], one, other, strict=False):
            if not np.array_equal(was, now):
                raise CheckpointError(f'{after.parent.name}: {name} would change: expected none')
        with torch.no_grad():
            intent = graph(torch.from_numpy(embeddings))[2].numpy()
        # Not max: it would forget a NaN.
        largest = float(np.maximum(largest, np.abs(intent - other[2]).max()))
    if not largest <= PARITY:
        raise CheckpointError(
            f'{after.parent.name}: intents are {largest:.1e} from torch: expected <= {PARITY}'
        )
    return largest
