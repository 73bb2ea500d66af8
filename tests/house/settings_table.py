"""The table of settings as docs/OPERATIONS.md must have it, drawn from the one list of them."""

from __future__ import annotations

from syncd.settings.shape import CLIENT_ENV, KEYS, REMOTE_ENV, Settings, flatten
from syncd.settings.shape import Remote as Primary

DERIVED = {
    "state_dir": "`$XDG_STATE_HOME/syncd`",
    "cache_dir": "`$XDG_CACHE_HOME/syncd`",
    "socket": "`/run/syncd/USER/syncd.sock` if there and the user's, else `$XDG_RUNTIME_DIR/syncd/syncd.sock`",
    "pin.spool_dirs": "none",
}


def rows() -> list[str]:
    """Return the lines of both tables."""
    defaults = flatten(Settings(remotes=(Primary("memory:"),), state_dir=b"", cache_dir=b"", socket=b""))
    found = [
        "| key | environment | default | meaning |",
        "|---|---|---|---|",
        f"| `[[remote]]` `url` | `{REMOTE_ENV}` | `remote` below the state directory | where everything is committed |",
    ]
    for key in KEYS.values():
        default = DERIVED.get(key.name) or key.about.default or f"`{toml(key.about.kind.show(defaults[key.name]))}`"
        found.append(f"| `{key.name}` | `{key.env}` | {default} | {key.about.help} |")
    found += ["", "| environment only | meaning |", "|---|---|"]
    found += [f"| `{name}` | {meaning} |" for name, meaning in CLIENT_ENV.items()]
    return found


def toml(value: object) -> str:
    """Return a default as a configuration file would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
