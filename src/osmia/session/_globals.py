"""Global variables of a C program while it is loaded, by name."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ..errors import ObjectError, UsageError
from ..objects import encode_variable, find_variable, variables
from ._decode import compile_value
from ._maps import NoSuchName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..objects import Object, Variable
    from ._names import Names


class Globals(MutableMapping[str, Any]):
    """Variables by name: `globals["mode"]`, and `globals["mode"] = 2` of those that are not constants.

    Values are those of maps. Setting one writes its section back as a whole: in the kernel, what programs write to
    other variables of the section at that moment may be lost.
    """

    def __init__(self, obj: Object, loaded: Any, names: Names) -> None:
        self._known = {v.name: v for v in variables(obj)}
        self._constant = {m.name for m in obj.maps if m.frozen}
        self._loaded = loaded
        self._names = names
        self._kept: dict[str, bytes] | None = None

    def _variable(self, name: str, verb: str) -> Variable:
        try:
            return find_variable(self._known, name, verb)
        except ObjectError as error:
            raise NoSuchName(str(error)) from None

    def _section(self, name: str) -> bytes:
        if self._kept is not None:
            return self._kept[name]
        found: bytes = self._loaded.maps[name].lookup(bytes(4))
        return found

    def _decoded(self, variable: Variable, section: bytes) -> Any:
        return compile_value(variable.type, self._names)(section, variable.offset)

    def __getitem__(self, name: str) -> Any:
        variable = self._variable(name, "read")
        return self._decoded(variable, self._section(variable.section))

    def __setitem__(self, name: str, value: Any) -> None:
        variable = self._variable(name, "set")
        if variable.section in self._constant:
            raise UsageError(
                f"set {name}: it is constant once the object is loaded", hint=f"give globals={{{name!r}: ...}} before"
            )
        if self._kept is not None:
            raise UsageError(f"set {name}: the object is not loaded any more", hint="do it inside the with block")
        data = bytearray(self._section(variable.section))
        new = encode_variable(variable, value)
        data[variable.offset : variable.offset + len(new)] = new
        self._loaded.maps[variable.section].update(bytes(4), bytes(data))

    def __delitem__(self, name: str) -> None:
        raise UsageError(f"delete {name}: variables stay", hint="set it to another value")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def written(self) -> Iterator[tuple[str, Any]]:
        """Those that are not constant, and not zero, with their values."""
        sections = {name: self._section(name) for name in self._sections() - self._constant}
        for name, variable in sorted(self._known.items()):
            section = sections.get(variable.section, b"")
            if any(section[variable.offset : variable.offset + variable.type.size]):
                yield name, self._decoded(variable, section)

    def _sections(self) -> set[str]:
        return {variable.section for variable in self._known.values()}

    def keep(self) -> None:
        """Take what the variables hold now, for those who ask when the target has let go of them."""
        if self._kept is None:
            self._kept = {name: self._section(name) for name in self._sections()}

    def __repr__(self) -> str:
        return f"<globals: {dict(self)!r}>"
