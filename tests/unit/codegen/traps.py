# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""IR that LLVM's BPF back end cannot compile: each of these ends the process that tries."""

from __future__ import annotations

DECLARE = """
declare i64 @six(i64, i64, i64, i64, i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @llvm.ctpop.i64(i64)
declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)
declare { i64, i64 } @pair(i64)
declare double @llvm.sqrt.f64(double)
declare i64 @one(i64)
declare i64 @array([6 x i64])
declare i64 @value(ptr byval([4 x i64]))
declare ptr @llvm.returnaddress(i32 immarg)
declare i64 @llvm.smul.fix.i64(i64, i64, i32 immarg)
@g = external global i64
"""


def function(body: str, arguments: str = "ptr %a0, i64 %x, i64 %y", name: str = "victim", result: str = "i64") -> str:
    """A module with one function of this body."""
    lines = "\n".join("  " + line if not line.endswith(":") else line for line in body.strip().split("\n"))
    return (
        f'target triple = "bpfel-unknown-none"\n{DECLARE}\n'
        f'define dso_local {result} @{name}({arguments}) section "p/x" {{\nentry:\n{lines}\n}}\n'
    )


SIX = "i64 %x, i64 %x, i64 %x, i64 %x, i64 %x, i64 %x"

# name -> (IR, cpu): LLVM dies on it
TRAPS: dict[str, tuple[str, str]] = {
    "sdiv": (function("%r = sdiv i64 %x, %y\nret i64 %r"), "v3"),
    "srem": (function("%r = srem i64 %x, %y\nret i64 %r"), "v3"),
    "sdiv exact": (function("%r = sdiv exact i64 %x, %y\nret i64 %r"), "v3"),
    "sdiv of 32 bits": (
        function("%t = trunc i64 %x to i32\n%u = trunc i64 %y to i32\n%d = sdiv i32 %t, %u\n%r = sext i32 %d to i64\nret i64 %r"),
        "v3",
    ),
    "six arguments": (function(f"%r = call i64 @six({SIX})\nret i64 %r"), "v3"),
    "six arguments through a pointer": (function(f"%r = call i64 %a0({SIX})\nret i64 %r"), "v3"),
    "six arguments of a helper": (function(f"%r = call i64 inttoptr (i64 6 to ptr)({SIX})\nret i64 %r"), "v3"),
    "tail call of six": (function(f"%r = tail call i64 @six({SIX})\nret i64 %r"), "v3"),
    "six parameters": (
        function("ret i64 %f", "i64 %a, i64 %b, i64 %c, i64 %d, i64 %e, i64 %f"), "v3"
    ),
    "dynamic alloca": (function("%s = alloca i8, i64 %x, align 8\nstore volatile i8 1, ptr %s\nret i64 0"), "v3"),
    "alloca outside entry": (
        function("%c = icmp eq i64 %x, 0\nbr i1 %c, label %a, label %b\na:\n%s = alloca i64, align 8\nstore volatile i64 1, ptr %s\nbr label %b\nb:\nret i64 0"),
        "v3",
    ),
    "memcpy of variable size": (
        function("%q = getelementptr i8, ptr %a0, i64 64\ncall void @llvm.memcpy.p0.p0.i64(ptr %a0, ptr %q, i64 %x, i1 false)\nret i64 0"),
        "v3",
    ),
    "memmove of variable size": (
        function("%q = getelementptr i8, ptr %a0, i64 64\ncall void @llvm.memmove.p0.p0.i64(ptr %a0, ptr %q, i64 %x, i1 false)\nret i64 0"),
        "v3",
    ),
    "memset of variable size": (function("call void @llvm.memset.p0.i64(ptr %a0, i8 0, i64 %x, i1 false)\nret i64 0"), "v3"),
    "memset of large size": (function("call void @llvm.memset.p0.i64(ptr %a0, i8 0, i64 100000, i1 false)\nret i64 0"), "v3"),
    "float": (function("%d = uitofp i64 %x to double\n%e = fadd double %d, 1.0\n%r = fptoui double %e to i64\nret i64 %r"), "v3"),
    "float compare": (
        function("%d = load double, ptr %a0\n%c = fcmp olt double %d, 1.0\n%r = zext i1 %c to i64\nret i64 %r"), "v3"
    ),
    "i128": (
        function("%w = zext i64 %x to i128\n%v = zext i64 %y to i128\n%m = mul i128 %w, %v\n%h = lshr i128 %m, 64\n%r = trunc i128 %h to i64\nret i64 %r"),
        "v3",
    ),
    "division of 128 bits": (
        function("%w = zext i64 %x to i128\n%v = zext i64 %y to i128\n%s = shl i128 %w, 7\n%m = udiv i128 %s, %v\n%r = trunc i128 %m to i64\nret i64 %r"),
        "v3",
    ),
    "i65": (
        function("%w = zext i64 %x to i65\n%v = zext i64 %y to i65\n%m = mul i65 %w, %v\n%h = lshr i65 %m, 1\n%r = trunc i65 %h to i64\nret i64 %r"),
        "v3",
    ),
    "umul.with.overflow": (
        function("%m = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %x, i64 %y)\n%o = extractvalue { i64, i1 } %m, 1\n%r = zext i1 %o to i64\nret i64 %r"),
        "v3",
    ),
    "atomic of 8 bits": (function("%o = atomicrmw add ptr %a0, i8 1 monotonic\nret i64 0"), "v3"),
    "atomic of 16 bits": (function("%o = atomicrmw add ptr %a0, i16 1 monotonic\nret i64 0"), "v3"),
    "cmpxchg of 8 bits": (function("%o = cmpxchg ptr %a0, i8 0, i8 1 monotonic monotonic\nret i64 0"), "v3"),
    "atomic umax": (function("%o = atomicrmw umax ptr %a0, i64 %x monotonic\nret i64 %o"), "v3"),
    "atomic nand": (function("%o = atomicrmw nand ptr %a0, i64 %x monotonic\nret i64 %o"), "v3"),
    "atomic result on v1": (function("%o = atomicrmw add ptr %a0, i64 %x monotonic\nret i64 %o"), "v1"),
    "acquire load": (function("%r = load atomic i64, ptr %a0 acquire, align 8\nret i64 %r"), "v3"),
    "release store": (function("store atomic i64 1, ptr %a0 release, align 8\nret i64 0"), "v3"),
    "seq_cst load on v4": (function("%r = load atomic i64, ptr %a0 seq_cst, align 8\nret i64 %r"), "v4"),
    "indirectbr": (
        function("%c = icmp eq i64 %x, 0\n%p = select i1 %c, ptr blockaddress(@victim, %a), ptr blockaddress(@victim, %b)\n"
                 "indirectbr ptr %p, [label %a, label %b]\na:\nret i64 1\nb:\nret i64 0"),
        "v3",
    ),
    "inline assembly": (function('call void asm sideeffect "r1 = 0", ""()\nret i64 0'), "v3"),
    "module assembly": (function("ret i64 0").replace("@g =", 'module asm "nop"\n@g ='), "v3"),
    "fence": (function("fence seq_cst\nret i64 0"), "v3"),
    "result is a structure": (
        function("%m = call { i64, i64 } @pair(i64 %x)\n%r = extractvalue { i64, i64 } %m, 1\nret i64 %r"), "v3"
    ),
    "returns a structure": (
        function("%m = insertvalue { i64, i64 } poison, i64 %x, 0\n%n = insertvalue { i64, i64 } %m, i64 %y, 1\nret { i64, i64 } %n", result="{ i64, i64 }"),
        "v3",
    ),
    "variadic definition": (
        function("ret i64 0", "i64 %x, ..."), "v3",
    ),
    "coldcc": (function("%r = call coldcc i64 @one(i64 1)\nret i64 %r"), "v3"),
    "defined as coldcc": (function("ret i64 0").replace("define dso_local", "define dso_local coldcc"), "v3"),
    "array as argument": (function("%m = load [6 x i64], ptr %a0\n%r = call i64 @array([6 x i64] %m)\nret i64 %r"), "v3"),
    "array as parameter": (function("%r = extractvalue [6 x i64] %m, 0\nret i64 %r", "[6 x i64] %m"), "v3"),
    "passed by value": (function("%r = call i64 @value(ptr byval([4 x i64]) %a0)\nret i64 %r"), "v3"),
    "unaligned atomic": (function("%o = atomicrmw add ptr %a0, i64 1 seq_cst, align 1\nret i64 0"), "v3"),
    "llvm.returnaddress": (
        function("%p = call ptr @llvm.returnaddress(i32 0)\n%r = ptrtoint ptr %p to i64\nret i64 %r"), "v3"
    ),
    "llvm.smul.fix": (function("%r = call i64 @llvm.smul.fix.i64(i64 %x, i64 %y, i32 5)\nret i64 %r"), "v3"),
    "sdiv of vectors": (
        function("%v = load <2 x i64>, ptr %a0\n%q = getelementptr i8, ptr %a0, i64 64\n%u = load <2 x i64>, ptr %q\n"
                 "%w = sdiv <2 x i64> %v, %u\n%r = extractelement <2 x i64> %w, i64 0\nret i64 %r"),
        "v3",
    ),
    "sqrt": (function("%d = uitofp i64 %x to double\n%e = call double @llvm.sqrt.f64(double %d)\n%r = fptoui double %e to i64\nret i64 %r"), "v3"),
    "thread local": (function("%r = load i64, ptr @t\nret i64 %r").replace("@g =", "@t = external thread_local global i64\n@g ="), "v3"),
}  # fmt: skip

