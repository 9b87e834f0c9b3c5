"""Which instructions and source lines of programs ran: counted by the interpreter, written as lcov and HTML.

Coverage of several loads of one object adds up: instructions are told apart by program and bytes, lines by file and
number. Of scripts that were given as texts, each is a file of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ._code import Code
    from ._interpreter import Interpreter
    from ._program import VmProgram

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Coverage</title><style>
body {{ font: 14px/1.4 sans-serif; margin: 2em; }} table {{ border-collapse: collapse; }}
td {{ padding: 0 .7em; vertical-align: top; }} .n, .h {{ text-align: right; color: #666; }}
pre, .src {{ font-family: monospace; white-space: pre; }} .hit {{ background: #dff5df; }}
.miss {{ background: #fbdcdc; }}
.part {{ background: #fdf3cf; }}
</style></head><body>
{body}
</body></html>
"""


class ProgramCoverage:
    """Counts of one program: `hits[i]` runs of slot i, `edges[(i, j)]` how often j came after the jump i."""

    def __init__(self, name: str, code: Code, text: str | None = None) -> None:
        self.name = name
        self.code = code
        self.text = text  # of the script, where it is in no file
        self.engine: Interpreter | None = None
        self.hits = [0] * len(code.slots)
        self.edges: dict[tuple[int, int], int] = {}

    @property
    def key(self) -> tuple[str, bytes, str]:
        """The same of all loads of one program."""
        return self.name, self.code.insns, self.text or ""

    def copy(self) -> ProgramCoverage:
        """The same counts, which no run adds to."""
        made = ProgramCoverage(self.name, self.code, self.text)
        made.hits, made.edges = list(self.hits), dict(self.edges)
        return made

    def merge(self, other: ProgramCoverage) -> None:
        """Add what another load of the same program counted."""
        self.hits = [mine + its for mine, its in zip(self.hits, other.hits)]
        for edge, count in other.edges.items():
            self.edges[edge] = self.edges.get(edge, 0) + count

    @property
    def slots(self) -> list[int]:
        """Slots that hold instructions: a 64-bit load has a second one that holds none."""
        code = self.code
        return [i for i in range(len(code.slots)) if not (i and code.slots[i - 1].is_wide)]

    def branches(self) -> dict[int, dict[int, int]]:
        """Slot of each conditional jump -> {slot that may come next: how often it did}."""
        from ..isa import op
        from ._code_check import target

        found: dict[int, dict[int, int]] = {}
        for at in self.slots:
            i = self.code.slots[at]
            to = target(i, at)
            conditional = i.opcode & op.CLASS_MASK in (op.JMP, op.JMP32) and i.opcode & op.OP_MASK not in (0x00, 0x80)
            if to is not None and conditional:
                found[at] = {way: self.edges.get((at, way), 0) for way in dict.fromkeys((to, at + 1))}
        return found


