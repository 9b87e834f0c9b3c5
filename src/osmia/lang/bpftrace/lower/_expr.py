"""Expressions: literals, variables, arithmetic, comparison, conversion, access to structs, tuples and arrays."""

from __future__ import annotations

from .. import ast
from ..types import BOOL, BPF, CONTEXT, INT64, KERNEL, USER, Type
from ._layout import size_of, tuple_layout
from ._memory import address_of, at_offset, build, in_memory, load_scalar, read_space, read_string, store, store_bytes
from ._portable import move
from ._program import BUILTINS, CALLS, EXPRESSIONS, Program, Value

_PLAIN = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "<<": "shl"}
_COMPARE = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


def _integer(p: Program, e: ast.Integer) -> Value:
    value = e.value & ((1 << 64) - 1)
    return Value(e.type, str(value - (1 << 64) if value >> 63 else value))


def _boolean(p: Program, e: ast.Boolean) -> Value:
    return Value(BOOL, str(int(e.value)))


def _string(p: Program, e: ast.String) -> Value:
    data = e.data or e.value.encode("utf-8", "surrogateescape")
    return Value(e.type, "", BPF, size=len(data) + 1, text=data)


def _name(p: Program, e: ast.Name) -> Value:
    handler = BUILTINS.get(e.name)
    if handler is None and e.name.startswith(("arg", "sarg")) and e.name.lstrip("sarg").isdigit():
        handler = BUILTINS["argN"]
    if handler is None:
        raise p.error(f"{e.name} cannot be used here", e)
    return handler(p, e)


def _call(p: Program, e: ast.Call) -> Value:
    handler = CALLS.get(e.name)
    if handler is None:
        if e.name in BUILTINS and not e.args:
            name = ast.Name(e.span, e.name)
            name.type = e.type
            return BUILTINS[e.name](p, name)
        raise p.error(f"{e.name}() cannot be used here", e, "see the language reference")
    return handler(p, e)


def _variable(p: Program, e: ast.Variable) -> Value:
    t = e.slot.type
    where = p.variable(e.slot)
    if t.in_register:
        return Value(e.type, p.f.load(where, 8))
    return Value(t, where, BPF)


# ---------------------------------------------------------------- operators


def _unary(p: Program, e: ast.Unary) -> Value:
    op = e.op
    if op in ("++", "--"):
        return increment(p, e)
    if op == "&":
        return _address(p, e)
    if op == "*":
        return dereference(p, p.integer(e.operand), e.operand.type, e)
    if op == "!":
        return Value(e.type, p.f.bool_to_int(p.f.value(f"xor i1 {condition(p, e.operand)}, true")))
    value = p.integer(e.operand)
    if op == "-":
        result = p.f.op("sub", "0", value)
    elif op == "~":
        result = p.f.op("xor", value, "-1")
    else:
        result = value
    return Value(e.type, p.f.truncate(result, size_of(e.type), e.type.signed))


def increment(p: Program, e: ast.Unary) -> Value:
    """++ and -- on variables and maps; the value is the old one for the postfix form."""
    step = "1" if e.op == "++" else "-1"
    operand = e.operand
    if e.type.kind == "pointer" and e.type.element:
        p.need_layout(e.type.element)
        step = str(int(step) * max(1, size_of(e.type.element)))
    if isinstance(operand, ast.MapRef):
        from ._maps import add_to_map

        return add_to_map(p, operand, step, e.type, old=e.postfix)
    if not isinstance(operand, ast.Variable):
        raise p.error(f"{e.op} needs a variable or a map", e)
    where = p.variable(operand.slot)
    old = p.f.load(where, 8)
    slot_type = operand.slot.type
    new = p.f.truncate(p.f.op("add", old, step), size_of(slot_type), slot_type.signed)
    p.store_variable(new, where)
    return Value(e.type, old if e.postfix else new)


def _address(p: Program, e: ast.Unary) -> Value:
    operand = e.operand
    if isinstance(operand, ast.Variable):
        return Value(e.type, p.f.to_int(p.variable(operand.slot)))
    if isinstance(operand, ast.MapRef):
        from ._maps import address_of_element

        return Value(e.type, address_of_element(p, operand))
    if isinstance(operand, ast.Unary) and operand.op == "*":
        return Value(e.type, p.integer(operand.operand))
    if isinstance(operand, ast.Member) and operand.field is not None:
        base, offset = _place(p, operand)
        return Value(e.type, move(p, address_of(p, base), offset))
    return Value(e.type, address_of(p, p.expr(operand)))


