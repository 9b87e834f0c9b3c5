"""What depends on the very function that a program attaches to: which hooks there are for LSM programs and what these
return, who may call bpf_d_path() and its like, which functions fmod_ret may replace the result of."""

from __future__ import annotations

import os
from contextlib import closing

from .._data import Data
from ..btf import KIND_FUNC, KIND_TYPEDEF
from ..errors import BtfError
from ..isa import attach_type_name, prog_type_name
from ._env import EINVAL
from ._structure import GPL
from ._types import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf
    from ._env import Env
    from ._types import Program

DEBUGFS = "/sys/kernel/debug"
MODULE_TYPES = "/sys/kernel/btf"
# 5d99e198be27: what LSM programs return has a range; 21c7063f6d08: hooks that give more than 0 or an error are not for
# them. bool_lsm_hooks and bpf_lsm_disabled_hooks in kernel/bpf/bpf_lsm.c.
_RANGES = (6, 12)
_CLOSED_BEFORE = ((6, 1),)  # series whose stable releases brought the second, too
_BOOLEAN = frozenset(("xfrm_state_pol_flow_match", "audit_rule_known", "inode_xattr_skipcap"))
_DISABLED = frozenset((
    "vm_enough_memory", "inode_need_killpriv", "inode_getsecurity", "inode_listsecurity", "inode_copy_up_xattr",
    "getselfattr", "getprocattr", "setprocattr", "key_getsecurity", "audit_rule_match", "ismaclabel",
    "xfrm_decode_session",
))  # fmt: skip
MAX_ERRNO = 4095
# sleepable_lsm_hooks; and those that were added: as of 6.1 and 6.12, which were asked, and of later ones.
_SLEEPABLE = frozenset((
    "bpf", "bpf_map", "bpf_map_create", "bpf_map_free", "bpf_map_alloc_security", "bpf_map_free_security", "bpf_prog",
    "bpf_prog_load", "bpf_token_create", "bpf_token_free", "bpf_token_cmd", "bpf_token_capable", "bprm_check_security",
    "bprm_committed_creds", "bprm_committing_creds", "bprm_creds_for_exec", "bprm_creds_from_file", "capget", "capset",
    "cred_prepare", "file_ioctl", "file_lock", "file_open", "file_post_open", "file_receive", "inode_create",
    "inode_free_security", "inode_getattr", "inode_getxattr", "inode_mknod", "inode_need_killpriv",
    "inode_post_setxattr", "inode_readlink", "inode_rename", "inode_rmdir", "inode_setattr", "inode_setxattr",
    "inode_symlink", "inode_unlink", "kernel_module_request", "kernel_read_file", "kernfs_init_security", "mmap_file",
    "netlink_send", "path_notify", "release_secctx", "sb_alloc_security", "sb_eat_lsm_opts", "sb_kern_mount",
    "sb_mount", "sb_remount", "sb_set_mnt_opts", "sb_show_options", "sb_statfs", "sb_umount", "settime", "key_free",
    "socket_accept", "socket_bind", "socket_connect", "socket_create", "socket_getpeername", "socket_getpeersec_dgram",
    "socket_getsockname", "socket_getsockopt", "socket_listen", "socket_post_create", "socket_recvmsg",
    "socket_sendmsg", "socket_shutdown", "socket_socketpair", "syslog", "task_alloc", "task_getsecid_subj",
    "current_getsecid_subj", "task_getsecid_obj", "task_prctl", "task_setscheduler", "userns_create",
))  # fmt: skip
_SLEEPABLE_SINCE = dict.fromkeys((
    "path_unlink", "path_mkdir", "path_rmdir", "path_truncate", "path_symlink", "path_link", "path_rename",
    "path_chmod", "path_chown",
), (6, 12)) | dict.fromkeys((
    "bpf_prog_free", "inode_post_removexattr", "inode_removexattr", "task_to_inode",
    "bdev_alloc_security", "bdev_free_security", "bdev_setintegrity",
), (6, 13))  # fmt: skip
_SLEEPABLE_UNTIL = {"inet_conn_established": (6, 12)}  # 6.1 says yes, 6.12 no
# btf_allowlist_d_path in kernel/trace/bpf_trace.c.
D_PATH = (
    "security_file_permission", "security_inode_getattr", "security_file_open", "security_path_truncate",
    "vfs_truncate", "vfs_fallocate", "dentry_open", "vfs_getattr", "filp_close",
)  # fmt: skip
# Since when bpf_d_path() is for LSM programs (6f100640ca5b), and for iterators (3d06f34aa89e).
_D_PATH_LSM, _D_PATH_ITER = (5, 11), (5, 12)
# Functions that the kernel marks one by one for fmod_ret (btf_kfunc_is_modify_return).
_MARKED = ("bpf", "update_socket_protocol")


