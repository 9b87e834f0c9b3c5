"""The arguments that a probe can read."""

from __future__ import annotations

from .._data import Data
from ..errors import ElfError, NotSupported, SymbolError
from ._catalogue import KIND_STRUCT, KIND_TYPEDEF, Catalogue
from ._format import TracepointField
from ._match import Match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf, BtfType
    from ..elf import Die, DwarfType, ElfFile, UsdtArg


class Arg(Data):
    """One argument.

    `type` is the C type, `text` the declaration as a listing prints it. `index` counts the arguments from 0, -1 for
    `retval`. `offset` and `size` are bytes: in the record for a tracepoint, 8 * index in the context otherwise; of user
    functions 8 * the slot of the calling convention that it starts in (x86-64: rdi rsi rdx rcx r8 r9, then the words of
    the stack; arm64: x0 to x7).
    `type_id` is the id in the BTF of `module` (0 where BTF does not say). `field` is set for tracepoints, `usdt` for
    USDT probes (where the compiler put the argument), `dwarf` for user functions. `problem` says why no program can
    read the argument; `by_reference` that its slot has the address of it.
    """

    name: str
    type: str
    index: int
    offset: int = 0
    size: int = 8
    signed: bool = False
    type_id: int = 0
    module: str = ""
    field: TracepointField | None = None
    usdt: UsdtArg | None = None
    dwarf: DwarfType | None = None
    problem: str = ""
    by_reference: bool = False

    @property
    def text(self) -> str:
        """`int dfd`, `const char * filename`, `char comm[16]`."""
        return self.field.declaration if self.field else f"{self.type} {self.name}"


def describe_args(catalogue: Catalogue, match: Match) -> list[Arg]:
    """The arguments of a match in their order, `retval` last; empty where it has none or they are unknown.

    Raises ProbeError when the probe went away meanwhile, NotSupported when BTF is needed and missing, SymbolError when
    DWARF is.
    """
    describe = _DESCRIBE.get(match.provider)
    return describe(catalogue, match) if describe else []


def _tracepoint(catalogue: Catalogue, match: Match) -> list[Arg]:
    fields = catalogue.tracefs.format(match.target, match.function).args
    return [Arg(f.name, f.type, i, f.offset, f.size, f.signed, field=f) for i, f in enumerate(fields)]


def _btf_of(catalogue: Catalogue, match: Match, name: str) -> tuple[Btf, str, BtfType] | None:
    """The BTF that has the function `name`, its module, and the function's prototype."""
    if catalogue.btf is None:
        raise NotSupported(
            f"describe {match.name}: the kernel's BTF is not available",
            feature="BTF",
            hint="use a kernel with CONFIG_DEBUG_INFO_BTF=y, or a tracepoint",
        )
    modules = [match.target] if match.target else catalogue.modules_with_btf()
    for module in modules:
        btf = catalogue.module_btf(module)
        id = catalogue.func_id(name, module) if btf is not None else None
        if btf is not None and id is not None:
            return btf, module, btf.type(btf.type(id).type_id)
    return None


def _arg(btf: Btf, module: str, name: str, type_id: int, index: int) -> Arg:
    from ._ctype import type_text

    target = btf.type(btf.resolve(type_id))
    size = target.size if target.kind != 2 and target.size else 8
    return Arg(name, type_text(btf, type_id), index, 8 * max(index, 0), size, target.signed, type_id, module)


def _function(catalogue: Catalogue, match: Match, *, params: bool = True, retval: bool = False) -> list[Arg]:
    found = _btf_of(catalogue, match, match.function) if match.function else None
    if found is None:
        return []
    btf, module, proto = found
    args = []
    if params:
        args = [_arg(btf, module, p.name or f"arg{i}", p.type_id, i) for i, p in enumerate(proto.params) if p.type_id]
    if retval and btf.resolve(proto.type_id):
        args.append(_arg(btf, module, "retval", proto.type_id, -1).replace(offset=8 * len(proto.params)))
    return args


def _kprobe(catalogue: Catalogue, match: Match) -> list[Arg]:
    return _function(catalogue, match)


def _kretprobe(catalogue: Catalogue, match: Match) -> list[Arg]:
    return _function(catalogue, match, params=False, retval=True)


def _fentry(catalogue: Catalogue, match: Match) -> list[Arg]:
    return [] if match.target == "bpf" else _function(catalogue, match)


def _fexit(catalogue: Catalogue, match: Match) -> list[Arg]:
    return [] if match.target == "bpf" else _function(catalogue, match, retval=True)


def _rawtracepoint(catalogue: Catalogue, match: Match) -> list[Arg]:
    """The parameters of the tracepoint, which its generated functions name; the first one is the tracer's own data."""
    for prefix in ("__traceiter_", "__bpf_trace_", "__probestub_"):
        found = _btf_of(catalogue, match, prefix + match.function)
        if found:
            return [_arg(found[0], found[1], p.name, p.type_id, i) for i, p in enumerate(found[2].params[1:])]
    btf = catalogue.module_btf(match.target)
    typedef = btf.find("btf_trace_" + match.function, KIND_TYPEDEF) if btf else None
    if btf is None or typedef is None:
        return []
    # Kernels before 5.10 name the parameters nowhere: the type is typedef -> pointer -> prototype.
    proto = btf.type(btf.type(btf.type(typedef).type_id).type_id)
    return [_arg(btf, match.target, f"arg{i}", p.type_id, i) for i, p in enumerate(proto.params[1:])]