def _place(p: Program, e: ast.Member) -> tuple[Value, int]:
    """The object that a member of a struct is part of, and the byte offset in it."""
    field, accesses = e.field, p.script.accesses
    struct = _struct_of(e)
    if accesses is None or not struct.store.startswith("btf"):
        return _struct_base(p, e), field.offset
    path = [e.name]
    # A struct without a name is found as a part of the one around it.
    while not struct.name and isinstance(e.operand, ast.Member) and e.operand.type.kind != "pointer":
        e = e.operand
        struct = _struct_of(e)
        path.insert(0, e.name)
    base = _struct_base(p, e)
    if base.space == CONTEXT:
        return base, field.offset
    if field.bits:
        raise p.error("a portable object cannot read bit fields", e, "build it without --portable")
    return base, accesses.offset(p, struct, tuple(path))


def _struct_of(e: ast.Member) -> Type:
    t = e.operand.type
    return t.element or t if t.kind == "pointer" else t


def _binary(p: Program, e: ast.Binary) -> Value:
    op = e.op
    if op in ("&&", "||"):
        return Value(e.type, p.f.bool_to_int(condition(p, e)))
    if op in ("==", "!=", "<", "<=", ">", ">="):
        return Value(e.type, p.f.bool_to_int(_comparison(p, e)))
    left, right = p.integer(e.left), p.integer(e.right)
    return Value(e.type, arithmetic(p, op, left, right, e.left.type, e.right.type, e.type, e))


def arithmetic(
    p: Program, op: str, left: str, right: str, left_type: Type, right_type: Type, result: Type, e: ast.Node
) -> str:
    f = p.f
    if result.kind == "pointer" and op in ("+", "-"):
        left, right = _scale_pointers(p, left, right, left_type, right_type)
    signed = (left_type.signed and right_type.signed) or (left_type.signed and right_type.kind == "pointer")
    if op in _PLAIN:
        if op == "<<":
            right = f.op("and", right, "63")
        value = f.op(_PLAIN[op], left, right)
    elif op == ">>":
        value = f.op("ashr" if left_type.signed else "lshr", left, f.op("and", right, "63"))
    elif op in ("/", "%"):
        signed = left_type.signed or right_type.signed
        value = _divide(p, op, left, right, signed and result.signed, e)
    else:
        raise p.error(f"operator {op} is not known", e)
    return f.truncate(value, size_of(result), result.signed)


def _divide(p: Program, op: str, left: str, right: str, signed: bool, e: ast.Node) -> str:
    """Division. By zero the result is 1, as the language has it, and a warning is sent."""
    f = p.f

    def divide() -> str:
        if signed:
            return f.sdiv(left, right, remainder=op == "%")
        return f.op("udiv" if op == "/" else "urem", left, right)

    if right.lstrip("-").isdigit() and int(right) != 0:
        return divide()
    result = f.alloca(8)
    f.store("1", result)
    bad, good, done = f.label("zero"), f.label("divide"), f.label("divided")
    f.cond_br(f.icmp("eq", right, "0"), bad, good)
    f.start(bad)
    warn(p, e, "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result.")
    f.br(done)
    f.start(good)
    f.store(divide(), result)
    f.br(done)
    f.start(done)
    return f.load(result)


def warn(p: Program, node: ast.Node, text: str) -> None:
    """Tell user space about something that went wrong at run time."""
    from ._events import send

    send(p, "runtime_error", node, text=text)


def _scale_pointers(p: Program, left: str, right: str, left_type: Type, right_type: Type) -> tuple[str, str]:
    """p + n moves by n elements."""
    if left_type.kind == "pointer" and left_type.element and right_type.kind != "pointer":
        p.need_layout(left_type.element)
        right = p.f.op("mul", right, str(max(1, size_of(left_type.element))))
    elif right_type.kind == "pointer" and right_type.element and left_type.kind != "pointer":
        p.need_layout(right_type.element)
        left = p.f.op("mul", left, str(max(1, size_of(right_type.element))))
    return left, right


def condition(p: Program, e: ast.Expr) -> str:
    """Evaluate as a truth value: an i1."""
    f = p.f
    if isinstance(e, ast.Binary):
        if e.op in ("&&", "||"):
            return _short_circuit(p, e)
        if e.op in ("==", "!=", "<", "<=", ">", ">="):
            return _comparison(p, e)
    if isinstance(e, ast.Unary) and e.op == "!":
        return f.value(f"xor i1 {condition(p, e.operand)}, true")
    value = p.expr(e)
    if value.type.in_register:
        return f.icmp("ne", value.reg, "0")
    if value.type.kind == "string":
        if value.text is not None:
            return "true" if value.text else "false"
        return f.icmp("ne", load_scalar(p, value, 0, Type("int", 1)), "0")
    raise p.error(f"{value.type} is neither true nor false", e)