class Range(Data):
    """What LSM programs return: smallest and largest; `wide` where all 64 bits count rather than the low half."""

    low: int
    high: int
    wide: bool = False


def check_target(env: Env, types: Btf) -> None:
    """Refuse what the kernel refuses for the name of the target; its types are known to have it."""
    program = env.program
    attach = _attach_name(program)
    if attach in ("lsm_mac", "lsm_cgroup"):
        if program.license not in GPL:
            raise Refused("LSM programs must have a GPL compatible license", -1, EINVAL)
        hook = program.attach_to.removeprefix("bpf_lsm_")
        version = env.profile.version
        if hook in _DISABLED and (version >= _RANGES or version in _CLOSED_BEFORE):
            id = types.find(f"bpf_lsm_{hook}", KIND_FUNC)
            raise Refused(f"attach_btf_id {id} points to disabled hook bpf_lsm_{hook}", -1, EINVAL)
    elif attach == "modify_return" and not _modifiable(env):
        raise Refused(f"{program.attach_to}() is not modifiable", -1, EINVAL)


def in_a_module(program: Program) -> bool:
    """Whether a module that is loaded has the function or tracepoint: the types of the kernel proper lack those."""
    from ..btf import load_kernel_btf

    module, _, name = program.attach_to.rpartition(":")
    kind = KIND_FUNC
    if _attach_name(program) == "trace_raw_tp":
        name, kind = f"btf_trace_{name.removeprefix('btf_trace_')}", KIND_TYPEDEF
    try:
        modules = [module] if module else sorted(set(os.listdir(MODULE_TYPES)) - {"vmlinux"})
    except OSError:
        return False
    for candidate in modules:
        try:
            with closing(load_kernel_btf(candidate)) as types:
                if types.find(name, kind) is not None:
                    return True
        except BtfError:  # unloaded in the meantime, or none of that name
            continue
    return False


def _modifiable(env: Env) -> bool:
    """Whether fmod_ret takes the function: true where that is not known, as for kernels other than this machine's."""
    from ..syscalls import kernel_version

    name = env.program.attach_to
    if name.startswith("security_") or any(word in name for word in _MARKED):
        return True
    if env.program.kernel is not None or kernel_version()[:2] != env.profile.version:
        return True
    try:
        # Nothing there at all: it is not mounted. No list: the kernel was built without one.
        if "error_injection" not in (there := os.listdir(DEBUGFS)):
            return not there
        with open(f"{DEBUGFS}/error_injection/list", encoding="ascii", errors="replace") as file:
            return any(line.split()[:1] == [name] for line in file)
    except OSError:
        return True


def returns_nothing(env: Env) -> bool:
    """Whether the hook is void, so that the kernel does not look at what the program returns."""
    return _attached(env) == "lsm_mac" and env.arguments is not None and not env.arguments.result


def lsm_range(env: Env) -> Range | None:
    """What an LSM program may return; None if everything will do, or its hook is not known."""
    attach = _attached(env)
    if attach == "lsm_cgroup":
        # A void hook: nothing but 1, so that nobody takes it for one whose answer counts.
        void = env.arguments is not None and not env.arguments.result
        return Range(low=int(void), high=1, wide=True)
    if attach != "lsm_mac" or env.arguments is None or not env.arguments.result or env.profile.version < _RANGES:
        return None
    if env.arguments.function.removeprefix("bpf_lsm_") in _BOOLEAN:
        return Range(low=0, high=1)
    return Range(low=-MAX_ERRNO, high=0)


def may_call(env: Env, helper: str) -> bool:
    """Whether the kernel lets programs on this target call the helper (its `allowed`): d_path, ima_*_hash."""
    program = env.program
    attach, version = _attached(env), env.profile.version
    if prog_type_name(program.type) == "syscall":
        return False  # such programs attach to nothing
    if not program.attach_to:
        return True
    if attach in ("lsm_mac", "lsm_cgroup"):
        hook = program.attach_to.removeprefix("bpf_lsm_")
        sleeps = hook in _SLEEPABLE or version >= _SLEEPABLE_SINCE.get(hook, (99, 0))
        sleeps = sleeps or version < _SLEEPABLE_UNTIL.get(hook, (0, 0))
        return sleeps and (helper != "d_path" or version >= _D_PATH_LSM)
    if attach == "trace_iter":
        return version >= _D_PATH_ITER
    return program.attach_to in D_PATH


def _attached(env: Env) -> str:
    return _attach_name(env.program)


def _attach_name(program: Program) -> str:
    return attach_type_name(program.attach_type) or ""
