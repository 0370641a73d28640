"""`vla-learn optimise`: try the variants, print what they cost, export the winner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
import os
from pathlib import Path
import shutil
import sys
import tempfile
from typing import Annotated, Any, TYPE_CHECKING

import tyro

from vla_core.errors import ConfigError, VlaError
from vla_core.parity import FEWEST_FRAMES, FEWEST_TIMED, LARGEST_RMS, LARGEST_SINGLE

if TYPE_CHECKING:
    from vla_learning.optimise.variants import Variant

_WIDTH = 130


@dataclass(frozen=True)
class Optimise:
    """Try the ways of running a checkpoint, compare them, and export the fastest within limits.

    Attributes:
        checkpoint: folder of the trainer, or an exported one of the compact scale.
        target: cpu, cuda or edge (one thread).
        export: folder for the winner; empty: beside the checkpoint, with the target in its name.
        out: folder for optimise.json and pareto.svg, and for policy.pte, of the target edge.
        only: variants to try; none: all of the target.
        data: recordings to compare on and to calibrate with; without it the simulator.
        fps: frames per second of recordings that do not say it.
        camera: which picture of the recordings; empty: the first.
        frames: to compare on.
        timed: frames of each to time.
        episodes: closed-loop episodes of each in the simulator.
        threads: of one inference; 0: all cores, one for edge.
        seed: first layout of the simulator, or of the draw from the recordings.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional]
    target: str = 'cpu'
    export: Path | None = None
    out: Path = Path('build/optimise')
    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = field(default=())
    data: Path | None = None
    fps: float | None = None
    camera: str = ''
    frames: int = 500
    timed: int = 200
    episodes: int = 10
    threads: int = 0
    seed: int = 500_000


def command(options: Optimise) -> int:
    """Optimise and print; returns the exit status."""
    from rich.console import Console

    from vla_learning.optimise import report

    content = optimise(options)
    # A pipe has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in (report.latencies, report.fidelities, report.limits):
        console.print(table(content))
    print(f'{options.out / report.JSON_NAME}, {options.out / report.PLOT_NAME}')
    for row in content['rows']:
        if 'kept' in row:
            kept = row['kept']
            print(
                f'{options.out / kept["file"]}: {row["variant"]}, {kept["size"] / 1e6:.1f} MB, '
                f'SHA-256 {kept["sha256"]}'
            )
    winner = content['winner']
    print(f'{winner["folder"]}: {winner["variant"]}' if winner else content['no_winner'])
    return int(winner is None and not only_measured(content['rows']))


