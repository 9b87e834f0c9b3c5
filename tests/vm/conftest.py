"""The plugin as users have it, whether or not the package is installed."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Entry points are there only where the package is installed."""
    manager = config.pluginmanager
    if not manager.has_plugin("osmia") and not manager.has_plugin("osmia.testing.plugin"):
        manager.import_plugin("osmia.testing.plugin")
