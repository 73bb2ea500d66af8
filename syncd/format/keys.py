"""Object names: the only module that builds or reads a key.

Keys are ASCII, `/`-separated, no segment is empty, `.`, `..` or longer than 200 bytes, and no key is a directory of
another: so they mean the same on every object store and in a plain directory. What people chose (projects, names,
runs) is percent-encoded by segment: letters, digits, `-`, `_` and `.` stand for themselves, every other byte of the
UTF-8 text, and the first dot of a segment of dots alone, is `%XX`. Decoding accepts only what encoding makes.
"""

from __future__ import annotations

import re

from syncd.errors import Corrupt, InvalidInput, SyncdError
from syncd.format.digest import HASH_BYTES
from syncd.model import names
from syncd.model.names import ArtifactKey

REPO = "repo.json"
REGISTRY_LOG = "reg/log"
ARTIFACTS = "a/"
RUNS = "r/"
EPOCHS = "gc/"
WIPS = "wip/"
PROBES = "probe/"
PACKS = "packs/"
MANIFESTS = "manifests/"

SEGMENT_LIMIT = 200
SLOT_LIMIT = 10**15

_BODY_BYTES = 6
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_TXN = re.compile(r"[A-Za-z0-9_\-]{1,64}\Z")
_MANIFEST = re.compile(r"manifests/([0-9a-f]{64})\.([A-Za-z0-9_\-]{1,64})\Z")
_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})\Z")
_WIP = re.compile(r"wip/([A-Za-z0-9_\-]{1,64})\.([0-9]{1,15})\Z")
_SLOT = re.compile(r"(.+)/([0-9]{20})\Z", re.DOTALL)
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")


def encode_segment(text: str) -> str:
    """Return `text` as one segment of a key.

    Raises:
        InvalidInput: empty, not encodable, or longer than 200 bytes when encoded.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{text!r} cannot be part of a key", "it is not valid unicode text") from error
    segment = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)
    if segment.strip(".") == "":
        segment = "%2E" + segment[1:] if segment else ""
    if not 0 < len(segment) <= SEGMENT_LIMIT:
        raise InvalidInput(
            f"{text!r} cannot be part of a key",
            f"encoded it has {len(segment)} bytes; 1 to {SEGMENT_LIMIT} fit",
            "use a shorter name, or one with fewer characters outside a-z, 0-9, '-', '_' and '.'",
        )
    return segment


def decode_segment(segment: str) -> str:
    """Return the text a segment stands for; Corrupt for any segment that `encode_segment` does not make."""
    try:
        raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), segment.encode("ascii"))
        text = raw.decode()
        if encode_segment(text) == segment:
            return text
    except (UnicodeError, InvalidInput) as error:
        raise Corrupt(f"key segment {segment!r} is not a name", str(error)) from error
    raise Corrupt(f"key segment {segment!r} is not a name", "its percent-encoding is not the canonical one")


def check_txn(txn: str) -> str:
    """Return a transaction id that may stand in a key, else raise InvalidInput."""
    if not _TXN.match(txn):
        raise InvalidInput(f"invalid transaction id: {txn!r}", "1 to 64 letters, digits, '-' and '_'")
    return txn


def pack_key(pack: bytes) -> str:
    """Return where the pack with this id lies."""
    name = _hash(pack).hex()
    return f"packs/{name[:2]}/{name}"


def parse_pack(key: str) -> bytes:
    """Return the id of the pack under `key`; Corrupt when it is no pack key."""
    if match := _PACK.match(key):
        return bytes.fromhex(match[2])
    raise Corrupt(f"{key!r} is not the key of a pack")


def manifest_key(digest: bytes, txn: str, epoch: int = 0, body: bytes = b"") -> str:
    """Return where transaction `txn` puts the manifest of the version with this digest, having seen this epoch.

    `body` is the hash of the manifest object: a job that was begun anew may lay its chunks out otherwise, and a put of
    its earlier life that lands late must not replace the manifest which was committed.
    """
    words = [txn, *([f"e{epoch:d}"] if epoch else []), *([_hash(body)[:_BODY_BYTES].hex()] if body else [])]
    return f"manifests/{_hash(digest).hex()}.{check_txn('-'.join(words))}"


def parse_manifest(key: str) -> tuple[bytes, str]:
    """Return (version digest, txn with what stands behind it) of a manifest key; Corrupt when it is none."""
    if match := _MANIFEST.match(key):
        return bytes.fromhex(match[1]), match[2]
    raise Corrupt(f"{key!r} is not the key of a manifest")


def artifact_log(key: ArtifactKey) -> str:
    """Return the log of an artifact, to be given to `slot_key`."""
    return f"a/{encode_segment(key.project)}/{encode_segment(key.name)}/log"


def run_log(project: str, run: str) -> str:
    """Return the log of a run."""
    return f"r/{encode_segment(project)}/{encode_segment(run)}/log"


def slot_key(log: str, slot: int) -> str:
    """Return the key of a log's numbered slot."""
    if not 0 <= slot < SLOT_LIMIT:
        raise InvalidInput(f"slot {slot} of {log} does not exist", f"slots are 0 to {SLOT_LIMIT - 1}")
    return f"{log}/{slot:020d}"