# Too much stack can be told only by LLVM: the check passes it on to the guard.
UNSURE: dict[str, tuple[str, str]] = {
    "large stack": (
        function("%s = alloca [600 x i8], align 8\n%p = getelementptr i8, ptr %s, i64 %x\nstore volatile i8 1, ptr %p\n%r = load i64, ptr %s\nret i64 %r"),
        "v3",
    ),
    "spills": (
        function(
            "\n".join(f"%l{i} = load volatile i64, ptr %a0" for i in range(90)) + "\n"
            + "\n".join(f"store volatile i64 %l{i}, ptr %a0" for i in range(90)) + "\nret i64 0"
        ),
        "v3",
    ),
}  # fmt: skip

# What only looks dangerous: LLVM compiles it, so it must not be refused.
FINE: dict[str, tuple[str, str]] = {
    "sdiv on v4": (TRAPS["sdiv"][0], "v4"),
    "names like instructions": (function("%sdiv = add i64 %x, 1\n%float = add i64 %sdiv, %y\n%alloca = xor i64 %float, 5\nret i64 %alloca"), "v3"),
    "five arguments": (function("%r = call i64 inttoptr (i64 6 to ptr)(i64 %x, i64 %x, i64 %x, i64 %x, i64 %x)\nret i64 %r"), "v3"),
    "memcpy of constant size": (
        function("%q = getelementptr i8, ptr %a0, i64 64\ncall void @llvm.memcpy.p0.p0.i64(ptr align 8 %a0, ptr align 8 %q, i64 64, i1 false)\nret i64 0"), "v3"
    ),
    "population count": (function("%r = call i64 @llvm.ctpop.i64(i64 %x)\nret i64 %r"), "v3"),
    "atomic add": (function("%o = atomicrmw add ptr %a0, i64 %x monotonic\nret i64 %o"), "v3"),
    "atomic add on v1": (function("%o = atomicrmw add ptr %a0, i64 %x monotonic\nret i64 0"), "v1"),
    "empty assembly": (function('%r = call i64 asm sideeffect "", "=r,0"(i64 %x)\nret i64 %r'), "v3"),
    "switch": (
        function("switch i64 %x, label %d [\n" + "\n".join(f"i64 {i}, label %b{i}" for i in range(20)) + "\n]\nd:\nret i64 0\n"
                 + "\n".join(f"b{i}:\nret i64 {i * i * 7 % 31}" for i in range(20))),
        "v3",
    ),
    "comments": (function("; sdiv i64 float call i64 @six(i64 1, i64 1, i64 1, i64 1, i64 1, i64 1)\nret i64 0"), "v3"),
}  # fmt: skip
