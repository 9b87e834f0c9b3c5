"""What the fields of a context held when a run was over."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._context import Layout


class Fields(Mapping[str, "int | tuple[int, ...]"]):
    """Fields by name, read from a copy of the context; arrays as tuples. Hashable."""

    __slots__ = ("_data", "_hidden", "_layout")

    def __init__(self, data: bytes, layout: Layout, hidden: tuple[str, ...]) -> None:
        self._data = data
        self._layout = layout
        self._hidden = hidden

    def __getitem__(self, name: str) -> int | tuple[int, ...]:
        if name in self._hidden:
            raise KeyError(name)
        offset, size, count = self._layout[name]
        values = [
            int.from_bytes(self._data[at : at + size], "little") for at in range(offset, offset + size * count, size)
        ]
        return values[0] if count == 1 else tuple(values)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._layout if name not in self._hidden)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return repr(dict(self))
