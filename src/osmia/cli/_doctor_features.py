"""`osmia doctor --features`: program types, map types, and the helpers that each program type may call."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Listing = dict[str, dict[str, bool | None]]


def type_features() -> tuple[Listing, dict[str, list[str]]]:
    """({"program_type": {name: supported}, "map_type": ...}, {program type: names of helpers}).

    A helper is listed where the verifier knows it for programs of the type; types that this kernel lacks, or that
    cannot be loaded without a function or program to attach to, have none.
    """
    from ..isa import HELPERS, PROG_TYPES
    from ..kernel import FEATURES, helper_support, probe_feature

    types: Listing = {"program_type": {}, "map_type": {}}
    for feature in FEATURES.values():
        if feature.kind in ("program", "map"):
            name = feature.name.partition("_")[2]
            types[f"{feature.kind}_type"][name] = probe_feature(feature.name).supported
    helpers: dict[str, list[str]] = {}
    for name, supported in types["program_type"].items():
        number = PROG_TYPES[name]
        known = [helper for helper, id in HELPERS.items() if id and supported and helper_support(number, id)]
        helpers[name] = [f"bpf_{helper}" for helper in known]
    return types, helpers


def features_text() -> str:
    """A line a type, in the wording of `bpftool feature probe`; then the helpers."""
    from ..kernel import probe_feature
    from ._doctor import reason

    types, helpers = type_features()
    lines = []
    for kind, rows in types.items():
        for name, supported in rows.items():
            words = "is available" if supported else "is NOT available"
            if supported is None:
                why = reason(probe_feature(f"{kind.partition('_')[0]}_{name}"))
                lacks = why.startswith("asking takes ")
                words = "cannot be asked for without privileges" if lacks else f"could not be told: {why}"
            lines.append(f"eBPF {kind} {name} {words}")
        lines.append("")
    for name, known in helpers.items():
        lines.append(f"eBPF helpers supported for program type {name}:")
        lines += [f"\t- {helper}" for helper in known] or ["\tnone that could be asked for"]
    return "\n".join(lines) + "\n"


def features_json() -> str:
    import json

    types, helpers = type_features()
    return json.dumps({f"{kind}s": rows for kind, rows in types.items()} | {"helpers": helpers}, indent=1) + "\n"
