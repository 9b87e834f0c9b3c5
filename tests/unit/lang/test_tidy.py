"""The layout of scripts: `osmia bpftrace --fmt`."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.tidy import tidy

LONG = """\
#!/usr/bin/env osmia
// What it is for
#include <linux/fs.h>
struct A {   int x; };
config = { max_strlen=5 }
tracepoint:a:b,
kprobe:c   /pid==1/ { if (1) { print( 1 ) } else if (2) {print("a  ; }") } else { @a[1,2] = count(); } // why


  $x = 1 /* one */ ; for ($i : 0..5) { print($i); }
} // the end
uprobe:/bin//sh:main { $b = { 1; 2 }; }
"""
TIDY = """\
#!/usr/bin/env osmia
// What it is for
#include <linux/fs.h>
struct A {
  int x;
};
config = {
  max_strlen=5
}

tracepoint:a:b,
kprobe:c /pid==1/ {
  if (1) {
    print(1)
  } else if (2) {
    print("a  ; }")
  } else {
    @a[1, 2] = count();
  } // why

  $x = 1 /* one */;
  for ($i : 0..5) {
    print($i);
  }
} // the end

uprobe:/bin//sh:main {
  $b = {
    1;
    2
  };
}
"""


def test_one_statement_a_line() -> None:
    assert tidy(Source("x.bt", LONG)) == TIDY


def test_a_tidy_script_stays_as_it_is() -> None:
    once = tidy(Source("x.bt", LONG))
    assert tidy(Source("x.bt", once)) == once


def test_our_own_scripts_keep_their_meaning() -> None:
    folder = Path(__file__).parent / "scripts"
    scripts = sorted(folder.glob("*.bt"))
    assert scripts
    for path in scripts:
        try:
            text = tidy(Source(path.name, path.read_text()))
        except SourceError:
            continue  # scripts with errors, for the tests of the parser
        assert tidy(Source(path.name, text)) == text


def test_scripts_with_errors_are_not_laid_out() -> None:
    with pytest.raises(SourceError):
        tidy(Source("x.bt", "begin { print( }"))
