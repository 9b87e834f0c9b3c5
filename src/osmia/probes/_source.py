"""Source lines to the addresses where their statements start."""

from __future__ import annotations

from ..errors import ProbeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import ProbeSpec
    from ._user import UserFile


def source_addresses(file: UserFile, spec: ProbeSpec) -> list[int]:
    """Where to probe for `spec.file`:`spec.line`[:`spec.col`]: an address a function or inlined copy of it.

    Of the pieces of a line (as of a loop) it is the first one. Raises ProbeError unless exactly one file is meant.
    """
    dwarf = file.dwarf
    if dwarf is None:
        raise ProbeError(
            f"find source line of {spec.text}: {file.path} has no debug information",
            probe=spec.text,
            hint="install its debug symbols, or name the function",
        )
    found = dwarf.source_files(spec.file)
    if not found:
        raise ProbeError(f"No compilation unit matches {spec.file}", probe=spec.text)
    if len(found) > 1:
        raise ProbeError(
            f"Ambiguous source path, matches multiple files: {', '.join(sorted(found))}",
            probe=spec.text,
            suggestions=tuple(sorted(found)),
            hint="write more of the path",
        )
    first: dict[tuple[int, int], int] = {}
    lines: set[int] = set()
    columns: set[int] = set()
    for unit, numbers in next(iter(found.values())):
        for address, line, column in dwarf.statements(unit, numbers):
            lines.add(line)
            if line != spec.line:
                continue
            columns.add(column)
            if not spec.col or column == spec.col:
                first.setdefault((unit.offset, dwarf.block_of(unit, address)), address)
    if not first:
        place = f"{spec.file}:{spec.line}" + (f":{spec.col}" if spec.col else "")
        raise ProbeError(f"Unable to map '{place}' to address", probe=spec.text, hint=_hint(spec, lines, columns))
    return sorted(set(first.values()))


def _hint(spec: ProbeSpec, lines: set[int], columns: set[int]) -> str:
    if columns:
        return f"statements of the line start in column {', '.join(map(str, sorted(columns)))}"
    near = sorted(sorted(lines, key=lambda line: abs(line - spec.line))[:3])
    return f"the nearest lines with code are {', '.join(map(str, near))}" if near else ""
