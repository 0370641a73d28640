"""Which version of the workspace was running."""

from pathlib import Path
import subprocess


def git_revision(folder: Path) -> str:
    """Return the commit of a folder, with a plus where files differ from it; empty: no git."""
    try:
        commit, changes = (
            subprocess.run(
                ['git', '-C', str(folder), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=5.0,
            ).stdout.strip()
            for command in (['rev-parse', 'HEAD'], ['status', '--porcelain'])
        )
    except (OSError, subprocess.SubprocessError):
        return ''
    return f'{commit}+' if changes else commit
