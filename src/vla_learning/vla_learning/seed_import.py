"""`vla-learn import-seed`: the seed's .pth becomes a native checkpoint; there is no way back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TYPE_CHECKING

import tyro

from vla_core.manifest import sha256
from vla_core.types import CameraSlot, NATIVE_AXES, NATIVE_UNITS, PolicySpec

if TYPE_CHECKING:
    from vla_learning.seed_layout import Report

#: Key under which the seed kept its weights.
SECTION = 'model_state_dict'


@dataclass(frozen=True)
class ImportSeed:
    """Turn a file of the seed, {'model_state_dict': ...}, into a checkpoint.

    Attributes:
        file: .pth of tensors; a file that holds anything else is refused.
        out: folder to write; what is there is replaced.
        trunk: its ResNet, by the name in torchvision.
        tokenizer: tokenizer.json of its BERT; without it that of bert-base-uncased.
        bert_heads: attention heads of its BERT; without it one per 64 channels.
        keep_query: take over query and key of the fusion, for a file of a network that attended to
            words rather than to their average.
        partial: accept names that are unknown or missing; what is missing stays random.
        step_dt: s that an action is meant for.
    """

    file: Annotated[Path, tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.Positional]
    trunk: str = 'resnet50'
    tokenizer: Path | None = None
    bert_heads: int | None = None
    keep_query: bool = False
    partial: bool = False
    step_dt: float = 0.2


def command(options: ImportSeed) -> int:
    """Import, say what became of every tensor; returns the exit status."""
    report = import_seed(options)
    _show(report, options)
    return 0


def import_seed(options: ImportSeed) -> Report:
    """Convert the file and write the checkpoint folder.

    Raises:
        CheckpointError: if the file is damaged, too large, holds more than tensors and plain
            values, or does not have the seed's layout.
        ConfigError: if trunk, tokenizer or sizes do not fit.
    """
    from vla_learning.checkpoint import save
    from vla_learning.model.encoders import read_tokenizer
    from vla_learning.model.minilm import installed_tokenizer
    from vla_learning.model.tensors import read_tensors
    from vla_learning.seed_layout import convert

    tokenizer = read_tokenizer(options.tokenizer or installed_tokenizer())
    # A tokenizer.json may cut and pad; the encoder sets its own lengths.
    policy, report = convert(
        read_tensors(options.file, SECTION),
        tokenizer,
        options.trunk,
        options.bert_heads,
        options.keep_query,
        options.partial,
    )
    spec = PolicySpec(
        model_id=options.out.name,
        # The seed resized by stretching.
        cameras=(CameraSlot('front', policy.config.width, policy.config.height, 'stretch'),),
        action_names=NATIVE_AXES,
        action_units=NATIVE_UNITS,
        action_scale=(1.0,) * len(NATIVE_AXES),
        horizon=policy.config.horizon,
        step_dt=options.step_dt,
        rate=10.0,
    )
    save(options.out, policy, spec, {'imported': _provenance(options, report)})
    return report


def _provenance(options: ImportSeed, report: Report) -> dict[str, Any]:
    return {
        'file': options.file.name,
        'sha256': sha256(options.file),
        'query_kept': options.keep_query,
        'tensors': len(report.mapped),
        'left_out': dict(report.left_out),
        'unknown': list(report.unknown),
        'missing': list(report.missing),
    }


def _show(report: Report, options: ImportSeed) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from vla_learning.seed_layout import MADE_UP

    table = Table(title=escape(f'{options.file.name} → {options.out}'))
    for heading in ('tensors', 'what', 'became of it'):
        table.add_column(heading, overflow='fold')
    for part, count in Counter(name.split('.')[0] for name in report.mapped).items():
        table.add_row(str(count), escape(part), 'taken over')
    for why, count in Counter(report.left_out.values()).items():
        names = ', '.join(name for name, reason in report.left_out.items() if reason == why)
        table.add_row(str(count), escape(names), escape(f'left out: {why}'))
    for name in report.unknown:
        table.add_row('1', escape(name), 'left out: unknown')
    for name in report.missing:
        table.add_row('1', name, 'missing in the file: random')
    for name, value in MADE_UP.items():
        if not (options.keep_query and name.startswith('fusion')):
            table.add_row('', name, f'not in the seed: {value}')
    Console().print(table)
