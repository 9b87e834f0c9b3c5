"""BTF that several tests use."""

from __future__ import annotations

from osmia.btf import BtfBuilder


def everything() -> tuple[BtfBuilder, dict[str, int]]:
    """One type of each kind."""
    b = BtfBuilder()
    ids = {"int": b.int("int", 4, signed=True), "char": b.int("char", 1, char=True)}
    ids["bool"] = b.int("_Bool", 1, bool=True)
    ids["double"] = b.float("double", 8)
    node = ids["struct"] = b.struct("node", 24)
    ids["ptr"] = b.ptr(node)
    ids["array"] = b.array(ids["char"], 5)
    ids["union"] = b.union("either", 8, [("i", ids["int"], 0), ("p", ids["ptr"], 0)])
    members = [("next", ids["ptr"], 0), ("a", ids["int"], 64, 3), ("b", ids["int"], 67, 29), ("name", ids["array"], 96)]
    b.set_members(node, members)
    ids["enum"] = b.enum("colour", [("RED", 0), ("GREEN", -1)])
    ids["enum64"] = b.enum64("big", [("HUGE", 1 << 63), ("ONE", 1)])
    ids["fwd"] = b.fwd("later", union=True)
    ids["typedef"] = b.typedef("node_t", node)
    ids["const"], ids["volatile"] = b.const(ids["char"]), b.volatile(ids["int"])
    ids["restrict"] = b.restrict(b.ptr(ids["const"]))
    ids["tagged"] = b.ptr(b.type_tag("user", ids["char"]))
    ids["proto"] = b.func_proto(ids["int"], [("fmt", b.ptr(ids["const"]))], variadic=True)
    ids["func"] = b.func("print", ids["proto"])
    ids["var"] = b.var("counter", ids["volatile"])
    ids["datasec"] = b.datasec(".data", [(ids["var"], 0, 4)])
    ids["decl_tag"] = b.decl_tag("kfunc", ids["func"])
    return b, ids
