"""What a store answered, in our words: one table from status and code word to an error of errors.py.

Of the library's own text only the status and the code word are kept: the rest may hold signed addresses, tokens and
proxies' passwords. So the errors made here have no cause chained to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from syncd.errors import Conflict, NotFound, RemoteRefused, RemoteUnavailable, SyncdError

_STATUS = re.compile(r"status code: ([1-5][0-9]{2})")
_KINDS = {"FileNotFoundError": 404, "AlreadyExistsError": 412, "PreconditionError": 412, "PermissionDeniedError": 403}
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")

_BEYOND = "Wanted range starting at"

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerDisabled"}
FORBIDDEN = {"", "AccessDenied", "AuthorizationPermissionMismatch", "Forbidden"}

_CREDENTIALS = "check the credentials: `syncd doctor` says which were found"
_HINTS = {
    "AccessDenied": "give these credentials the rights that docs/OPERATIONS.md lists",
    "RequestTimeTooSkewed": "set this machine's clock: signed requests are valid for minutes",
    "AuthorizationHeaderMalformed": "add ?region=REGION of the bucket to the address",
    "PermanentRedirect": "add ?region=REGION of the bucket to the address",
    "NotImplemented": "use another store: `syncd check` says what this one lacks",
}
_PASSING = {
    "RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "QuotaExceeded", "SlowDown",
    "OperationAborted", "ConditionalRequestConflict", "ServerBusy", "RequestBodyTooSlow",
}  # fmt: skip
_PASSING_STATUS = {408, 409, 425, 429}
_PERMANENT_5XX = {501, 505}

# Without a status: what the library's text, its list of causes included, tells of a request that got no answer.
_SILENCES = (
    ("Certificate", False, "its certificate is not trusted", "add ?ca=/path/of/ca.pem, or set AWS_CA_BUNDLE"),
    ("without LOCATION", False, "it sends elsewhere without saying where", "add ?region=REGION of the bucket"),
    (
        "empty path segment",
        False,
        "an object that is not ours has // in its name",
        "remove it, or use a prefix of ours",
    ),
    ("builder error", False, "the address is not one that can be asked", "check endpoint and proxy"),
    ("non-partial", False, "it ignores ranges", "use another store"),
    ("dns error", True, "its name cannot be resolved", "check the endpoint and the network"),
    ("refused", True, "nobody listens there", "check the endpoint; is the store running?"),
    ("timed out", True, "it does not answer in time", "check the network; it is tried again"),
    ("TimedOut", True, "it does not answer in time", "check the network; it is tried again"),
)
_NO_CREDENTIALS = re.compile(r"/latest/(?:api/token|meta-data)|metadata\.google|/metadata/identity|169\.254\.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is kept of a failed request.

    Attributes:
        status: of HTTP; 0 when no answer came.
        code: the store's word for it; "" when there is none (a HEAD has no body).
        silence: the library's words, never to be shown, only searched; "" when an answer came.
    """

    status: int
    code: str
    silence: str = ""

    @property
    def expired(self) -> bool:
        """Whether renewed credentials would help."""
        return self.code in EXPIRED

    @property
    def forbidden(self) -> bool:
        """Whether a store that hides what is missing would answer so for a key where nothing is."""
        return self.status == 403 and self.code in FORBIDDEN


def read_answer(error: Exception) -> Answer:
    """Return what is kept of an exception of the library's."""
    text = str(error)
    if _NO_CREDENTIALS.search(text):  # asked of the machine, not of the store: what is answered there means nothing
        return Answer(0, "", text)
    if _BEYOND in text:  # a range that began at the end: the library refuses the store's empty answer by itself
        return Answer(416, "")
    status, code = _STATUS.search(text), _CODE.search(text)
    if status:
        return Answer(int(status[1]), code[1] if code else "")
    kinds = {
        "FileNotFoundError": 404,
        "AlreadyExistsError": 412,
        "PreconditionError": 412,
        "PermissionDeniedError": 403,
    }
    known = kinds.get(type(error).__name__, 0)
    return Answer(known, code[1] if code else "", "" if known else text)


def translate(answer: Answer, verb: str, key: str, place: str) -> SyncdError:
    """Return the error that stands for an answer.

    Args:
        verb: of the store's protocol: get, put, create, stat, list, delete.
        key: the object's; of a list the prefix.
        place: the remote, without secrets.
    """
    what = f"cannot {verb} {key or 'keys'}"
    if not answer.status:
        return _silence(answer.silence, what, place)
    why = f"{place} answers {answer.status}{' ' if answer.code else ''}{answer.code}"
    if answer.code in NO_BUCKET or (answer.status == 404 and verb in ("put", "create", "list", "delete")):
        return RemoteRefused(what, f"there is no such bucket: {why}", "make the bucket, or mend the address")
    if answer.status == 404:
        return NotFound(f"no such object: {key}")
    if answer.status in (304, 409, 412) and verb == "create":
        return Conflict(f"there is an object already: {key}")  # or one half made: law L4 looks
    if answer.expired:
        return RemoteUnavailable(what, f"the credentials have expired: {why}", "renew them where they come from")
    if (
        answer.code in _PASSING
        or answer.status in _PASSING_STATUS
        or (answer.status >= 500 and answer.status not in _PERMANENT_5XX)
    ):
        return RemoteUnavailable(what, why, "it is tried again")
    return RemoteRefused(what, why, _HINTS.get(answer.code, _CREDENTIALS if answer.status in (401, 403) else ""))


def _silence(text: str, what: str, place: str) -> SyncdError:
    if _NO_CREDENTIALS.search(text):
        return RemoteRefused(
            what,
            f"no credentials for {place} were found, and this machine has no role that gives any",
            "set AWS_*, GOOGLE_* or AZURE_*, or a profile; ?anonymous=true for a bucket open to all",
        )
    for words, passes, why, hint in _SILENCES:
        if words in text:
            kind: type[SyncdError] = RemoteUnavailable if passes else RemoteRefused
            return kind(what, f"{place}: {why}", hint)
    return RemoteUnavailable(what, f"{place}: the connection broke", "check the network; it is tried again")