def _short_circuit(p: Program, e: ast.Binary) -> str:
    f = p.f
    result = f.alloca(8)
    right, done = f.label("rhs"), f.label("done")
    first = condition(p, e.left)
    f.store(f.bool_to_int(first), result)
    f.cond_br(first, *((right, done) if e.op == "&&" else (done, right)))
    f.start(right)
    f.store(f.bool_to_int(condition(p, e.right)), result)
    f.br(done)
    f.start(done)
    return f.icmp("ne", f.load(result), "0")


def _comparison(p: Program, e: ast.Binary) -> str:
    left, right = e.left.type, e.right.type
    if left.kind == "probe" or right.kind == "probe":
        return _compare_probe(p, e)
    if "string" in (left.kind, right.kind) and not (left.in_register or right.in_register):
        from ._strings import equal

        same = equal(p, p.expr(e.left), p.expr(e.right))
        return same if e.op == "==" else p.f.value(f"xor i1 {same}, true")
    if left.in_register and right.in_register:
        a, b = p.integer(e.left), p.integer(e.right)
        if e.op in ("==", "!="):
            return p.f.icmp("eq" if e.op == "==" else "ne", a, b)
        signed = left.signed and right.signed
        return p.f.icmp(("s" if signed else "u") + _COMPARE[e.op], a, b)
    return _compare_memory(p, e)


def _compare_probe(p: Program, e: ast.Binary) -> str:
    """`probe == "name"`: the names are known, so this is about indexes."""
    probe, text = (e.left, e.right) if e.left.type.kind == "probe" else (e.right, e.left)
    if not isinstance(text, ast.String):
        a, b = p.integer(e.left), p.integer(e.right)
        return p.f.icmp("eq" if e.op == "==" else "ne", a, b)
    index = p.script.probe_names.index(text.value) if text.value in p.script.probe_names else -1
    return p.f.icmp("eq" if e.op == "==" else "ne", p.integer(probe), str(index))


def _compare_memory(p: Program, e: ast.Binary) -> str:
    """Arrays, tuples, addresses: equal when all their bytes are."""
    from ._strings import equal_bytes

    left, right = e.left.type, e.right.type
    if left.kind in ("tuple", "record") and right.kind == left.kind:
        same = _equal_tuples(p, p.expr(e.left), p.expr(e.right))
        return same if e.op == "==" else p.f.value(f"xor i1 {same}, true")
    size = size_of(left)
    if size != size_of(right):
        return "false" if e.op == "==" else "true"
    a = in_memory(p, p.expr(e.left), pad=True)
    b = in_memory(p, p.expr(e.right), pad=True)
    same = equal_bytes(p, a, b, size)
    return same if e.op == "==" else p.f.value(f"xor i1 {same}, true")


def _equal_tuples(p: Program, left: Value, right: Value) -> str:
    """Element by element, as types and (in records) order may differ."""
    from ._strings import equal, equal_bytes

    f = p.f
    ours, _ = tuple_layout(left.type)
    theirs, _ = tuple_layout(right.type)
    result = "true"
    for i, (t, offset) in enumerate(zip(left.type.elements, ours)):
        j = right.type.names.index(left.type.names[i]) if left.type.names else i
        a, b = at_offset(p, left, offset, t), at_offset(p, right, theirs[j], right.type.elements[j])
        if t.in_register:
            same = f.icmp("eq", a.reg, b.reg)
        elif t.kind == "string":
            same = equal(p, a, b)
        elif t.kind in ("tuple", "record"):
            same = _equal_tuples(p, a, b)
        else:
            same = equal_bytes(p, in_memory(p, a), in_memory(p, b), min(size_of(t), size_of(b.type)))
        result = f.value(f"and i1 {result}, {same}")
    return result


