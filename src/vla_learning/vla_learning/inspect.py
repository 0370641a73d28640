"""`vla-learn inspect`: what a checkpoint folder promises, knows of its past, and weighs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Annotated, Any, TYPE_CHECKING

import tyro

from vla_core.envelope import Envelope
from vla_core.manifest import IncludedLanguage, load_manifest, Manifest

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Inspect:
    """Verify a checkpoint and print its contract, sizes, statistics and provenance.

    Attributes:
        folder: of the checkpoint.
    """

    folder: Annotated[Path, tyro.conf.Positional]


def command(options: Inspect) -> int:
    """Verify and print; returns the exit status."""
    from rich.console import Console

    console = Console()
    for table in tables(load_manifest(options.folder)):
        console.print(table)
    return 0


def tables(manifest: Manifest) -> Iterable[Table]:
    """Turn a verified manifest into tables for the terminal."""
    yield _pairs(f'{manifest.spec.model_id} (policy {manifest.policy})', _contract(manifest))
    yield _axes(manifest)
    if manifest.spec.envelope is not None:
        yield _envelope(manifest.spec.envelope)
    yield _files(manifest)
    for title, section in (
        ('network', manifest.model),
        ('training', manifest.training),
        ('parity', manifest.parity),
    ):
        if section:
            yield _pairs(title, flat(section))


def flat(values: Mapping[str, Any], prefix: str = '') -> dict[str, str]:
    """Name nested values by their path, `a.b.c`."""
    result = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f'{prefix}{name}.')
        else:
            result[f'{prefix}{name}'] = str(value)
    return result


def count_parameters(file: Path) -> int:
    """Count the numbers in a file of tensors, without reading them."""
    from safetensors import safe_open

    with safe_open(file, 'np') as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def _contract(manifest: Manifest) -> dict[str, str]:
    spec, language = manifest.spec, manifest.language
    cameras = (f'{c.name} {c.width}x{c.height} {c.mode}' for c in spec.cameras)
    if isinstance(language, IncludedLanguage):
        encoder = f'{language.file} in the folder, {language.max_tokens} tokens'
    else:
        encoder = f'{language.package} {language.version}, {language.max_tokens} tokens'
    return {
        'manifest': spec.model_sha256,
        'cameras': ', '.join(cameras),
        'state': ', '.join(spec.state_names) or 'none',
        'language encoder': encoder,
        'actions': f'{spec.horizon} steps of {spec.step_dt} s, {spec.representation.name}',
        'wanted frames': f'{spec.rate} Hz',
        'longest inference': f'{spec.max_inference} s',
        'oldest observation': f'{spec.max_observation_age} s',
    }


def _pairs(title: str, values: Mapping[str, str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify='left', show_header=False)
    table.add_column(overflow='fold')
    table.add_column(overflow='fold')
    for name, value in values.items():
        table.add_row(escape(name), escape(value))
    return table


def _axes(manifest: Manifest) -> Table:
    """One row per axis: what ±1 means, and the statistics of the data if there are any."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    spec, statistics = manifest.spec, manifest.statistics
    columns = {
        name: values
        for name, values in statistics.items()
        if isinstance(values, list) and len(values) == len(spec.action_names) and name != 'axes'
    }
    others = {n: v for n, v in statistics.items() if n not in columns and n != 'axes'}
    # Narrow: eight columns are to fit a terminal of 80.
    table = Table(title='actions', title_justify='left', box=box.SIMPLE_HEAD, padding=(0, 0))
    table.show_edge = False
    for heading in ('axis', '1.0 is', *columns):
        table.add_column(escape(heading), no_wrap=True)
    table.caption = escape(', '.join(f'{name} {value}' for name, value in flat(others).items()))
    for index, name in enumerate(spec.action_names):
        # The unit of a number without one is written 1.
        scale = f'{spec.action_scale[index]:.3g} {spec.action_units[index]}'.removesuffix(' 1')
        numbers = (_number(values[index]) for values in columns.values())
        table.add_row(*map(escape, (name, scale, *numbers)))
    return table


def _envelope(envelope: Envelope) -> Table:
    """One row per quantity that the robot compares with the training's."""
    from rich.markup import escape
    from rich.table import Table

    ranges = dict(envelope.actions)
    ranges |= {f'state {name}': one for name, one in envelope.state.items()}
    for slot, features in envelope.images.items():
        ranges |= {f'{slot} {name}': one for name, one in features.items()}
    columns = ('min', 'q01', 'mean', 'q99', 'max', 'std')
    table = Table('quantity', *columns, title='envelope', title_justify='left')
    table.caption = escape(envelope.source)
    for name, one in ranges.items():
        table.add_row(escape(name), *(_number(getattr(one, column)) for column in columns))
    return table


def _number(value: object) -> str:
    return f'{value:.3g}' if isinstance(value, int | float) else str(value)


def _files(manifest: Manifest) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table('file', 'MB', 'parameters', title='files', title_justify='left')
    for path in sorted(path for path in manifest.folder.rglob('*') if path.is_file()):
        count = f'{count_parameters(path):,}' if path.suffix == '.safetensors' else ''
        name = path.relative_to(manifest.folder).as_posix()
        table.add_row(escape(name), f'{path.stat().st_size / 1e6:.2f}', count)
    return table
