"""Kernels to boot: Debian's packages, fetched by apt and unpacked into a cache, never installed.

A prepared kernel is a folder with `vmlinux` (uncompressed: QEMU starts it directly, 0.7 to 3 s sooner than bzImage
without KVM), `lib/modules` (decompressed, with modules.dep) and `initrd` (busybox and the modules needed to mount the
host's files).
"""

from __future__ import annotations

import fcntl
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Series -> the packages that may depend on it: names with an ABI number vanish from mirrors, these stay.
PACKAGES = {
    "6.1": ("linux-image-6.1-amd64", "linux-image-amd64"),
    "6.12": ("linux-image-6.12-amd64", "linux-image-amd64"),
}
INIT = Path(__file__).parent / "_init"
BOOT_MODULES = {"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}
MODULE_FOLDERS = ("net", "fs", "lib", "crypto", "arch", "drivers/char", "drivers/virtio", "drivers/net/*.ko*")


class VmUnavailable(Exception):
    """This machine cannot run test kernels; the message says what is missing."""


def prepared(series: str) -> Path:
    """The folder of a kernel of that series ("6.1", "6.12"), made on first use (about 10 s and 80 MB download)."""
    busybox = need("busybox", "busybox-static")
    cache = Path(os.environ.get("OSMIA_VM_CACHE") or Path.home() / ".cache/osmia-vm").absolute()
    cache.mkdir(parents=True, exist_ok=True)
    recipe = Path(__file__).read_bytes() + (INIT / "initramfs.sh").read_bytes()
    folder = cache / f"{series}-{zlib.crc32(recipe):08x}"
    with _locked(cache / "lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                _prepare(series, Path(work), busybox).rename(folder)
    return folder


def need(tool: str, package: str) -> str:
    """The path of a program, or VmUnavailable with the package that has it."""
    path = shutil.which(tool)
    if not path:
        raise VmUnavailable(f"{tool} is not installed (apt-get install {package})")
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Of several test runs at once, one downloads."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare(series: str, work: Path, busybox: str) -> Path:
    package = _download(series, work)
    new = work / "new"
    new.mkdir()
    wanted = ["./boot/vmlinuz-*", "./lib/modules/*/modules.*", *(f"./lib/modules/*/kernel/{d}" for d in MODULE_FOLDERS)]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        pattern_options = ["--wildcards", "--no-wildcards-match-slash"]
        subprocess.run(["tar", "-xC", new, *pattern_options, *wanted], stdin=archive.stdout, check=True)
    image = next((new / "boot").glob("vmlinuz-*"))
    (new / "vmlinux").write_bytes(_uncompressed(image.read_bytes()))
    modules = next((new / "lib/modules").iterdir())
    for packed in modules.rglob("*.ko.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    subprocess.run([busybox, "depmod", "-b", new, modules.name], check=True)
    _write_initrd(new / "initrd", work / "initrd", modules, busybox)
    return new


def _download(series: str, work: Path) -> Path:
    """Fetch the package; the lists are updated once when the first try fails (they may be old, or not there)."""
    need("apt-get", "apt")
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    for attempt in range(2):
        if attempt:
            subprocess.run([*apt, "update"], stdin=subprocess.DEVNULL, capture_output=True)
        for meta in PACKAGES[series]:
            shown = subprocess.run(["apt-cache", "depends", meta], capture_output=True, text=True).stdout
            found = re.search(rf"Depends: (linux-image-{re.escape(series)}\.\S+)", shown)
            if found and subprocess.run([*apt, "download", found[1]], cwd=work, capture_output=True).returncode == 0:
                return next(work.glob("*.deb"))
    raise VmUnavailable(f"apt offers no Linux {series} kernel here (looked for {', '.join(PACKAGES[series])})")


def _uncompressed(image: bytes) -> bytes:
    """The vmlinux inside of a vmlinuz. Header fields: Documentation/arch/x86/boot.rst."""
    setup_sectors = image[0x1F1]
    payload_offset, payload_length = struct.unpack_from("<II", image, 0x248)
    payload = image[(setup_sectors + 1) * 512 + payload_offset :][:payload_length]
    if payload.startswith(b"\xfd7zXZ"):
        elf = lzma.LZMADecompressor().decompress(payload)  # the decompressor object ignores the size word that follows
    else:
        elf = subprocess.run([need("zstd", "zstd"), "-dcq"], input=payload, capture_output=True).stdout
    if not elf.startswith(b"\x7fELF"):
        raise VmUnavailable(f"cannot unpack the kernel image: payload starts with {payload[:4].hex()}")
    return elf


def _write_initrd(target: Path, tree: Path, modules: Path, busybox: str) -> None:
    """A cpio archive of busybox, the init script, and the boot modules in the order of their dependencies."""
    (tree / "bin").mkdir(parents=True)
    (tree / "modules").mkdir()
    shutil.copy(busybox, tree / "bin/busybox")
    shutil.copy(INIT / "initramfs.sh", tree / "init")
    (tree / "init").chmod(0o755)
    load: dict[str, None] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        module, *needed = line.replace(":", "").split()
        if Path(module).stem in BOOT_MODULES:
            load.update(dict.fromkeys([*reversed(needed), module]))
    for i, module in enumerate(load):
        shutil.copy(modules / module, tree / f"modules/{i:02}.ko")
    builtin = (modules / "modules.builtin").read_text().split()
    missing = BOOT_MODULES - {Path(m).stem for m in [*load, *builtin]}
    if missing:
        raise VmUnavailable(f"the kernel package lacks the modules {', '.join(sorted(missing))}")
    names = "\n".join(str(p.relative_to(tree)) for p in [tree, *sorted(tree.rglob("*"))])
    with target.open("wb") as out:
        subprocess.run([busybox, "cpio", "-oH", "newc"], cwd=tree, input=names.encode(), stdout=out,
                       stderr=subprocess.DEVNULL, check=True)  # fmt: skip
