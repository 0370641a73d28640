"""Which faults kill a process, and which let it hang: python -m vla_cli.faults.coverage."""

from __future__ import annotations

from vla_cli.faults.catalogue import FAULTS


def coverage() -> dict[str, tuple[list[str], list[str]]]:
    """Return process -> names of the faults that kill it, and of those that let it hang."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for fault in FAULTS:
        for place, process in enumerate((fault.kills, fault.hangs)):
            if process:
                found.setdefault(process, ([], []))[place].append(fault.name)
    return dict(sorted(found.items()))


def markdown() -> str:
    """Return the table of docs/how-to/inject-faults.md."""
    lines = ['| process | killed by | made to hang by |', '|---|---|---|']
    for process, faults in coverage().items():
        cells = [', '.join(f'`{name}`' for name in names) or '–' for names in faults]
        lines.append(f'| {" | ".join((process, *cells))} |')
    return '\n'.join(lines)


def main() -> None:
    """Print it."""
    print(markdown())


if __name__ == '__main__':
    main()
