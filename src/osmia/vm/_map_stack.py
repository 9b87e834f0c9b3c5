"""Stack trace map: stacks by the id that bpf_get_stackid gives, as in kernel/bpf/stackmap.c."""

from __future__ import annotations

from ._map_base import E2BIG, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, STACK_BUILD_ID, VmMap
from ._map_hash import hash_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._map_base import Shape
    from ._map_storage import Room

SKIP_MASK, USER_STACK, FAST_CMP, REUSE = 0xFF, 0x100, 0x200, 0x400


class StackTraceMap(VmMap):
    """Values are arrays of u64 addresses, innermost first, filled up with zeros."""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.depth = self.value_size // (32 if shape.flags & STACK_BUILD_ID else 8)
        self.n_buckets = 1 << (self.max_entries - 1).bit_length()
        self._stacks: dict[int, tuple[int, tuple[int, ...]]] = {}  # bucket -> (hash, addresses)

    def stack_id(self, addresses: list[int] | None, flags: int) -> int:
        """bpf_get_stackid for a stack (None: there is none): its id, or minus an errno."""
        if flags & ~(SKIP_MASK | USER_STACK | FAST_CMP | REUSE):
            return -EINVAL
        skip = flags & SKIP_MASK
        if addresses is None or len(addresses[: self.depth + skip]) <= skip:
            return -EFAULT
        stack = tuple(addresses[skip : skip + self.depth])
        hashed = hash_words(stack, len(stack))
        bucket = hashed & (self.n_buckets - 1)
        old = self._stacks.get(bucket)
        if old is not None and old[0] == hashed and (flags & FAST_CMP or old[1] == stack):
            return bucket
        if old is not None and not flags & REUSE:
            return -EEXIST
        if old is None and len(self._stacks) >= self.max_entries:
            return -ENOMEM
        self._stacks[bucket] = (hashed, stack)
        return bucket

    def delete_key(self, key: bytes) -> int:
        bucket = int.from_bytes(key, "little")
        if bucket >= self.n_buckets:
            return -E2BIG
        return 0 if self._stacks.pop(bucket, None) is not None else -ENOENT

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        return -EINVAL

    def _keys(self) -> Iterator[bytes]:
        return (bucket.to_bytes(4, "little") for bucket in sorted(self._stacks))

    def _row(self, key: bytes) -> bytes | int:
        found = self._stacks.get(int.from_bytes(key, "little"))
        if found is None:
            return -ENOENT
        if self.flags & STACK_BUILD_ID:  # struct bpf_stack_build_id with status BPF_STACK_BUILD_ID_IP
            parts = [(2).to_bytes(4, "little") + bytes(20) + ip.to_bytes(8, "little") for ip in found[1]]
        else:
            parts = [ip.to_bytes(8, "little") for ip in found[1]]
        return b"".join(parts).ljust(self.value_size, b"\0")

    _take = VmMap._take_row

    def _next(self, key: bytes | None) -> bytes | int:
        start = 0
        if key is not None and int.from_bytes(key, "little") in self._stacks:
            start = int.from_bytes(key, "little") + 1
        later = [bucket for bucket in self._stacks if bucket >= start]
        return min(later).to_bytes(4, "little") if later else -ENOENT
