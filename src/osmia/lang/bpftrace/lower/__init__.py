"""From a checked script to an `Object`, through LLVM IR."""

from ._features import Features
from ._script import Options, ScriptLowering

__all__ = ["Features", "Options", "ScriptLowering"]