class LineCoverage:
    """One source line: how often it ran, and its conditional jumps as (taken, possible)."""

    __slots__ = ("branches", "hits", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.hits = 0
        self.branches: list[tuple[int, ...]] = []

    @property
    def is_partial(self) -> bool:
        """Whether it ran, and some jump of it went one way only."""
        return self.hits > 0 and any(not all(ways) for ways in self.branches)


class Coverage:
    """Coverage of programs, collected while the interpreter runs them. `add` starts counting one program."""

    def __init__(self) -> None:
        self.programs: list[ProgramCoverage] = []

    def add(self, program: VmProgram, text: str | None = None) -> None:
        """Count this program from now on; it has to be one that the interpreter runs.

        `text` is its script's, where that is in no file.
        """
        from ._interpreter import _interpreter

        found = ProgramCoverage(program.name, program.code, text)
        found.engine = _interpreter(program.code, program.checked)
        self.programs.append(found)
        _count(found)

    def rebuild(self) -> None:
        """Take over helpers that were replaced after `add`: closures hold what they call."""
        from ._interpreter_steps import build

        for program in self.programs:
            if program.engine is not None:
                program.engine.steps[:] = build(program.engine)
                _count(program)

    def merge(self, other: Coverage) -> None:
        """Add what another one has counted until now."""
        mine = {program.key: program for program in self.programs}
        for program in other.programs:
            found = mine.get(program.key)
            if found is not None:
                found.merge(program)
            else:
                made = mine[program.key] = program.copy()
                self.programs.append(made)

    def lines(self) -> dict[str, dict[int, LineCoverage]]:
        """File -> line -> what ran of it.

        A line has run as often as the first instruction of one of its parts. What follows a part may belong to other
        lines: LLVM merges what they have in common, and says of that no line.
        """
        files: dict[str, dict[int, LineCoverage]] = {}
        for program in self._by_program():
            branches = program.branches()
            most: dict[tuple[str, int], int] = {}
            for info in program.code.lines:
                if info.line and info.insn < len(program.hits):
                    where = self._name(program, info.file), info.line
                    files.setdefault(where[0], {}).setdefault(info.line, LineCoverage(info.text))
                    most[where] = max(most.get(where, 0), program.hits[info.insn])
            for at, ways in branches.items():
                found = program.code.line_of(at)
                if found is not None and found.line:
                    files[self._name(program, found.file)][found.line].branches.append(tuple(ways.values()))
            for (file, number), hits in most.items():
                files[file][number].hits += hits
        return files

    def _name(self, program: ProgramCoverage, file: str) -> str:
        """What the file is called: of several scripts without one, each has a name of its own."""
        if program.text is None or len({p.text for p in self.programs if p.text is not None}) < 2:
            return file
        from hashlib import sha256

        return f"{file}-{sha256(program.text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"

    def texts(self) -> dict[str, str]:
        """The scripts that are in no file, by the names that reports call them."""
        found = [(p, line.file) for p in self.programs if p.text is not None for line in p.code.lines[:1]]
        return {self._name(program, file): program.text or "" for program, file in found}

    @property
    def line_rate(self) -> float:
        """Share of the source lines with code that ran, 0 to 1; 1 when there are none."""
        all_lines = [line for lines in self.lines().values() for line in lines.values()]
        return sum(line.hits > 0 for line in all_lines) / len(all_lines) if all_lines else 1.0

    @property
    def instruction_rate(self) -> float:
        """Share of the instructions that ran, 0 to 1; loads of one program count once."""
        hits = [program.hits[at] for program in self._by_program() for at in program.slots]
        return sum(count > 0 for count in hits) / len(hits) if hits else 1.0

    def missed_lines(self) -> dict[str, list[int]]:
        """File -> numbers of the lines that did not run."""
        found = {
            file: [n for n, line in sorted(lines.items()) if not line.hits] for file, lines in self.lines().items()
        }
        return {file: numbers for file, numbers in found.items() if numbers}

    def _by_program(self) -> list[ProgramCoverage]:
        """One for each program, with the counts of all of its loads; by name."""
        merged = Coverage()
        merged.merge(self)
        return sorted(merged.programs, key=lambda program: program.key)

    def _functions(self) -> dict[str, dict[str, tuple[int, int]]]:
        """File -> name -> (line, runs) of the functions of all programs."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        for program in self._by_program():
            code = program.code
            for start, name in zip(code.starts, code.names):
                line = code.line_of(start)
                if line is not None and line.line:
                    functions = found.setdefault(self._name(program, line.file), {})
                    _, runs = functions.get(name, (0, 0))
                    functions[name] = line.line, runs + program.hits[start]
        return found

    # Reports

    def lcov(self, paths: Mapping[str, str] | None = None) -> str:
        """The text of a tracefile for genhtml and its like: lines, functions and branches.

        `paths` says where files are that are not where they say.
        """
        out = []
        functions = self._functions()
        for file, lines in sorted(self.lines().items()):
            out += ["TN:", f"SF:{(paths or {}).get(file, file)}"]
            own = functions.get(file, {})
            out += [f"FN:{line},{name}" for name, (line, _) in own.items()]
            out += [f"FNDA:{runs},{name}" for name, (_, runs) in own.items()]
            out += [f"FNF:{len(own)}", f"FNH:{sum(runs > 0 for _, runs in own.values())}"]
            for number, line in sorted(lines.items()):
                for block, ways in enumerate(line.branches):
                    for way, count in enumerate(ways):
                        out.append(f"BRDA:{number},{block},{way},{count if line.hits else '-'}")
            taken = [count for line in lines.values() for ways in line.branches for count in ways]
            out += [f"BRF:{len(taken)}", f"BRH:{sum(count > 0 for count in taken)}"]
            out += [f"DA:{number},{line.hits}" for number, line in sorted(lines.items())]
            out += [f"LF:{len(lines)}", f"LH:{sum(line.hits > 0 for line in lines.values())}", "end_of_record"]
        return "\n".join(out) + "\n" if out else ""

    def html(self, sources: Mapping[str, str] | None = None) -> str:
        """One page: every file with its lines coloured, then the bytecode. `sources` gives texts of files by name.

        Other files are read; of those that cannot be, the lines with code are shown.
        """
        from html import escape

        from ..isa import disassemble

        body = [f"<h1>Coverage</h1><p>{self.line_rate:.1%} of lines, {self.instruction_rate:.1%} of instructions</p>"]
        for file, lines in sorted(self.lines().items()):
            ran = sum(line.hits > 0 for line in lines.values())
            body.append(f"<h2>{escape(file)}</h2><p>{ran} of {len(lines)} lines with code</p><table>")
            for number, text in _source(file, lines, {**self.texts(), **(sources or {})}):
                body.append(_row(number, escape(text), lines.get(number)))
            body.append("</table>")
        for program in self._by_program():
            body.append(f"<details><summary>{escape(program.name)}: bytecode</summary><table>")
            for at, text in zip(program.slots, disassemble(program.code.insns)):
                hits = program.hits[at]
                colour = "hit" if hits else "miss"
                body.append(
                    f'<tr class="{colour}"><td class="n">{at}</td><td class="h">{hits}</td>'
                    f'<td class="src">{escape(text)}</td></tr>'
                )
            body.append("</table></details>")
        return _PAGE.format(body="\n".join(body))

    def write(self, folder: str) -> None:
        """Write `lcov.info` and `index.html` into a folder; scripts that are in no file go to its folder `scripts`."""
        import os

        paths = {}
        for name, text in self.texts().items():
            os.makedirs(os.path.join(folder, "scripts"), exist_ok=True)
            paths[name] = os.path.join(folder, "scripts", name + ".bt")
            _write(paths[name], text)
        _write(os.path.join(folder, "lcov.info"), self.lcov(paths))
        _write(os.path.join(folder, "index.html"), self.html())

    def write_lcov(self, path: str | os.PathLike[str]) -> None:
        """Write `lcov()` to a file."""
        _write(path, self.lcov())

    def write_html(self, path: str | os.PathLike[str], sources: Mapping[str, str] | None = None) -> None:
        """Write `html()` to a file."""
        _write(path, self.html(sources))


def _count(program: ProgramCoverage) -> None:
    """Put a counter before each instruction."""
    if program.engine is None:
        return
    steps: list[Callable[[list[Any]], int]] = program.engine.steps
    jumps = program.branches()
    for at in program.slots:
        steps[at] = _counted(steps[at], at, program.hits, program.edges if at in jumps else None)


def _counted(
    step: Callable[[list[Any]], int], at: int, hits: list[int], edges: dict[tuple[int, int], int] | None
) -> Callable[[list[Any]], int]:
    if edges is None:

        def count(r: list[Any]) -> int:
            hits[at] += 1
            return step(r)

        return count

    def count_edge(r: list[Any]) -> int:
        hits[at] += 1
        to = step(r)
        edges[at, to] = edges.get((at, to), 0) + 1
        return to

    return count_edge


def _source(file: str, lines: Mapping[int, LineCoverage], given: Mapping[str, str]) -> Iterable[tuple[int, str]]:
    text = given.get(file)
    if text is None:
        try:
            with open(file, encoding="utf-8", errors="replace") as source:
                text = source.read()
        except OSError:
            return [(number, line.text) for number, line in sorted(lines.items())]
    return list(enumerate(text.splitlines(), 1))


def _row(number: int, text: str, line: LineCoverage | None) -> str:
    if line is None:
        return f'<tr><td class="n">{number}</td><td></td><td class="src">{text}</td></tr>'
    colour = "part" if line.is_partial else "hit" if line.hits else "miss"
    return (
        f'<tr class="{colour}"><td class="n">{number}</td><td class="h">{line.hits}</td>'
        f'<td class="src">{text}</td></tr>'
    )


def _write(path: str | os.PathLike[str], text: str) -> None:
    from ..errors import cannot_write

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot_write(f"coverage {path}", error) from None
