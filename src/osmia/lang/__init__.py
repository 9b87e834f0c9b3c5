"""Front-ends: each takes a source language to an `Object`."""
