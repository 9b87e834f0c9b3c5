"""LLVM through llvmlite's shared library, bound by hand.

Importing `llvmlite.binding` costs 45 ms of CPU, of which 12 are LLVM; the rest is Python that we do not use.
So the library is found without importing the package, and the dozen entry points that are needed are declared here.
They are llvmlite's own C functions (ffi/*.cpp), stable since 0.45.
"""

from __future__ import annotations

import ctypes
import os
import sys

from ..errors import CodegenError, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRIPLE = b"bpfel-unknown-none"

# What shrinks our kind of code without unrolling: half the time of -O2 for the same size (docs/facts in bench/).
SHORT = (
    ("module", "AddAlwaysInlinerPass"),
    ("module", "AddGlobalOptPass"),
    ("module", "AddSROAPass"),
    ("module", "AddIPSCCPPass"),
    ("module", "AddInstCombinePass"),
    ("module", "AddSimplifyCFGPass"),
    ("module", "AddNewGVNPass"),
    ("module", "AddDSEPass"),
    ("module", "AddADCEPass"),
    ("module", "AddSimplifyCFGPass"),
    ("module", "AddGlobalDCEPass"),
)


def _find_library() -> str:
    for folder in sys.path:
        package = os.path.join(folder or ".", "llvmlite", "binding", "libllvmlite.so")
        if os.path.exists(package):
            return package
    raise NotSupported(
        "load LLVM: the llvmlite package is not installed", feature="llvmlite", hint="pip install llvmlite"
    )


_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_OUT = ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "InitializeAllTargetInfos": (None, ()),
    "InitializeAllTargets": (None, ()),
    "InitializeAllTargetMCs": (None, ()),
    "InitializeAllAsmPrinters": (None, ()),
    "ContextCreate": (_P, ()),
    "ContextDispose": (None, (_P,)),
    "ParseAssembly": (_P, (_P, _S, _OUT)),
    "VerifyModule": (_I, (_P, _OUT)),
    "PrintModuleToString": (None, (_P, _OUT)),
    "DisposeModule": (None, (_P,)),
    "DisposeString": (None, (_P,)),
    "GetTargetFromTriple": (_P, (_S, _OUT)),
    "CreateTargetMachine": (_P, (_P, _S, _S, _S, _I, _S, _S, _I, _I, _S)),
    "DisposeTargetMachine": (None, (_P,)),
    "TargetMachineEmitToMemory": (_P, (_P, _P, _I, _OUT)),
    "GetBufferStart": (_P, (_P,)),
    "GetBufferSize": (ctypes.c_size_t, (_P,)),
    "DisposeMemoryBuffer": (None, (_P,)),
    "CreateNewModulePassManager": (_P, ()),
    "DisposeNewModulePassManger": (None, (_P,)),
    "CreatePipelineTuningOptions": (_P, ()),
    "DisposePipelineTuningOptions": (None, (_P,)),
    "PTOSetLoopVectorization": (None, (_P, ctypes.c_bool)),
    "PTOSetSLPVectorization": (None, (_P, ctypes.c_bool)),
    "PTOSetLoopUnrolling": (None, (_P, ctypes.c_bool)),
    "CreatePassBuilder": (_P, (_P, _P)),
    "DisposePassBuilder": (None, (_P,)),
    "RunNewModulePassManager": (None, (_P, _P, _P)),
    "buildPerModuleDefaultPipeline": (_P, (_P, _I)),
    "GetProcessTriple": (None, (_OUT,)),
    "GetHostCPUName": (None, (_OUT,)),
    "GetHostCPUFeatures": (_I, (_OUT,)),
}

_lib: Any = None


def _library() -> Any:
    global _lib
    if _lib is None:
        path = _find_library()
        try:
            lib = ctypes.CDLL(path)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(lib, "LLVMPY_" + name)
                function.restype, function.argtypes = result, list(arguments)
            for _, name in SHORT:
                getattr(lib, "LLVMPY_module_" + name).argtypes = [_P]
        except (OSError, AttributeError) as error:
            raise NotSupported(
                f"load LLVM from {path}: {error}", feature="llvmlite", hint="pip install --upgrade 'llvmlite>=0.45'"
            ) from None
        for name in ("TargetInfos", "Targets", "TargetMCs", "AsmPrinters"):
            getattr(lib, "LLVMPY_InitializeAll" + name)()
        _lib = lib
    return _lib


