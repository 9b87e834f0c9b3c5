"""The version, where modules below the package's face can have it."""

__version__ = "0.1.0"
