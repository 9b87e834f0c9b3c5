"""What this kernel can do."""

from __future__ import annotations


def map_type_support(type: int) -> tuple[str, str] | None:
    """(name, first version) when this kernel surely lacks maps of `type`."""
    return None


def program_type_support(type: int) -> tuple[str, str] | None:
    """(name, first version) when this kernel surely lacks programs of `type`."""
    return None
