"""Which credentials an S3 remote gets, and AWS profiles, which the library does not read itself.

The order is that of AWS's own tools: what the address names (?anonymous, ?profile), keys in the environment, a web
identity, a profile, the container's role, the instance's role. Everything but profiles is the library's own work.

A profile's static keys are read again every minute, so that a tool that renews them in the file is noticed. Profiles
that need a conversation (SSO, assumed roles, credential_process) are botocore's business: used when it is installed,
else refused by name.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.errors import RemoteRefused, SyncdError

_TALKING = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


@dataclass(frozen=True, slots=True)
class Source:
    """Where credentials come from.

    Attributes:
        kind: "anonymous", "environment", "web identity", "profile", "container" or "instance".
        told: the same for people: names of variables and files, never a value of them.
        profile: the profile's name, of that kind only.
    """

    kind: str
    told: str
    profile: str = ""


def find_source(anonymous: bool, profile: str, environ: Mapping[str, str]) -> Source:
    """Return which credentials an S3 remote will use."""
    if anonymous:
        return Source("anonymous", "none (anonymous)")
    if profile:
        return Source("profile", f"AWS profile {profile}", profile)
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        session = " with a session token" if environ.get("AWS_SESSION_TOKEN") else ""
        return Source("environment", f"environment (AWS_ACCESS_KEY_ID{session})")
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
        return Source("web identity", "web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN)")
    named = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    if named or _holds_credentials(read_profile("default", environ)):
        name = named or "default"
        return Source("profile", f"AWS profile {name}", name)
    if any(environ.get(variable) for variable in _CONTAINER):
        return Source("container", "the container's role (AWS_CONTAINER_CREDENTIALS_*)")
    return Source("instance", "the instance's role, asked of the machine's metadata service")


def read_profile(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what AWS's two files say of a profile; {} when neither has it. The credentials file wins.

    Raises:
        RemoteRefused: a file cannot be read as what it should be.
    """
    found: dict[str, str] = {}
    config = name if name == "default" else f"profile {name}"
    for path, section in ((_file("AWS_CONFIG_FILE", "config", environ), config), (_keys_file(environ), name)):
        parser = configparser.RawConfigParser()
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, configparser.Error):
            # Without its cause: the parser's errors repeat the line, and that line may be the secret.
            raise RemoteRefused(f"cannot read {path}", "it is no AWS configuration file, or not readable") from None
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found


def profile_region(name: str, environ: Mapping[str, str]) -> str:
    """Return the region a profile names, "" when it names none."""
    return read_profile(name, environ).get("region", "")


class ProfileKeys:
    """Gives the library the keys of a profile whenever it asks. Called from the library's own threads.

    Args:
        name: of the profile.
        expiry: what the library takes as a time so many seconds from now.
    """

    def __init__(self, name: str, environ: Mapping[str, str], expiry: Callable[[float], Any]) -> None:
        self.trouble: SyncdError | None = None
        self._name = name
        self._environ = environ
        self._expiry = expiry
        self._session: Any = None

    def __call__(self) -> dict[str, Any]:
        """Return access key, secret key, token and how long to believe them.

        Raises:
            RemoteRefused: as `trouble` says afterwards: the library wraps what is raised here into its own words.
        """
        try:
            keys = self._static() or self._talk()
        except SyncdError as error:
            self.trouble = error
            raise
        self.trouble = None
        return keys

    def _static(self) -> dict[str, Any] | None:
        profile = read_profile(self._name, self._environ)
        if not profile:
            raise RemoteRefused(
                f"there is no AWS profile {self._name}", f"{_keys_file(self._environ)} does not have it",
                "aws configure list-profiles",
            )  # fmt: skip
        if "aws_access_key_id" not in profile or "aws_secret_access_key" not in profile:
            return None
        return {
            "access_key_id": profile["aws_access_key_id"],
            "secret_access_key": profile["aws_secret_access_key"],
            "token": profile.get("aws_session_token"),
            "expires_at": self._expiry(REREAD_S),
        }

    def _talk(self) -> dict[str, Any]:
        try:
            import botocore.exceptions
            import botocore.session
        except ImportError:
            raise RemoteRefused(
                f"the AWS profile {self._name} cannot be used", "it needs SSO, a role or a program to get its keys",
                "pip install botocore, where syncd is installed",
            ) from None  # fmt: skip
        try:
            if self._session is None:
                self._session = botocore.session.Session(profile=self._name)
            found = self._session.get_credentials()
            keys = found.get_frozen_credentials() if found else None
        except botocore.exceptions.BotoCoreError as error:
            kind = type(error).__name__
            raise RemoteRefused(
                f"the AWS profile {self._name} gives no credentials", f"botocore says {kind}", "aws sso login"
            ) from None
        if keys is None:
            raise RemoteRefused(f"the AWS profile {self._name} gives no credentials", "", "aws configure")
        return {
            "access_key_id": keys.access_key, "secret_access_key": keys.secret_key, "token": keys.token,
            "expires_at": self._expiry(REREAD_S),
        }  # fmt: skip


REREAD_S = 60.0


def _holds_credentials(profile: dict[str, str]) -> bool:
    return any(name in profile for name in ("aws_access_key_id", *_TALKING))


def _keys_file(environ: Mapping[str, str]) -> str:
    return _file("AWS_SHARED_CREDENTIALS_FILE", "credentials", environ)


def _file(variable: str, name: str, environ: Mapping[str, str]) -> str:
    return environ.get(variable) or os.path.join(environ.get("HOME", "/"), ".aws", name)
