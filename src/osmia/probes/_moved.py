"""Kernel functions that scripts name and newer (or older) kernels call something else."""

from __future__ import annotations

# Each row is one function through time, oldest name first. Arguments may differ: whoever maps a name says so.
_HISTORY = (
    ("kfree_skb", "kfree_skb_reason", "sk_skb_reason_drop"),  # 5.17 (c504e5c2f964), 6.11 (ba8de796baf4)
    ("do_fork", "_do_fork", "kernel_clone"),  # 4.2 (3033f14ab78c), 5.10 (cad6967ac108)
    ("do_sys_open", "do_sys_openat2"),  # 5.6
    ("blk_account_io_start", "__blk_account_io_start"),  # 5.16 inlined the outer one
    ("blk_account_io_done", "__blk_account_io_done"),
    ("__do_page_cache_readahead", "do_page_cache_ra"),  # 5.10
    ("add_to_page_cache_lru", "filemap_add_folio"),  # 5.16
    ("mark_page_accessed", "folio_mark_accessed"),  # 5.16
    ("account_page_dirtied", "folio_account_dirtied"),  # 5.15
    ("swap_readpage", "swap_read_folio"),  # 6.8
)


def other_names(function: str) -> tuple[str, ...]:
    """Names that the kernel function may have instead, the most likely first; empty if none is known."""
    for names in _HISTORY:
        if function in names:
            at = names.index(function)
            # A script is usually older than the kernel: later names first, then earlier ones, the nearest first.
            return names[at + 1 :] + names[:at][::-1]
    return ()