class _Text:
    """An out parameter that LLVM fills with a C string which we must give back."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self.pointer = ctypes.c_void_p()

    def take(self) -> str:
        if not self.pointer:
            return ""
        text = ctypes.string_at(self.pointer).decode("utf-8", "replace")
        self._lib.LLVMPY_DisposeString(self.pointer)
        self.pointer = ctypes.c_void_p()
        return text


class _Module:
    """A module read from textual IR, with the target machine that its code is for. A context manager."""

    def __init__(self, lib: Any, ir: str) -> None:
        self._lib = lib
        self._context = lib.LLVMPY_ContextCreate()
        self.machine: Any = None
        text = _Text(lib)
        self.module = lib.LLVMPY_ParseAssembly(self._context, ir.encode(), ctypes.byref(text.pointer))
        message = text.take()
        if not self.module or message:
            self.close()
            raise CodegenError(f"parse IR: {message.strip() or 'unknown reason'}")

    def verify(self) -> None:
        """CodegenError for IR that says what LLVM does not allow."""
        text = _Text(self._lib)
        if self._lib.LLVMPY_VerifyModule(self.module, ctypes.byref(text.pointer)):
            raise CodegenError(f"verify IR: {text.take().strip()}")
        text.take()

    def aim(self, triple: bytes, cpu: bytes, features: bytes, level: int, name: str) -> Any:
        """The machine for a target, which an error calls `name`."""
        lib, text = self._lib, _Text(self._lib)
        target = lib.LLVMPY_GetTargetFromTriple(triple, ctypes.byref(text.pointer))
        if not target:
            raise NotSupported(f"use LLVM: {text.take()}", feature=name)
        self.machine = lib.LLVMPY_CreateTargetMachine(
            target, triple, cpu, features, level, b"static", b"small", 0, 0, b""
        )
        return self.machine

    def text(self) -> bytes:
        """The IR as it is now."""
        text = _Text(self._lib)
        self._lib.LLVMPY_PrintModuleToString(self.module, ctypes.byref(text.pointer))
        return text.take().encode()

    def close(self) -> None:
        if self.machine:
            self._lib.LLVMPY_DisposeTargetMachine(self.machine)
        if self.module:
            self._lib.LLVMPY_DisposeModule(self.module)
        if self._context:
            self._lib.LLVMPY_ContextDispose(self._context)
        self.machine = self.module = self._context = None

    def __enter__(self) -> _Module:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def emit(ir: str, *, cpu: str = "v3", optimize: str = "short", assembly: bool = False, print_ir: bool = False) -> bytes:
    """Compile textual IR for BPF: an ELF object (or assembly, or the optimised IR as text), in bytes.

    `cpu` is v1..v4; `optimize` is none, short or O2. Raises CodegenError for IR that does not parse or verify.
    What the back end itself cannot do ends the process: see `_check`, and `_driver.compile_guarded`.
    """
    lib = _library()
    with _Module(lib, ir) as made:
        made.verify()
        machine = made.aim(TRIPLE, cpu.encode(), b"", 2, "LLVM's BPF target")
        _run_passes(lib, made.module, machine, optimize)
        return made.text() if print_ir else _object(lib, machine, made.module, assembly)


_host: tuple[str, str, str] | None = None


def host() -> tuple[str, str, str]:
    """This machine as LLVM sees it: target triple, CPU, and its features ("+avx2,-sse4a,...")."""
    global _host
    if _host is None:
        lib, found = _library(), []
        for name in ("GetProcessTriple", "GetHostCPUName", "GetHostCPUFeatures"):
            text = _Text(lib)
            getattr(lib, "LLVMPY_" + name)(ctypes.byref(text.pointer))
            found.append(text.take())
        _host = (found[0], found[1], found[2])
    return _host


def emit_native(ir: str, *, level: int = 2, vectorize: bool = True, what: str = "object") -> bytes:
    """Compile textual IR for this machine: an ELF object that is not position-independent (small code model).

    `level` is 0 to 3; `what` is object, assembly or ir (optimised, as text). Raises CodegenError as `emit` does.
    """
    lib = _library()
    triple, cpu, features = (part.encode() for part in host())
    with _Module(lib, ir) as made:
        machine = made.aim(triple, cpu, features, level, f"LLVM for {triple.decode()}")
        if level:
            _optimize(lib, made.module, machine, level, vectorize)
        return made.text() if what == "ir" else _object(lib, machine, made.module, what == "assembly")


def _optimize(lib: Any, module: Any, machine: Any, level: int, vectorize: bool) -> None:
    options = lib.LLVMPY_CreatePipelineTuningOptions()
    lib.LLVMPY_PTOSetLoopVectorization(options, vectorize)
    lib.LLVMPY_PTOSetSLPVectorization(options, vectorize)
    # Unrolling costs a third of the compile time; only -O3 is asked for it.
    lib.LLVMPY_PTOSetLoopUnrolling(options, level > 2)
    builder = lib.LLVMPY_CreatePassBuilder(machine, options)
    passes = lib.LLVMPY_buildPerModuleDefaultPipeline(builder, level)
    lib.LLVMPY_RunNewModulePassManager(passes, module, builder)
    lib.LLVMPY_DisposeNewModulePassManger(passes)
    lib.LLVMPY_DisposePassBuilder(builder)
    lib.LLVMPY_DisposePipelineTuningOptions(options)


def _run_passes(lib: Any, module: Any, machine: Any, optimize: str) -> None:
    if optimize == "none":
        return
    options = lib.LLVMPY_CreatePipelineTuningOptions()
    lib.LLVMPY_PTOSetLoopVectorization(options, False)
    lib.LLVMPY_PTOSetSLPVectorization(options, False)
    builder = lib.LLVMPY_CreatePassBuilder(machine, options)
    if optimize == "O2":
        passes = lib.LLVMPY_buildPerModuleDefaultPipeline(builder, 2)
    else:
        passes = lib.LLVMPY_CreateNewModulePassManager()
        for _, name in SHORT:
            getattr(lib, "LLVMPY_module_" + name)(passes)
    lib.LLVMPY_RunNewModulePassManager(passes, module, builder)
    lib.LLVMPY_DisposeNewModulePassManger(passes)
    lib.LLVMPY_DisposePassBuilder(builder)
    lib.LLVMPY_DisposePipelineTuningOptions(options)


def _object(lib: Any, machine: Any, module: Any, assembly: bool) -> bytes:
    text = _Text(lib)
    buffer = lib.LLVMPY_TargetMachineEmitToMemory(machine, module, 0 if assembly else 1, ctypes.byref(text.pointer))
    if not buffer:
        raise CodegenError(f"generate code: {text.take().strip()}")
    try:
        start, size = lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(start, size)
    finally:
        lib.LLVMPY_DisposeMemoryBuffer(buffer)