def _ternary(p: Program, e: ast.Ternary) -> Value:
    f = p.f
    yes, no, done = f.label("yes"), f.label("no"), f.label("done")
    t = e.type
    where = "" if t.kind == "none" else f.alloca(8) if t.in_register else p.stack_or_scratch(size_of(t))
    if e.then is None:  # a ?: b
        value = p.expr(e.condition)
        test = f.icmp("ne", value.reg, "0")
        f.store(value.reg, where)
        f.cond_br(test, done, no)
    else:
        f.cond_br(condition(p, e.condition), yes, no)
        f.start(yes)
        _branch(p, e.then, where, t)
        f.br(done)
    f.start(no)
    _branch(p, e.otherwise, where, t)
    f.br(done)
    f.start(done)
    if t.kind == "none":
        return Value(t, "")
    return Value(t, f.load(where)) if t.in_register else Value(t, where, BPF)


def _branch(p: Program, e: ast.Expr, where: str, t: Type) -> None:
    if t.kind == "none":
        p.expr(e)
    elif t.in_register:
        p.f.store(p.integer(e), where)
    else:
        build(p, e, where, t, pad=t.kind == "buffer")


def _if_expression(p: Program, e: ast.IfExpr) -> Value:
    shape = ast.Ternary(e.span, e.condition, e.then, e.otherwise)
    shape.type = e.type
    return _ternary(p, shape)


def _block(p: Program, e: ast.BlockExpr) -> Value:
    p.statements(e.body)
    return p.expr(e.value)


def _comptime(p: Program, e: ast.Comptime) -> Value:
    return p.expr(e.operand)


# ---------------------------------------------------------------- conversion


def is_narrow(t: Type) -> bool:
    """A signed number of fewer bytes than a register."""
    return t.kind in ("int", "enum") and t.signed and t.size < 8


def _cast(p: Program, e: ast.Cast) -> Value:
    t, source = e.target or e.type, e.operand.type
    if isinstance(e.operand, ast.MapRef) and source.is_aggregation:
        from ._aggregate import read_aggregation

        return Value(t, p.f.truncate(read_aggregation(p, e.operand), size_of(t), t.signed))
    if t.kind == "bool":
        return Value(t, p.f.bool_to_int(condition(p, e.operand)))
    value = p.expr(e.operand)
    if t.in_register and value.type.in_register:
        if t.kind == "pointer" and is_narrow(source):  # an address has no sign: (uint8 *)-1 is 0xff
            return Value(t, p.f.truncate(value.reg, source.size, False))
        return Value(t, p.f.truncate(value.reg, size_of(t), t.signed))
    if t.in_register:  # an array of bytes (or a string) read as a number
        return Value(t, load_scalar(p, value, 0, t))
    if value.type.in_register:  # a number laid out as an array
        where = p.f.alloca(8)  # of 8 bytes at most, like the number
        p.f.store(value.reg, where)
        return Value(t, where, BPF)
    if t.kind in ("tuple", "record", "string"):
        where = p.stack_or_scratch(size_of(t))
        store(p, value, where, t)
        return Value(t, where, BPF)
    if value.text is not None:
        where = p.stack_or_scratch(size_of(t))
        store_bytes(p, value.text.ljust(size_of(t), b"\0")[: size_of(t)], where)
        return Value(t, where, BPF)
    return Value(t, value.reg, value.space, offset=value.offset, size=value.size)


def dereference(p: Program, address: str, pointer: Type, node: ast.Node) -> Value:
    """What a pointer points to."""
    element = pointer.element
    if element is None or element.kind == "void":
        raise p.error("a void pointer cannot be dereferenced", node, "cast it to the type that it points to")
    space = pointer.space or KERNEL
    if space == BPF:
        base = Value(element, p.f.to_pointer(address), KERNEL)
        base.reg = address  # our own memory, but the verifier no longer knows it: read it as kernel memory
        return at_offset(p, base, 0, element)
    if space == CONTEXT:
        return at_offset(p, Value(element, "", CONTEXT), 0, element)
    return at_offset(p, Value(element, address, space), 0, element)


# ---------------------------------------------------------------- members and elements


def _struct_base(p: Program, e: ast.Member) -> Value:
    operand = e.operand
    if operand.type.kind == "pointer":
        address = p.expr(operand)
        space = operand.type.space or KERNEL
        if space == CONTEXT:
            return Value(operand.type.element or INT64, "", CONTEXT)
        return Value(operand.type.element or INT64, address.reg, KERNEL if space == BPF else space)
    return p.expr(operand)


