"""The version of this client; pyproject.toml says the same."""

__version__ = "0.1.0"