def optimise(options: Optimise) -> dict[str, Any]:
    """Try, compare, write the folder, export.

    Returns:
        The content of optimise.json.

    Raises:
        VlaError: if an option is out of range, or the checkpoint or the data cannot be used.
    """
    from vla_core.machine import describe
    from vla_learning.optimise import gemm, report
    from vla_learning.optimise.sampling import take
    from vla_learning.optimise.subject import load_subject
    from vla_learning.optimise.variants import chosen, VARIANTS

    variants = chosen(options.target, options.only)
    threads = _check(options)
    if options.export and not any(variant.policy for variant in variants):
        raise ConfigError(f'export {options.export}: {_no_robot(variants)}: expected no export')
    subject = load_subject(options.checkpoint)
    spec = subject.manifest.spec
    probe, calibration = take(
        spec, options.data, options.frames, options.seed, options.fps, options.camera
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        if variant.kept:
            # That of an earlier run may be of another checkpoint.
            (options.out / variant.kept).unlink(missing_ok=True)
    bench = _Bench(options, subject, probe, calibration, threads)
    rows = list(bench.rows(variants))
    flops, speed = gemm.frame_flops(subject.policy), gemm.throughput(threads)
    for variant, row in zip(variants, rows, strict=True):
        # A pruned network has less work, and what a GPU can do is not measured.
        if 'missing' not in row and variant.device == 'cpu' and variant.name != 'pruned':
            row['limit'] = _limit(variant, row, flops, speed)
    content: dict[str, Any] = {
        'model_id': spec.model_id,
        'model_sha256': spec.model_sha256,
        'target': options.target,
        'threads': threads,
        'source': probe.source,
        'machine': describe(),
        'gemm': speed,
        'flops': flops,
        'units': dict(zip(spec.action_names, spec.action_units, strict=True)),
        'limits': {'rms': LARGEST_RMS, 'single': LARGEST_SINGLE},
        'rows': rows,
        'winner': None,
        'no_winner': 'the export was not reached',
    }
    content['shown_axes'] = _moving(rows[0])
    content['front'] = report.front([row for row in rows if 'missing' not in row])
    # Written before, so that whatever happens to the export, the measurements are kept.
    report.write(options.out, content)
    content |= bench.export(rows)
    report.write(options.out, content)
    return content


class _Bench:
    """What every variant is measured with."""

    def __init__(
        self, options: Optimise, subject: Any, probe: Any, calibration: Any, threads: int
    ) -> None:
        self._options, self._subject = options, subject
        self._probe, self._calibration, self._threads = probe, calibration, threads
        self._behaviour: Any = None
        self._scratch = tempfile.TemporaryDirectory(dir=options.out)
        self._folder = Path(self._scratch.name)
        self._probe_file = self._folder / 'probe.npz'
        probe.save(self._probe_file)

    def rows(self, variants: list[Any]) -> Iterator[dict[str, Any]]:
        """Measure one after the other, each against the first, which must be there.

        Raises:
            VlaError: if the first one does not run.
        """
        import torch

        from vla_learning.optimise.fidelity import answers_of
        from vla_learning.optimise.measuring import Process

        torch.set_num_threads(self._threads)
        base = variants[0]
        folder = self._build(base)
        expected = answers_of(base.open(self._options.checkpoint, folder), self._probe)
        with Process(*self._place(base, folder)) as running:
            for variant in variants:
                reason = variant.available()
                try:
                    if reason:
                        raise VlaError(reason)
                    row = self._row(variant, running, expected)
                    print(_summary(row), flush=True)
                    yield row
                except Exception as error:  # a toolchain may raise whatever it likes
                    if variant is base:
                        raise
                    text = next(iter(str(error).splitlines()), type(error).__name__)
                    print(f'{variant.name}: {text}')
                    yield {'variant': variant.name, 'text': variant.text, 'missing': text}

    def export(self, rows: list[dict[str, Any]]) -> Mapping[str, Any]:
        """Export the fastest that a robot can run, is within the limits, and not slower."""
        from vla_core.parity import slower
        from vla_learning.optimise.artefact import judge, publish
        from vla_learning.optimise.variants import find

        tried = [find(row['variant']) for row in rows]
        if not any(variant.policy for variant in tried):
            return {'no_winner': f'nothing to export: {_no_robot(tried)}'}
        options = self._options
        reasons = []
        for variant in candidates(rows):
            built = self._folder / variant
            parity = judge(built, options.checkpoint, variant, self._probe, options.timed)
            reason = parity.excess() or slower(parity.timings[-1])
            if not reason:
                folder = options.export or _beside(options)
                publish(built, folder, parity)
                winner = {'variant': variant, 'folder': str(folder), **parity.plain()}
                return {'winner': winner, 'no_winner': None}
            reasons.append(f'{variant}: {reason}')
        why = '; '.join(reasons) or 'no variant that a robot can run is within the limits'
        return {'no_winner': f'nothing exported: {why}'}

    def _build(self, variant: Any) -> Path:
        folder = self._folder / variant.name
        folder.mkdir(exist_ok=True)
        variant.build(self._subject, self._calibration, folder, self._threads)
        return folder

    def _keep(self, file: Path) -> dict[str, Any]:
        """Put a file beside the report before its folder is removed, and say which one it is."""
        from vla_core.manifest import sha256

        kept = Path(shutil.copy(file, self._options.out))
        return {'file': kept.name, 'sha256': sha256(kept), 'size': kept.stat().st_size}

    def _place(self, variant: Any, folder: Path) -> tuple[Any, ...]:
        checkpoint = self._options.checkpoint
        return variant.name, checkpoint, folder, self._probe_file, self._threads

    def _row(self, variant: Any, base: Any, expected: Any) -> dict[str, Any]:
        from vla_core.parity import Parity, Reference
        from vla_learning.optimise.fidelity import answers_of, axis_errors, behaviour
        from vla_learning.optimise.measuring import in_turns, Process
        from vla_learning.optimise.profile import profile
        from vla_learning.optimise.runner_process import CACHED, PADDED, UNCACHED
        from vla_learning.optimise.variants import BASE
        from vla_learning.questions import misfit

        options, spec = self._options, self._subject.manifest.spec
        print(f'{variant.name}: {variant.text}', flush=True)
        folder = self._build(variant)
        modes = {'cached': (CACHED, CACHED), 'uncached': (UNCACHED, UNCACHED)}
        if self._subject.policy.encoder is not None:
            # The seed padded what its BERT heard; an encoder outside the network never was.
            modes['against_padded'] = (CACHED, PADDED)
            if variant.name == BASE:
                modes['padded'] = (PADDED, PADDED)
        with Process(*self._place(variant, folder)) as running:
            times = in_turns(running, base, list(modes.values()), options.timed)
            row: dict[str, Any] = {
                'variant': variant.name,
                'text': variant.text,
                **{mode: asdict(one) for mode, one in zip(modes, times, strict=True)},
                'load': running.load,
                'rss': running.rss,
                'peak': running.peak,
                'size': _size(folder) or _size(options.checkpoint),
            }
        policy = variant.open(options.checkpoint, folder)
        found = answers_of(policy, self._probe)
        axes = axis_errors(expected.actions, found.actions, spec)
        episodes = 0 if options.data is not None or misfit(spec) else options.episodes
        done = behaviour(policy, self._probe, options.seed, episodes)
        policy.close()
        # The first one is what all others are compared with.
        self._behaviour = self._behaviour or done
        parity = Parity(
            *('', '', '', variant.name, Reference('', '', ''), '', len(self._probe)), axes=axes
        )
        excess = parity.excess() or found.otherwise(expected) or done.loss(self._behaviour)
        if variant.kept and not excess:
            row['kept'] = self._keep(folder / variant.kept)
        return row | {
            'axes': {name: asdict(axis) for name, axis in axes.items()},
            'grounding': asdict(done.score),
            'reached': done.reached,
            'episodes': done.episodes,
            'excess': excess,
            'profile': profile(folder) if variant.policy else {},
        }


def candidates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the variants that a robot can run and that lost nothing, the fastest first."""
    from vla_learning.optimise.report import relative
    from vla_learning.optimise.variants import find

    fit = [row for row in rows if row.get('excess') == '' and find(row['variant']).policy]
    return [row['variant'] for row in sorted(fit, key=relative)]


def only_measured(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether variants were measured of which a robot runs none."""
    from vla_learning.optimise.variants import find

    measured = any('missing' not in row for row in rows[1:])
    return measured and not any(find(row['variant']).policy for row in rows)


def _no_robot(variants: Sequence[Variant]) -> str:
    """Say that nothing can come of these but figures."""
    return f'no robot runs {", ".join(variant.name for variant in variants[1:]) or "eager"}'


def _check(options: Optimise) -> int:
    """Refuse options before anything long is done; returns the number of threads."""
    from vla_learning.checkpoint import replaceable

    for name, least in (
        *(
            ('frames', FEWEST_FRAMES),
            ('timed', FEWEST_TIMED),
            ('episodes', 0),
            ('threads', 0),
            ('seed', 0),
        ),
    ):
        if getattr(options, name) < least:
            raise ConfigError(f'{name} {getattr(options, name)}: expected >= {least}')
    replaceable(options.export or _beside(options), options.checkpoint)
    cores = len(os.sched_getaffinity(0))
    if options.threads > cores:
        raise ConfigError(f'threads {options.threads}: expected at most {cores}, the cores here')
    return options.threads or (1 if options.target == 'edge' else cores)


def _limit(
    variant: Variant, row: Mapping[str, Any], flops: int, speed: Mapping[str, float]
) -> dict[str, Any]:
    """Compare what a variant computes per second with matrix products of its type."""
    kind = 'int8' if variant.int8 else {'f32': 'fp32'}.get(variant.precision, variant.precision)
    reached = flops / row['cached']['p50']
    return {
        'type': kind,
        'gemm': speed[kind],
        'reached': reached,
        'share': reached / speed[kind],
    }


def _moving(row: Mapping[str, Any]) -> list[str]:
    """Name the axes on which the reference moves most, two at most, for a narrow table."""
    axes = row['axes']
    return sorted(sorted(axes, key=lambda name: -axes[name]['deviation'])[:2], key=[*axes].index)


def _summary(row: Mapping[str, Any]) -> str:
    """Say the most important as soon as it is known: the whole takes minutes."""
    cached = row['cached']
    return (
        f'  {1e3 * cached["p50"]:.2f} ms per frame, {cached["against"] / cached["p50"]:.2f} × '
        f'eager, {row["excess"] or "within the limits"}'
    )


def _beside(options: Optimise) -> Path:
    checkpoint = options.checkpoint.resolve()
    return checkpoint.with_name(f'{checkpoint.name}-{options.target}')


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