def _member(p: Program, e: ast.Member) -> Value:
    if e.operand.type.kind == "record":
        index = e.operand.type.names.index(e.name)
        offsets, _ = tuple_layout(e.operand.type)
        return at_offset(p, p.expr(e.operand), offsets[index], e.type)
    field = e.field
    base, offset = _place(p, e)
    if base.space == CONTEXT:
        from ._context import context_member

        return context_member(p, base, field, e)
    if field.bits:
        return Value(e.type, load_bits(p, base, offset, field.type, field.bit_offset, field.bits))
    p.node = e.operand  # what a failed read is reported for
    value = at_offset(p, base, offset, field.type)
    if e.type.kind == "pointer" and value.type != e.type:
        value.type = e.type
    return value


def load_bits(p: Program, base: Value, offset: int, t: Type, bit_offset: int, bits: int) -> str:
    """A bit field: the word that holds it, shifted so that its sign is right."""
    word = load_scalar(p, base, offset, Type("int", size_of(t), False))
    shifted = p.f.op("shl", word, str(64 - bit_offset - bits))
    return p.f.op("ashr" if t.signed else "lshr", shifted, str(64 - bits))


def _tuple_index(p: Program, e: ast.TupleIndex) -> Value:
    offsets, _ = tuple_layout(e.operand.type)
    return at_offset(p, p.expr(e.operand), offsets[e.index], e.type)


def _index(p: Program, e: ast.Index) -> Value:
    t = e.operand.type
    f = p.f
    if t.element:
        p.need_layout(t.element)
    if t.kind == "pointer":
        address, index = p.integer(e.operand), p.integer(e.index)
        size = size_of(t.element) if t.element else 1
        return dereference(p, f.op("add", address, f.op("mul", index, str(max(1, size)))), t, e)
    element = t.element or Type("int", 1, True)
    size, count = size_of(element), t.count or t.size
    base = p.expr(e.operand)
    if isinstance(e.index, ast.Integer):
        return at_offset(p, base, e.index.value * size, element)
    if base.text is not None:
        base = Value(t, in_memory(p, base), BPF)
    index = p.integer(e.index)
    if count:
        _check_bounds(p, index, count, e)
    if base.space in (KERNEL, USER, CONTEXT):
        address = f.op("add", address_of(p, base), f.op("mul", index, str(size)))
        return at_offset(p, Value(t, address, read_space(base)), 0, element)
    return _element_of_ours(p, base, index, size, count, element)


def _check_bounds(p: Program, index: str, count: int, e: ast.Index) -> None:
    f = p.f
    outside, done = f.label("outside"), f.label("inside")
    f.cond_br(f.icmp("uge", index, str(count)), outside, done)
    f.start(outside)
    warn(p, e, "Array access out of bounds. This can lead to unexpected results.")
    f.br(done)
    f.start(done)


def _element_of_ours(p: Program, base: Value, index: str, size: int, count: int, element: Type) -> Value:
    """An element of memory that the verifier guards: an index out of range reads as zero."""
    f = p.f
    address = f.op("add", f.to_int(base.reg), f.op("mul", index, str(size)))
    inside = f.icmp("ult", index, str(count))
    where = f.alloca(8) if element.in_register else p.stack_or_scratch(size_of(element))
    if element.in_register:
        f.store("0", where)
    read, done = f.label("read"), f.label("done")
    f.cond_br(inside, read, done)
    f.start(read)
    from ._memory import read_raw

    read_raw(p, KERNEL, where, size, address)
    f.br(done)
    f.start(done)
    if element.in_register:
        return Value(element, f.load(where, size, element.signed))
    return Value(element, where, BPF)


def _tuple(p: Program, e: ast.TupleLiteral | ast.RecordLiteral) -> Value:
    where = p.stack_or_scratch(max(1, size_of(e.type)))
    build(p, e, where, e.type, pad=True)
    return Value(e.type, where, BPF, padded=True)


def _map_ref(p: Program, e: ast.MapRef) -> Value:
    from ._maps import read_map

    return read_map(p, e)


EXPRESSIONS.update(
    {
        ast.Integer: _integer,
        ast.Boolean: _boolean,
        ast.String: _string,
        ast.Name: _name,
        ast.Call: _call,
        ast.Variable: _variable,
        ast.Unary: _unary,
        ast.Binary: _binary,
        ast.Ternary: _ternary,
        ast.IfExpr: _if_expression,
        ast.BlockExpr: _block,
        ast.Comptime: _comptime,
        ast.Cast: _cast,
        ast.Member: _member,
        ast.TupleIndex: _tuple_index,
        ast.Index: _index,
        ast.TupleLiteral: _tuple,
        ast.RecordLiteral: _tuple,
        ast.MapRef: _map_ref,
    }
)

__all__ = ["arithmetic", "condition", "dereference", "increment", "load_bits", "read_string"]
