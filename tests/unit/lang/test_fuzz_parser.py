"""No input gets anything but a tree or a SourceError out of the front half."""

from __future__ import annotations

import random

from fuzz import fuzz_bpftrace_parser as fuzz
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text):
    fuzz.run(text)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(fuzz.PIECES), max_size=40))
def test_any_tokens_in_a_block(pieces):
    fuzz.run("begin { " + " ".join(pieces)[:5000])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from((*fuzz.PIECES, "int a;", "short b:4;", "char c[8];", "#ifdef X\n")), max_size=40))
def test_any_tokens_in_a_struct(pieces):
    fuzz.run("struct s { " + " ".join(pieces)[:5000] + "} begin {}")


def test_mutated_scripts():
    corpus = fuzz.corpus()
    rng = random.Random(7)
    assert sum(fuzz.run(fuzz.mutate(rng, corpus)) for _ in range(1500)) > 20
