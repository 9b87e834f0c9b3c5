"""The bpftrace language: scripts to objects."""

from .compile import Compilation, compile_script

__all__ = ["Compilation", "compile_script"]
