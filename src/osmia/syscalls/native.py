"""Native memory and native code of this process: where a buffer lies, code that may be run, functions at addresses.

What is executable is never writable: `executable` maps memory read-write, fills it, and turns it over to read-execute.
"""

from __future__ import annotations

import mmap
from ctypes import (
    CDLL,
    CFUNCTYPE,
    addressof,
    c_char,
    c_int,
    c_int64,
    c_size_t,
    c_ubyte,
    c_uint64,
    c_void_p,
    get_errno,
    pythonapi,
)

from ..errors import VmError
from ._call import MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAP_32BIT = 0x40  # x86-64 alone: below 2 GiB (mmap(2))
_MAP_FIXED_NOREPLACE = 0x100000  # since Linux 4.17
_LOW_START, _LOW_END, _LOW_STEP = 0x1000_0000, 0xF000_0000, 0x100_0000
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

_libc = CDLL(None, use_errno=True)
_mprotect = _libc["mprotect"]
_mprotect.argtypes = (c_void_p, c_size_t, c_int)
_raw_mmap = _libc["mmap"]
_raw_mmap.argtypes = (c_void_p, c_size_t, c_int, c_int, c_int, c_int64)
_raw_mmap.restype = c_void_p
_munmap = _libc["munmap"]
_munmap.argtypes = (c_void_p, c_size_t)


def buffer_address(data: mmap.mmap | bytearray | memoryview) -> int:
    """The address of the first byte of a writable buffer; the caller keeps the buffer alive and does not resize it."""
    return addressof(c_char.from_buffer(data))


def low_memory(size: int) -> mmap.mmap | memoryview:
    """Zeroed memory below 4 GiB, `size` bytes rounded up to pages; VmError when there is none.

    Without MAP_32BIT, addresses are tried one after the other, and the memory lasts as long as the process.
    """
    if MACHINE == "x86_64":
        try:
            return mmap.mmap(-1, size, flags=_PRIVATE | _MAP_32BIT)
        except OSError as error:
            raise VmError(f"allocate {size} bytes below 4 GiB: {error.strerror}") from None
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    for at in range(_LOW_START, _LOW_END - pages, max(_LOW_STEP, -(-pages // _LOW_STEP) * _LOW_STEP)):
        got = _raw_mmap(at, pages, mmap.PROT_READ | mmap.PROT_WRITE, _PRIVATE | _MAP_FIXED_NOREPLACE, -1, 0)
        if got == at:
            return memoryview((c_ubyte * size).from_address(at)).cast("B")
        if got is not None and got != (1 << 64) - 1:
            _munmap(got, pages)  # a kernel before 4.17 takes the address as a hint
    raise VmError(f"allocate {size} bytes below 4 GiB: no room")


def whole_memory() -> memoryview:
    """The whole lower half of the address space as one buffer: what is not mapped ends the process when touched."""
    return memoryview((c_ubyte * (1 << 47)).from_address(0)).cast("B")


class Executable:
    """Machine code at `address`, read-execute. Close it when nothing can call it any more."""

    def __init__(self, size: int) -> None:
        flags = _PRIVATE | (_MAP_32BIT if MACHINE == "x86_64" else 0)
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        got = _raw_mmap(None, self.size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if got is None or got == (1 << 64) - 1:
            raise VmError(f"allocate {size} bytes for native code: errno {get_errno()}")
        self.address: int = got

    def fill(self, image: bytes | bytearray) -> None:
        """Copy `image` in and make it executable, for good."""
        view = memoryview((c_ubyte * self.size).from_address(self.address)).cast("B")
        view[: len(image)] = image
        view.release()
        if _mprotect(self.address, self.size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise VmError(f"make native code executable: errno {get_errno()}", hint="does a security policy forbid it?")
        if MACHINE != "x86_64":
            _clear_cache(self.address, self.size)

    def close(self) -> None:
        """Unmap it."""
        if self.address:
            _munmap(self.address, self.size)
            self.address = 0


def _clear_cache(address: int, size: int) -> None:
    """Instruction caches of arm64 do not see stores; __clear_cache is in libgcc."""
    clear = CDLL("libgcc_s.so.1")["__clear_cache"]
    clear.argtypes = (c_void_p, c_void_p)
    clear(address, address + size)


def native_function(address: int, arguments: int) -> Callable[..., int]:
    """The function at `address` that takes `arguments` 64-bit numbers and returns one, both unsigned."""
    return CFUNCTYPE(c_uint64, *[c_uint64] * arguments)(address)


# What native code needs of the interpreter to call a Python function.
_PYTHON = (
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyLong_FromUnsignedLongLong",
    "PyObject_Vectorcall",
    "PyLong_AsUnsignedLongLongMask",
    "Py_DecRef",
    "PyErr_Clear",
)


def python_api() -> tuple[int, ...]:
    """Addresses of the C functions in `_PYTHON`: with them native code calls Python by itself.

    ctypes' own callbacks would do, but libffi puts them into memory that is both writable and executable.
    """
    return tuple([c_void_p.from_buffer(pythonapi[name]).value or 0 for name in _PYTHON])


def symbol_address(name: str) -> int:
    """The address of a function of the C library, 0 when it has none of that name."""
    try:
        return c_void_p.from_buffer(_libc[name]).value or 0
    except AttributeError:
        return 0