def _iter(catalogue: Catalogue, match: Match) -> list[Arg]:
    """The members of the iterator's context but `meta`, at their offsets in it."""
    name = f"bpf_iter_{match.function}"
    found = _btf_of(catalogue, match, name)
    if found is None:
        return []
    btf, module, proto = found
    context = btf.find(f"bpf_iter__{match.function}", KIND_STRUCT)
    args = []
    for i, param in enumerate(proto.params[1:]):
        member = btf.field(context, param.name) if context is not None else None
        # The context's members are unions that pad pointers to 64 bits; the function's parameters say the type plainly.
        offset = member[0] // 8 if member else 8 * (i + 1)
        args.append(_arg(btf, module, param.name, param.type_id, i).replace(offset=offset))
    return args


def _usdt(catalogue: Catalogue, match: Match) -> list[Arg]:
    from ..elf import parse_usdt_args

    if not match.locations:
        return []
    try:
        parsed = parse_usdt_args(match.locations[0].args, catalogue.file(match.target).elf.machine)
    except ElfError:
        return []  # operands of a kind that nobody can read: the probe itself still works
    args = []
    for i, arg in enumerate(parsed):
        kind = "float" if arg.is_float and arg.size == 4 else "double" if arg.is_float else ""
        text = kind or f"{'int' if arg.signed else 'uint'}{8 * arg.size}"
        args.append(Arg(f"arg{i}", text, i, 8 * i, arg.size, arg.signed, usdt=arg))
    return args


def _user_function(catalogue: Catalogue, match: Match) -> tuple[Die, ElfFile]:
    """What DWARF says of the function that a probe is at the start of. SymbolError where it says nothing."""
    file = catalogue.file(match.target)
    if file.dwarf is None:
        raise SymbolError(
            f"read the parameters of {match.function}: {match.target} has no debug information",
            hint="install its debug symbols, or use arg0, arg1, ...",
        )
    if match.spec.offset or not match.function or not match.locations:
        raise SymbolError(
            f"read the parameters at {match.name}: they are known at the start of a function only",
            hint="probe the function itself, or use reg()",
        )
    die = file.dwarf.function_at(match.locations[0].address)
    if die is None:
        raise SymbolError(f"read the parameters of {match.function}: the debug information does not describe it")
    return die, file.elf


def _uprobe(catalogue: Catalogue, match: Match) -> list[Arg]:
    from ..elf import EM_AARCH64, DwarfType, language_of
    from ._calling import places

    die, elf = _user_function(catalogue, match)
    params = [child.origin() for child in die.children() if child.tag == _FORMAL_PARAMETER]
    types = [DwarfType(param.inherited(_TYPE).type) for param in params]
    returned = DwarfType(die.inherited(_TYPE).type)
    machine = "aarch64" if elf.machine == EM_AARCH64 else "x86_64"
    changed = next((s for s in _CLONES if s in match.function), "")
    out = []
    for i, (param, t, place) in enumerate(zip(params, types, places(types, returned, language_of(die), machine))):
        problem = place.problem
        if changed:
            problem = f"the compiler may have changed the parameters of this copy of the function ({changed[1:-1]})"
        text = t.text
        out.append(Arg(param.name or f"arg{i}", text, i, 8 * max(place.slot, 0), t.size or 8, t.signed,
                       dwarf=t, problem=problem, by_reference=place.by_reference))  # fmt: skip
    return out


def _uretprobe(catalogue: Catalogue, match: Match) -> list[Arg]:
    from ..elf import DwarfType, language_of

    die, _ = _user_function(catalogue, match)
    returned = DwarfType(die.inherited(_TYPE).type)
    # In one register: numbers and pointers. Go returns in registers of its own.
    if returned.kind not in ("int", "bool", "enum", "pointer") or returned.size > 8 or language_of(die) == _GO:
        return []
    return [Arg("retval", returned.text, -1, 0, returned.size, returned.signed, dwarf=returned)]


_FORMAL_PARAMETER, _TYPE = 0x05, 0x49  # DW_TAG_formal_parameter, DW_AT_type
_GO = 0x16  # DW_LANG_Go
_CLONES = (".isra.", ".constprop.", ".part.")  # what GCC calls copies of functions with other parameters


_DESCRIBE = {
    "tracepoint": _tracepoint,
    "rawtracepoint": _rawtracepoint,
    "kprobe": _kprobe,
    "kretprobe": _kretprobe,
    "fentry": _fentry,
    "fexit": _fexit,
    "iter": _iter,
    "usdt": _usdt,
    "uprobe": _uprobe,
    "uretprobe": _uretprobe,
}
