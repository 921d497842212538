"""Who is calling: bearer tokens (JWT, RFC 7519) of the company's identity provider, verified against its public keys.

Only roles ride in a token. What a caller may see is asked of the database on every call, so that a change of owner
takes effect at once. All errors read the same, so that a forger learns nothing. Expiry is measured in real time.
"""

import base64
import binascii
import hmac
import json
import math
import os
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import structlog
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.problems import Problem
from services.runtime.settings import RuntimeSettings, SettingsError

# What a header may say. Anything else (jku, x5u, jwk, crit, b64 …) asks us to trust the token about itself.
_HEADER_NAMES = frozenset({"alg", "kid", "typ"})
_TYPES = frozenset({"jwt", "at+jwt"})
_KEY_TYPES: dict[str, type[ECKey | OKPKey | RSAKey]] = {
    "ES256": ECKey,
    "EdDSA": OKPKey,
    "Ed25519": OKPKey,
    "RS256": RSAKey,
}
_JWK_TYPES: dict[str, type[ECKey] | type[OKPKey] | type[RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
_TOKEN_LIMIT = 8 * 1024
_LEEWAY = 30
_SEGMENTS = 3
_RSA_BITS = 2048
_log = structlog.get_logger(__name__)
_bearer = HTTPBearer(auto_error=False, description="A JWT of the company's identity provider")


class Unauthorised(Exception):
    """The token is missing or not acceptable. The message is always the same; the log says why."""

    def __init__(self) -> None:
        super().__init__("the bearer token is missing, expired or not acceptable")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token was verified. (issuer, subject) names the person; each service maps it to a user."""

    issuer: str
    subject: str
    roles: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        """Whether the caller sees every account."""
        return "admin" in self.roles


class TokenVerifier:
    """Verifies bearer tokens against a JWKS file, which is read again when it changes (rotation needs no restart)."""

    def __init__(
        self, jwks: Path, issuer: str, audience: str, *, longest_lifetime: timedelta = timedelta(hours=1)
    ) -> None:
        """Read `jwks`; raise `SettingsError` when it holds no usable public key."""
        self._jwks = jwks
        self._issuer = issuer
        self._audience = audience
        self._longest = longest_lifetime.total_seconds()
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, ECKey | OKPKey | RSAKey] = {}
        self._refresh(first=True)

    @classmethod
    def from_settings(cls, settings: RuntimeSettings) -> "TokenVerifier":
        """Return the verifier that the settings describe; raise `SettingsError` naming the one that is missing."""
        for name in ("auth_jwks_file", "auth_issuer", "auth_audience"):
            if not getattr(settings, name):
                message = f"TENURE_{name.upper()} is not set; the API needs it to verify bearer tokens."
                raise SettingsError(message)
        assert settings.auth_jwks_file and settings.auth_issuer and settings.auth_audience  # noqa: S101, PT018 - checked above
        return cls(settings.auth_jwks_file, settings.auth_issuer, settings.auth_audience)

    def verify(self, bearer: str) -> Caller:
        """Return who signed `bearer` (the token without the scheme); raise `Unauthorised` otherwise."""
        try:
            return self._verify(bearer)
        except _Refused as refused:
            _log.info("token refused", why=str(refused))
        except (JoseError, ValueError, TypeError, KeyError, binascii.Error, RecursionError) as error:
            _log.info("token refused", why=type(error).__name__)
        raise Unauthorised

    def _verify(self, token: str) -> Caller:
        if len(token) > _TOKEN_LIMIT or not token.isascii() or token.count(".") != _SEGMENTS - 1:
            raise _Refused("not a compact JWS")
        header = _json_segment(token.split(".", 1)[0])
        if not header.keys() <= _HEADER_NAMES:
            raise _Refused("header names that we do not accept")
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if (
            algorithm not in _KEY_TYPES
            or not isinstance(kid, str)
            or not isinstance(kind, str)
            or kind.lower() not in _TYPES
        ):
            raise _Refused("alg, kid or typ")
        self._refresh()
        key = self._keys.get(kid)
        if key is None or not isinstance(key, _KEY_TYPES[algorithm]):
            raise _Refused("no such key for this algorithm")
        return self._judge(_claims(token, key, algorithm))

    def _judge(self, claims: dict[str, Any]) -> Caller:
        now = time.time()
        issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
        expires, begins, issued = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
        audiences = audience if isinstance(audience, list) else [audience]
        if not isinstance(issuer, str) or not hmac.compare_digest(issuer.encode(), self._issuer.encode()):
            raise _Refused("iss")
        if self._audience not in audiences:
            raise _Refused("aud")
        if not isinstance(subject, str) or not subject or len(subject) > 255:  # noqa: PLR2004 - OpenID Connect Core, section 2
            raise _Refused("sub")
        if expires <= now or begins > now + _LEEWAY or issued > now + _LEEWAY:
            raise _Refused("time")
        if expires - issued > self._longest or expires <= issued:
            raise _Refused("lifetime")
        roles = claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise _Refused("roles")
        return Caller(issuer, subject, frozenset(roles))

    def _refresh(self, *, first: bool = False) -> None:
        try:
            state = self._jwks.stat()
            stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
            if stamp != self._stamp:
                self._keys = _read_keys(self._jwks)
                self._stamp = stamp
        except (OSError, ValueError, TypeError, KeyError, JoseError) as error:
            if first:
                message = (
                    f"TENURE_AUTH_JWKS_FILE: {self._jwks} holds no usable public keys ({error});"
                    " write a JWKS with ES256, EdDSA or RS256 keys, each with a kid."
                )
                raise SettingsError(message) from None
            # Half a rotation must not lock everybody out: the keys that we have stay valid until the file reads well.
            _log.warning("the JWKS file cannot be read, earlier keys stay in use", error=type(error).__name__)


def authenticated(verifier: TokenVerifier) -> Callable[..., Awaitable[Caller]]:
    """Return a FastAPI dependency that gives the verified `Caller`, or answers 401."""

    async def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
        try:
            if credentials is None:
                raise Unauthorised
            return verifier.verify(credentials.credentials)
        except Unauthorised as refused:
            raise Problem(
                401,
                "Not authenticated",
                f"{refused}; sign in again.",
                "unauthorised",
                headers={"WWW-Authenticate": "Bearer"},
            ) from None

    return caller


def require_role(role: str, verifier: TokenVerifier) -> Callable[..., Awaitable[Caller]]:
    """Return a FastAPI dependency like `authenticated` that answers 403 unless the caller has `role` or is admin."""

    async def caller(verified: Annotated[Caller, Depends(authenticated(verifier))]) -> Caller:
        if role not in verified.roles and not verified.is_admin:
            raise Problem(403, "Not allowed", f"This needs the role {role}; ask your administrator.", "forbidden")
        return verified

    return caller


class Issuer:
    """A token issuer in a folder, for the demo, the tests and a first try. A company uses its identity provider.

    The folder holds `issuer-key.json` (private, mode 0600) and `jwks.json` (public, what `TokenVerifier` reads).
    """

    def __init__(self, folder: Path, issuer: str, audience: str) -> None:
        """Open the folder, generating the keys on first use."""
        self.issuer = issuer
        self.audience = audience
        self.jwks_file = folder / "jwks.json"
        private = folder / "issuer-key.json"
        if not private.exists():
            _generate(folder, private, self.jwks_file)
        self._key = ECKey.import_key(json.loads(private.read_text(encoding="ascii")))

    def issue(self, subject: str, roles: Iterable[str] = (), lifetime: timedelta = timedelta(minutes=5)) -> str:
        """Return a token for `subject`, valid from now (real time) for `lifetime`, at most an hour."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime.total_seconds()),
            "roles": sorted(roles),
        }
        return jwt.encode({"alg": "ES256", "kid": self._key.kid}, claims, self._key, algorithms=["ES256"])


class _Refused(Exception):
    """Why a token was refused, for the log only."""


def _claims(token: str, key: ECKey | OKPKey | RSAKey, algorithm: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        # Identity providers still call Ed25519 by its older name, "EdDSA"; joserfc warns of it on every token.
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.decode(token, key, algorithms=[algorithm]).claims


def _generate(folder: Path, private: Path, public: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    key = ECKey.generate_key("P-256", auto_kid=True)
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(key.as_dict(private=True), file)
    published = {**key.as_dict(private=False), "use": "sig", "alg": "ES256"}
    public.write_text(json.dumps({"keys": [published]}), encoding="ascii")


def _read_keys(path: Path) -> dict[str, ECKey | OKPKey | RSAKey]:
    keys: dict[str, ECKey | OKPKey | RSAKey] = {}
    for content in json.loads(path.read_bytes())["keys"]:
        # A secret key has no business in a public set, and one without a kid cannot be asked for.
        kind = _JWK_TYPES.get(content["kty"])
        if kind is None or not content.get("kid") or content.get("use", "sig") != "sig":
            continue
        key = kind.import_key(content)
        if isinstance(key, RSAKey) and key.raw_value.key_size < _RSA_BITS:
            continue
        keys[content["kid"]] = key
    if not keys:
        message = "no asymmetric signing key with a kid"
        raise ValueError(message)
    return keys


def _json_segment(segment: str) -> dict[str, Any]:
    decoded = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    if not isinstance(decoded, dict):
        raise _Refused("header is no object")
    return decoded


def _moment(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    # No number compares with NaN: without this, such a token would never expire.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Refused(name)
    return float(value)
