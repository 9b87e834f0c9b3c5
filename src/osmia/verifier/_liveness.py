"""Which stack slots are read again behind an instruction: learned while walking, per chain of calls.

As the kernel since 6.18 (b3698c356ad9): reads and full overwrites of slots are noted per instruction, and flow
backwards through the control-flow graph. A mask holds the slots of all frames: bit frame * 64 + slot.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._structure import Code


class Instance:
    """One function as reached through one chain of call sites."""

    __slots__ = ("_code", "_reads", "_work", "_writes", "live", "seen")

    def __init__(self, code: Code) -> None:
        self._code = code
        self._reads: dict[int, int] = {}
        self._writes: dict[int, int] = {}
        self.seen = bytearray(len(code.insns) + 1)
        self._work: list[int] = []
        self.live: dict[int, int] = {}

    @property
    def waits(self) -> bool:
        """Whether there is anything new."""
        return bool(self._work)

    def visit(self, at: int) -> None:
        """The walk came to `at`, which it has not `seen`: what is live behind it is live before it too."""
        self.seen[at] = 1
        self._work.append(at)

    def read(self, at: int, mask: int) -> None:
        """The instruction may read these slots."""
        old = self._reads.get(at, 0)
        if mask & ~old:
            self._reads[at] = old | mask
            self.seen[at] = 1
            self._work.append(at)

    def wrote(self, at: int, mask: int) -> None:
        """A visit of the instruction overwrote just these slots; what every visit overwrites is dead before it."""
        old = self._writes.get(at)
        new = mask if old is None else old & mask
        if new != old:
            self._writes[at] = new
            self.seen[at] = 1
            self._work.append(at)

    def update(self) -> None:
        """Let what is new flow backwards."""
        work = self._work
        if not work:
            return
        live, reads, writes, seen = self.live, self._reads, self._writes, self.seen
        succs, preds = self._code.succs, self._code.preds
        while work:
            at = work.pop()
            after = 0
            for to in succs[at]:
                after |= live.get(to, 0)
            before = after & ~writes.get(at, 0) | reads.get(at, 0)
            if before != live.get(at, 0):
                live[at] = before
                work.extend([p for p in preds[at] if seen[p]])


class StackLiveness:
    """All instances of a walk."""

    __slots__ = ("_chains", "_code")

    def __init__(self, code: Code) -> None:
        self._code = code
        self._chains: dict[tuple[int, ...], Instance] = {}

    def instance(self, chain: tuple[int, ...]) -> Instance:
        """`chain` is the call sites from the entry inwards, then the function's first instruction."""
        found = self._chains.get(chain)
        if found is None:
            found = self._chains[chain] = Instance(self._code)
        return found

    def update(self) -> None:
        """To be called when a path ends: callees first, since what they read of callers is read at the call."""
        if not any(instance.waits for instance in self._chains.values()):
            return
        for chain in sorted(self._chains, key=len, reverse=True):
            inner = self._chains[chain]
            inner.update()
            if len(chain) > 1:
                entry = inner.live.get(chain[-1], 0)
                outer = entry & (1 << 64 * (len(chain) - 1)) - 1
                if outer:
                    self.instance(self._parent(chain)).read(chain[-2], outer)

    def _parent(self, chain: tuple[int, ...]) -> tuple[int, ...]:
        site = chain[-2]
        code = self._code
        return (*chain[:-2], code.start[code.subprog_of[site]])
