"""Look-ups in maps, written in place after the layouts that `_map_array` and `_map_hash` document."""

from __future__ import annotations

from . import _jit_state as slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._jit_function import FunctionWriter

_KEY_LIMIT = 1 << 16  # of any longer one the copy alone costs more than a call
_UNROLLED = 64  # bytes of a key that are hashed and compared without a loop


def lookup(w: FunctionWriter, at_load: int, at: int) -> bool:
    """r0 = address of the value of the key at r2, or 0; False when this kind of map has no code of its own."""
    made = w.code.map_slots[at_load]
    kind = getattr(made, "inline", "")
    if kind in ("array", "percpu_array") and made.key_size == 4:
        _array(w, made, at_load, at, kind == "percpu_array")
        return True
    if kind in ("hash", "lru_hash", "percpu_hash", "lru_percpu_hash") and made.key_size <= _KEY_LIMIT:
        key = w.get(2)
        w.check_access(key, made.key_size, 0, at)
        name = _hash_function(w, made, kind)
        bases = ", ".join(f"i64 {w.constant('map:' + part, at_load)}" for part in _HASH_BASES)
        w.set(0, w.let(f"call i64 @{name}(i64 {key}, {bases}, ptr %s)"))
        return True
    return False


def shape(made: Any) -> tuple[object, ...]:
    """All that the code above takes from a map, for the key of the code cache."""
    names = ("inline", "key_size", "value_size", "max_entries", "stride", "cpus", "capacity", "n_buckets",
             "key_padded", "value_padded")  # fmt: skip
    return tuple(getattr(made, name, None) for name in names)


def _array(w: FunctionWriter, made: Any, at_load: int, at: int, per_cpu: bool) -> None:
    key = w.get(2)
    w.check_access(key, 4, 0, at)
    index = w.let(f"load i32, ptr {w.pointer(key)}, align 1")
    inside = w.let(f"icmp ult i32 {index}, {made.max_entries}")
    row = w.let(f"zext i32 {index} to i64")
    if per_cpu:
        cpu = w.let(f"load i64, ptr {w.state(slot.CPU)}")
        there = w.let(f"icmp ult i64 {cpu}, {made.cpus}")  # a mocked one, or a recording's, may not be
        inside = w.let(f"and i1 {inside}, {there}")
        row = w.let(f"mul i64 {row}, {made.cpus}")
        row = w.let(f"add i64 {row}, {cpu}")
    offset = w.let(f"mul i64 {row}, {made.stride}")
    address = w.let(f"add i64 {w.constant('map:values_base', at_load)}, {offset}")
    w.set(0, w.let(f"select i1 {inside}, i64 {address}, i64 0"))


_HASH_BASES = ("buckets_base", "meta_base", "data_base", "seed")
_MULTIPLIER = -7046029254386353131  # 0x9E3779B97F4A7C15


def _hash_function(w: FunctionWriter, made: Any, kind: str) -> str:
    """The function that looks up in hashes of this shape; written once per module."""
    key = (
        made.key_size,
        made.stride,
        made.capacity,
        made.n_buckets,
        made.key_padded,
        made.value_padded,
        made.cpus,
        kind,
    )
    name = "hash_" + "_".join(str(part) for part in key)
    if name not in w.module.shared:
        w.module.shared[name] = _HashWriter(made, kind, name, w.module.direct).text()
    return name