def parse_slot(key: str) -> tuple[str, int]:
    """Return (log, slot) of a slot key; Corrupt when it is none."""
    match = _SLOT.match(key)
    if match and int(match[2]) < SLOT_LIMIT:
        return match[1], int(match[2])
    raise Corrupt(f"{key!r} is not the key of a log slot")


def parse_artifact_log(log: str) -> ArtifactKey:
    """Return which artifact's log this is; Corrupt when it is none, or of a name that cannot be."""
    parts = log.split("/")
    if len(parts) != 4 or parts[0] != "a" or parts[3] != "log":
        raise Corrupt(f"{log!r} is not the log of an artifact")
    project, name = decode_segment(parts[1]), decode_segment(parts[2])
    try:
        return ArtifactKey(names.check_project(project), names.check_name(name))
    except SyncdError as error:
        raise Corrupt(f"{log!r} is not the log of an artifact", str(error)) from error


def use_key(key: ArtifactKey, version: int, run: str) -> str:
    """Return the empty object that says: this run used this version."""
    return f"a/{encode_segment(key.project)}/{encode_segment(key.name)}/uses/{version:d}/{encode_segment(run)}"


def uses_prefix(key: ArtifactKey, version: int) -> str:
    """Return what the use keys of a version start with."""
    return f"a/{encode_segment(key.project)}/{encode_segment(key.name)}/uses/{version:d}/"


def bundle_key(log: str, span: int, number: int) -> str:
    """Return where the `number`-th bundle of `span` slots of `log` may lie (a hint: it may be missing or wrong)."""
    return f"{log.removesuffix('/log')}/ckpt/{span:d}.{number:020d}"


def gc_key(epoch: int, done: bool = False) -> str:
    """Return the record of a collection epoch, or of its end."""
    if not 0 < epoch < SLOT_LIMIT:
        raise InvalidInput(f"epoch {epoch} does not exist", f"epochs are 1 to {SLOT_LIMIT - 1}")
    return f"gc/{epoch:020d}{'.done' if done else ''}"


def wip_key(txn: str, number: int) -> str:
    """Return the `number`-th list of packs that an open job still needs."""
    return f"wip/{check_txn(txn)}.{number:d}"


def parse_wip(key: str) -> str:
    """Return whose list of packs this is, a txn; Corrupt when it is no such key."""
    if match := _WIP.match(key):
        return match[1]
    raise Corrupt(f"{key!r} is not a list of packs in use")


def index_key(unique: str) -> str:
    """Return a dedup index object (reserved; hints only)."""
    return f"idx/{check_txn(unique)}"


def heartbeat_key(node: str) -> str:
    """Return a node's sign of life (reserved; for people only)."""
    return f"hb/{encode_segment(node)}"


def probe_key(unique: str) -> str:
    """Return the key that `syncd init` races creates on."""
    return f"probe/{check_txn(unique)}"


def _hash(value: bytes) -> bytes:
    if len(value) != HASH_BYTES:
        raise InvalidInput(f"{value.hex()} is not a hash", f"hashes have {HASH_BYTES} bytes, not {len(value)}")
    return value
