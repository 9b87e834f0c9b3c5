"""Programs that ask for the kernel's version and its options: a verdict is a version's, a run is the newest one's."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia import syscalls
from osmia.errors import NotSupported
from osmia.objects import Object, kconfig_contents
from osmia.testing import Vm
from osmia.testing._clang import compile_c
from osmia.verifier import from_spec, profile, verify

SOURCE = """
extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
#define SEC(n) __attribute__((section(n), used))
SEC("xdp") int version(void *ctx) { return LINUX_KERNEL_VERSION >> 8; }
SEC("raw_tp/sys_enter") int from_5_15(unsigned long long *ctx)
{
    if (LINUX_KERNEL_VERSION < (5 << 16 | 15 << 8))
        ((volatile int *)ctx)[0] = 1;   /* it may not be written */
    return ctx[1];
}
char LICENSE[] SEC("license") = "GPL";
"""
WITH_OPTION = (
    SOURCE
    + """
extern int CONFIG_HZ __attribute__((section(".kconfig")));
SEC("xdp") int hertz(void *ctx) { return CONFIG_HZ; }
"""
)


def compiled(text: str, folder: Path) -> Object:
    path = folder / "program.c"
    path.write_text(text)
    return compile_c(str(path))


@pytest.fixture(scope="module")
def obj(tmp_path_factory: pytest.TempPathFactory) -> Object:
    return compiled(SOURCE, tmp_path_factory.mktemp("kconfig"))


@pytest.mark.parametrize("version", ["5.4", "5.10", "5.15", "6.1", "6.18"])
def test_each_profile_has_its_own_version(obj: Object, version: str) -> None:
    spec = next(p for p in obj.programs if p.name == "from_5_15")
    verdict = verify(from_spec(obj, spec), profile(version))
    assert verdict.accepted == (profile(version).version >= (5, 15))
    if not verdict.accepted:
        assert verdict.message == "invalid bpf_context access off=0 size=4"


def test_a_run_is_on_the_newest(obj: Object) -> None:
    major, minor = profile().version
    with Vm(obj) as vm:
        assert vm.run(bytes(64), program="version").verdict == major << 8 | minor


def test_options_are_those_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are not known: anything for the verifier, 0 in user space, and no guess for the kernel."""
    asking = compiled(WITH_OPTION, tmp_path)
    spec = next(m for m in asking.maps if m.name == ".kconfig")
    for config, hertz in (({"CONFIG_HZ": "250"}, 250), ({}, 0)):
        monkeypatch.setattr(syscalls, "kernel_config", lambda config=config: config)
        with Vm(asking) as vm:
            assert vm.run(bytes(64), program="hertz").verdict == hertz
        program = from_spec(asking, next(p for p in asking.programs if p.name == "hertz"))
        frozen = next(info.frozen for info in program.maps if info.name == ".kconfig")
        assert (hertz.to_bytes(4, "little") in frozen) if config else frozen is None
        assert verify(program).accepted
    with pytest.raises(NotSupported, match="read CONFIG_HZ: the configuration"):
        kconfig_contents(asking, spec, (6, 1, 0), lambda: None)
