"""Counting records without making Python objects of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .target import Batch


def count_by_id(batch: Batch, counts: dict[int, int]) -> int:
    """Add the records of `batch` to `counts` by format id; how many they were.

    A run of records of one size is compared in one go with "all the same id": a few ns a record.
    """
    words = memoryview(batch.data).cast("I") if len(batch.data) % 4 == 0 else None
    for start, count, _size, stride in batch.runs:
        if words is None or start % 4 or stride % 4:
            ids = [
                int.from_bytes(batch.data[at : at + 4], "little") for at in range(start, start + count * stride, stride)
            ]
        else:
            at, step = start >> 2, stride >> 2
            run = words[at : at + (count - 1) * step + 1 : step]
            first = run[0]
            if run.tobytes() == first.to_bytes(4, "little") * count:
                counts[first] = counts.get(first, 0) + count
                continue
            ids = run.tolist()
        for format_id in set(ids):
            counts[format_id] = counts.get(format_id, 0) + ids.count(format_id)
    return batch.count


def shared_id(data: bytes, start: int, count: int, stride: int) -> int:
    """The format id that `count` records in a row all have; -1 where they differ (or do not lie on words)."""
    if start % 8 or stride % 8 or len(data) % 8:
        return -1
    step = stride >> 3
    ids = memoryview(data).cast("Q")[start >> 3 : (start >> 3) + (count - 1) * step + 1 : step]
    first: int = ids[0]
    return first if ids.tobytes() == first.to_bytes(8, "little") * count else -1
