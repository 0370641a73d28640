"""Which checkpoint may drive: the one that was asked for, or the reference it was made of.

An exported or optimised checkpoint computes what was trained only as nearly as its parity report
says, so that one without a report, or with a bad one, is refused. Nothing is run here: how fast it
is on this machine is `vla_inference.admission`'s question.
"""

from collections.abc import Mapping
import math
from pathlib import Path
from typing import Any, NamedTuple

from vla_core.errors import CheckpointError, ConfigError
from vla_core.manifest import FILE_NAME, load_manifest, Manifest
from vla_core.parameters import load_yaml
from vla_core.parity import Parity, read_reference
from vla_core.types import PolicySpec

#: Entry points that run what was exported from a trained network.
EXPORTED = ('onnx', 'openvino')
#: Largest difference between a trained network, its weights rounded to float16, and its plain
#: export; what the rounding changes is limited where it is exported.
EXPORT_BOUND = 1e-4


class Admitted(NamedTuple):
    """What may drive.

    Attributes:
        manifest: of the folder to open.
        refused: why it is the reference of the one that was asked for; empty if it is that one.
        parity: report of an optimised checkpoint; None for any other.
    """

    manifest: Manifest
    refused: str = ''
    parity: Parity | None = None


def admit(folder: Path) -> Admitted:
    """Verify a checkpoint folder and its parity report; take its reference if they are bad.

    Raises:
        CheckpointError: if the folder is refused and its manifest names no sound reference.
    """
    try:
        manifest = load_manifest(folder)
        return Admitted(manifest, parity=check_parity(manifest))
    except CheckpointError as error:
        return Admitted(find_reference(folder, str(error)), refused=str(error))


def check_parity(manifest: Manifest) -> Parity | None:
    """Judge the parity report of a verified folder.

    Returns:
        The report of an optimised checkpoint; None where there is none to judge: a trained
        network, a plain export within its bound, somebody else's policy.

    Raises:
        CheckpointError: if a report is missing, is of other files, or exceeds the limits.
    """
    where, report = manifest.folder.name, manifest.parity
    if 'reference' not in report:
        if manifest.policy in EXPORTED:
            _check_export(report, manifest.files_sha256, where)
        return None
    parity = Parity.from_plain(report, f'{where}: parity')
    _check_files(parity.files_sha256, manifest.files_sha256, where)
    if parity.settings_sha256 != manifest.settings_sha256:
        raise CheckpointError(
            f'{where}: contract, language or runtime are not those that the parity report is '
            'about: expected them as they were compared; optimise it again'
        )
    if parity.policy != manifest.policy:
        raise CheckpointError(
            f'{where}: the parity report is of policy {parity.policy}, this is one of '
            f'{manifest.policy}: expected the same'
        )
    _check_axes(parity, manifest.spec, where)
    excess = parity.excess()
    if excess:
        raise CheckpointError(f'{where}: {excess}')
    return parity


def find_reference(folder: Path, refused: str) -> Manifest:
    """Find what an optimised checkpoint was made of, even if its own files are damaged.

    Args:
        folder: of the optimised one.
        refused: why it is not used, for messages.

    Raises:
        CheckpointError: if its manifest names none, or the one it names is not there, is another,
            or is damaged.
    """
    try:
        parity = load_yaml(folder / FILE_NAME).get('parity')
    except ConfigError:
        parity = None
    if not isinstance(parity, Mapping) or 'reference' not in parity:
        raise CheckpointError(refused)
    reference = read_reference(parity['reference'], f'{folder.name}: parity')
    try:
        manifest = load_manifest(folder / reference.path)
        check_parity(manifest)
    except (CheckpointError, ValueError) as error:
        # A ValueError is that of a path with characters that no file system takes.
        raise CheckpointError(f'{refused}; and its reference: {error}') from error
    found = manifest.spec.model_sha256
    if found != reference.sha256 or 'reference' in manifest.parity:
        raise CheckpointError(
            f'{refused}; and its reference {reference.path} has the manifest {found}: expected '
            f'{reference.sha256}, of a checkpoint that is not optimised'
        )
    return manifest


def _check_export(report: Mapping[str, Any], files_sha256: str, where: str) -> None:
    """Judge what an export of the whole network wrote."""
    differences = report.get('largest_difference')
    if not isinstance(differences, Mapping) or not differences:
        raise CheckpointError(
            f'{where}: no parity report: expected how far it is from what was trained; '
            'export or optimise it again'
        )
    for name, value in differences.items():
        if type(value) is not float or not 0.0 <= value <= EXPORT_BOUND or math.isnan(value):
            raise CheckpointError(
                f'{where}: difference of {name} from the trained network is {value}: expected at '
                f'most {EXPORT_BOUND}'
            )
    # Exports from before reports named their files have none.
    if 'files_sha256' in report:
        _check_files(report['files_sha256'], files_sha256, where)


def _check_axes(parity: Parity, spec: PolicySpec, where: str) -> None:
    """Refuse a report without an axis, in other units, or of deviations that no actions have."""
    if set(parity.axes) != set(spec.action_names):
        raise CheckpointError(
            f'{where}: compared on the axes {sorted(parity.axes)}: expected all of '
            f'{sorted(spec.action_names)}'
        )
    contract = zip(spec.action_names, spec.action_units, spec.action_scale, strict=True)
    for name, unit, scale in contract:
        if parity.axes[name].unit != unit:
            raise CheckpointError(
                f'{where}: compared {name} in {parity.axes[name].unit!r}: expected {unit!r}'
            )
        deviation = parity.axes[name].deviation
        if not deviation <= abs(scale):
            raise CheckpointError(
                f'{where}: deviation of {name} is {deviation}: expected at most its scale, '
                f'{abs(scale)}'
            )


def _check_files(reported: object, found: str, where: str) -> None:
    if reported != found:
        raise CheckpointError(
            f'{where}: the parity report is of files with the hash {reported}: expected {found}, '
            'that of this folder'
        )
