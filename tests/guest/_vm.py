"""Run one command in a throw-away virtual machine whose kernel has kprobes, fentry and BPF LSM.

    python tests/guest/_vm.py --kernel 6.12 -- COMMAND [ARG]...

The guest sees the host's files: / is the host's root, read-only over 9p, under an overlay in memory, so that what it
writes vanishes with it, except below `shared`. The command runs as root in the caller's directory, without standard
input and without network but lo. QEMU emulates (TCG): no KVM is needed, and imports take 20 to 50 times as long.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from _kernel import INIT, PACKAGES, VmUnavailable, need, prepared

# tsc=reliable and no_timer_check: without KVM, calibration against the PIT fails on a loaded host.
COMMAND_LINE = (
    "console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable random.trust_cpu=on audit=0 "
    "lsm=landlock,yama,bpf"
)
# q35 and not microvm: microvm has neither HPET nor PM timer and sometimes hangs when it calibrates the TSC.
# -cpu max: wheels such as numpy's need instructions that qemu64 lacks.
MACHINE = ["-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-display", "none", "-no-reboot"]


class GuestRun(NamedTuple):
    """What came out of a guest. `status` is the command's exit status, None when it did not get to its end."""

    status: int | None
    stdout: str
    stderr: str
    console: str
    problem: str  # why there is no status: "timed out after 60 s", "the guest ended early"; or empty


def run(
    command: list[str],
    *,
    kernel: str = "6.12",
    shared: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 120,
    cpus: int = 1,
    memory_mib: int = 1024,
) -> GuestRun:
    """Boot, run `command`, power off. `env` is the whole environment; `shared` can be written by the guest.

    Raises VmUnavailable when this machine cannot run guests.
    """
    if os.geteuid():
        raise VmUnavailable("needs root: the guest sees the host's files through QEMU")
    if platform.machine() != "x86_64":
        raise VmUnavailable(f"the test kernels are for x86_64, this machine is {platform.machine()}")
    qemu = need("qemu-system-x86_64", "qemu-system-x86")
    folder = prepared(kernel)
    with tempfile.TemporaryDirectory(prefix="osmia-vm-") as tmp:
        vm = Path(tmp)
        _write_settings(vm, folder, command, shared, env or {})
        argv = [*_dies_with_us(), qemu, "-nodefaults", "-no-user-config", *MACHINE, "-smp", str(cpus)]
        argv += ["-m", str(memory_mib), "-kernel", str(folder / "vmlinux"), "-append", COMMAND_LINE]
        argv += ["-initrd", str(folder / "initrd"), "-serial", f"file:{vm}/console", *_ports(vm)]
        argv += _share("host", Path("/"), read_only=True) + _share("vm", vm)
        argv += _share("shared", shared) if shared else []
        with (vm / "qemu").open("wb") as log, subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log) as process:
            try:
                process.wait(timeout)
                problem = ""
            except subprocess.TimeoutExpired:
                problem = f"timed out after {timeout:.0f} s"
            finally:
                process.kill()
        return _result(vm, problem)


def _write_settings(vm: Path, folder: Path, command: list[str], shared: Path | None, env: dict[str, str]) -> None:
    shutil.copy(need("busybox", "busybox-static"), vm / "busybox")
    shutil.copy(INIT / "root.sh", vm / "root.sh")
    settings = {"MODULES": f"{folder}/lib/modules", "NOW": int(time.time()), "SHARED": shared or ""}
    (vm / "settings").write_text("".join(f"{k}={shlex.quote(str(v))}\n" for k, v in settings.items()))
    lines = [f"export {k}={shlex.quote(v)}" for k, v in env.items()]
    lines += [f"cd {shlex.quote(str(Path.cwd()))} || exit 125", f"exec {shlex.join(command)}"]
    (vm / "job").write_text("\n".join(lines) + "\n")


def _dies_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")  # util-linux; without it a killed test run leaves QEMU to its end
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _share(tag: str, path: Path, *, read_only: bool = False) -> list[str]:
    """A folder of the host, as a 9p device."""
    options = f"local,id={tag},security_model=none,multidevs=remap,readonly={'on' if read_only else 'off'}"
    return ["-fsdev", f"{options},path={str(path).replace(',', ',,')}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]  # fmt: skip


def _ports(vm: Path) -> list[str]:
    """Serial ports 1 and 2 of the guest, for its standard output and error: files here."""
    argv = ["-device", "virtio-serial-pci"]
    for number, name in ((1, "stdout"), (2, "stderr")):
        argv += [
            "-chardev",
            f"file,id={name},path={vm}/{name}",
            "-device",
            f"virtserialport,nr={number},chardev={name}",
        ]
    return argv


def _result(vm: Path, problem: str) -> GuestRun:
    def text(name: str) -> str:
        path = vm / name
        return path.read_text(errors="replace") if path.exists() else ""

    status = text("status")
    if not status and not problem:
        problem = "the guest ended early"
    console = text("console") + text("qemu")
    return GuestRun(int(status) if status else None, text("stdout"), text("stderr"), console, problem)


def main() -> int:
    """Run a command in a guest by hand; the exit status is the command's, or 125."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernel", choices=PACKAGES, default="6.12")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--shared", type=Path, help="a folder that the guest can write to")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    command = args.command[args.command[:1] == ["--"] :]
    try:
        done = run(command, kernel=args.kernel, shared=args.shared and args.shared.absolute(), env=dict(os.environ),
                   timeout=args.timeout, cpus=args.cpus)  # fmt: skip
    except VmUnavailable as e:
        sys.exit(f"run a guest: {e}")
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    if done.status is None:
        sys.exit(f"{done.console[-3000:]}\nrun a guest: {done.problem}")
    return done.status


if __name__ == "__main__":
    sys.exit(main())