class _HashWriter:
    def __init__(self, made: Any, kind: str, name: str, direct: bool) -> None:
        self.made, self.kind, self.name, self.direct = made, kind, name, direct
        self.lines: list[str] = []
        self.names = 0

    def let(self, text: str) -> str:
        self.names += 1
        self.lines.append(f"  %t{self.names} = {text}")
        return f"%t{self.names}"

    def pointer(self, address: str) -> str:
        if self.direct:
            return self.let(f"getelementptr i8, ptr @osmia_memory, i64 {address}")
        return self.let(f"inttoptr i64 {address} to ptr")

    def load(self, type: str, base: str, offset: int = 0) -> str:
        address = self.let(f"add i64 {base}, {offset}") if offset else base
        return self.let(f"load {type}, ptr {self.pointer(address)}, align 1")

    def words(self, base: str) -> list[tuple[str, str]]:
        """(type, value) of the 8-byte words of a key; the last one may be narrower."""
        out = []
        for offset in range(0, self.made.key_size, 8):
            type = f"i{min(8, self.made.key_size - offset) * 8}"
            out.append((type, self.load(type, base, offset)))
        return out

    def mix(self, h: str, type: str, value: str) -> str:
        """The hash with one more word in it."""
        wide = value if type == "i64" else self.let(f"zext {type} {value} to i64")
        mixed = self.let(f"mul i64 {self.let(f'xor i64 {h}, {wide}')}, {_MULTIPLIER}")
        return self.let(f"xor i64 {mixed}, {self.let(f'lshr i64 {mixed}, 32')}")

    def tail(self, base: str) -> tuple[str, str] | None:
        """(type, value) of what a long key has behind its last whole word."""
        rest = self.made.key_size % 8
        return (f"i{8 * rest}", self.load(f"i{8 * rest}", base, self.made.key_size - rest)) if rest else None

    def mix_all(self) -> str:
        """The hash of a long key, by a loop; the code goes on in block `mixed`."""
        end = self.made.key_size // 8 * 8
        self.lines += ["  br label %mix", "mix:", "  %i = phi i64 [ 0, %0 ], [ %i2, %mix ]"]
        self.lines.append("  %h = phi i64 [ %seed, %0 ], [ %h2, %mix ]")
        word = self.load("i64", self.let("add i64 %key, %i"))
        self.lines.append(f"  %h2 = add i64 {self.mix('%h', 'i64', word)}, 0")
        self.lines += ["  %i2 = add i64 %i, 8", f"  %again = icmp ult i64 %i2, {end}"]
        self.lines += ["  br i1 %again, label %mix, label %mixed", "mixed:"]
        tail = self.tail("%key")
        return self.mix("%h2", *tail) if tail else "%h2"

    def compare_all(self, at: str) -> str:
        """Whether a long key is the one at `at`, by a loop that leaves at the first difference."""
        end = self.made.key_size // 8 * 8
        self.lines += ["  br label %same", "same:", "  %j = phi i64 [ 0, %compare ], [ %j2, %like ]"]
        mine = self.load("i64", self.let("add i64 %key, %j"))
        other = self.load("i64", self.let(f"add i64 {at}, %j"))
        alike = self.let(f"icmp eq i64 {mine}, {other}")
        self.lines += [f"  br i1 {alike}, label %like, label %more", "like:", "  %j2 = add i64 %j, 8"]
        self.lines += [f"  %onward = icmp ult i64 %j2, {end}", "  br i1 %onward, label %same, label %whole", "whole:"]
        mine_tail, other_tail = self.tail("%key"), self.tail(at)
        if mine_tail is None or other_tail is None:
            return "true"
        return self.let(f"icmp eq {mine_tail[0]} {mine_tail[1]}, {other_tail[1]}")

    def text(self) -> str:
        m = self.made
        self.lines.append(
            f"define internal i64 @{self.name}(i64 %key, i64 %buckets, i64 %meta, i64 %data, i64 %seed, ptr %s) #0 {{"
        )
        words, start = [], "%0"
        if m.key_size <= _UNROLLED:
            words = self.words("%key")
            h = "%seed"
            for type, value in words:
                h = self.mix(h, type, value)
        else:
            h, start = self.mix_all(), "%mixed"
        hashed = self.let(f"trunc i64 {h} to i32")
        bucket = self.let(f"and i64 {h}, {m.n_buckets - 1}")
        first = self.load("i32", self.let(f"add i64 %buckets, {self.let(f'shl i64 {bucket}, 2')}"))
        self.lines += ["  br label %loop", "loop:"]
        self.lines.append(f"  %entry = phi i32 [ {first}, {start} ], [ %next, %more ]")
        self.lines.append(f"  %steps = phi i64 [ 0, {start} ], [ %step, %more ]")
        self.lines.append("  %step = add i64 %steps, 1")
        self._step(hashed, words)
        return "\n".join([*self.lines, "}"])

    def _step(self, hashed: str, words: list[tuple[str, str]]) -> None:
        m = self.made
        index = self.let(f"zext i32 {self.let('sub i32 %entry, 1')} to i64")
        there = self.let(f"icmp ult i64 {index}, {m.capacity}")
        few = self.let(f"icmp ult i64 %steps, {m.capacity}")
        self.lines += [f"  br i1 {self.let(f'and i1 {there}, {few}')}, label %look, label %none", "look:"]
        record = self.let(f"add i64 %meta, {self.let(f'shl i64 {index}, 4')}")
        same = self.let(f"icmp eq i32 {self.load('i32', record)}, {hashed}")
        self.lines += [f"  br i1 {same}, label %compare, label %more", "compare:"]
        at = self.let(f"add i64 %data, {self.let(f'mul i64 {index}, {m.stride}')}")
        if words:
            equal = "true"
            for (type, wanted), (_, found) in zip(words, self.words(at)):
                equal = self.let(f"and i1 {equal}, {self.let(f'icmp eq {type} {wanted}, {found}')}")
        else:
            equal = self.compare_all(at)
        self.lines += [f"  br i1 {equal}, label %found, label %more", "more:"]
        self.lines.append("  %nextat = add i64 " + record + ", 4")
        self.lines.append(f"  %next = load i32, ptr {self.pointer('%nextat')}, align 1")
        self.lines += ["  br label %loop", "found:"]
        if self.kind.startswith("lru"):
            self.lines.append(f"  %touch = add i64 {record}, 12")
            self.lines.append(f"  store i32 1, ptr {self.pointer('%touch')}, align 1")
        offset = str(m.key_padded)
        if "percpu" in self.kind:
            place = self.let(f"getelementptr i64, ptr %s, i64 {slot.CPU}")
            cpu = self.let(f"load i64, ptr {place}")
            there = self.let(f"icmp ult i64 {cpu}, {m.cpus}")
            self.lines += [f"  br i1 {there}, label %mine, label %none", "mine:"]
            offset = self.let(f"add i64 {self.let(f'mul i64 {cpu}, {m.value_padded}')}, {offset}")
        self.lines.append(f"  ret i64 {self.let(f'add i64 {at}, {offset}')}")
        self.lines += ["none:", "  ret i64 0"]
