"""Tokens: genuine ones are accepted, forged ones are not, and all refusals read the same."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from services.runtime import problems
from services.runtime.auth import Caller, Issuer, TokenVerifier, Unauthorised, authenticated, require_role
from services.runtime.settings import SettingsError

ISSUER = "https://id.example"
AUDIENCE = "tenure"


class Forge:
    """Somebody with the issuer's public keys, keys of their own, and ideas."""

    def __init__(self, folder: Path) -> None:
        self.issuer = Issuer(folder, ISSUER, AUDIENCE)
        self.ec: ECKey = ECKey.import_key(json.loads((folder / "issuer-key.json").read_text()))
        self.rsa = RSAKey.generate_key(2048, auto_kid=True)
        self.ed = OKPKey.generate_key("Ed25519", auto_kid=True)
        self.own_ec = ECKey.generate_key("P-256", auto_kid=True)
        self.own_rsa = RSAKey.generate_key(2048, auto_kid=True)
        public = [key.as_dict(private=False) for key in (self.ec, self.rsa, self.ed)]
        encryption = ECKey.generate_key("P-256", {"use": "enc"}, auto_kid=True)
        self.encryption = encryption
        secret = OctKey.import_key("a shared secret that somebody put into the key set", {"kid": "shared"})
        self.shared = secret
        keys = [*public, encryption.as_dict(private=False), secret.as_dict()]
        self.issuer.jwks_file.write_text(json.dumps({"keys": keys}))
        self.verifier = TokenVerifier(self.issuer.jwks_file, ISSUER, AUDIENCE)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token; `...` leaves one out."""
        now = int(time.time())
        given = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ana",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "roles": ["operator"],
        }
        given.update(changes)
        return {name: value for name, value in given.items() if value is not ...}

    def sign(self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
        """Correctly signed by the issuer's key, with any header and claims."""
        head = {"alg": "ES256", "kid": self.ec.kid, **(header or {})}
        return self.raw(head, claims or self.claims())

    def raw(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Signed with the issuer's EC key over whatever `header` says."""
        signed = jwt.encode({"alg": "ES256"}, claims, self.ec, algorithms=["ES256"])
        payload = signed.split(".")[1]
        message = f"{_b64(json.dumps(header).encode())}.{payload}"
        algorithm = jws.JWSRegistry.algorithms["ES256"]
        return f"{message}.{_b64(algorithm.sign(message.encode(), self.ec))}"


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    message = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{message}.{_b64(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"


def _unsigned(alg: Any, claims: dict[str, Any], kid: str) -> str:
    return f"{_b64(json.dumps({'alg': alg, 'kid': kid}).encode())}.{_b64(json.dumps(claims).encode())}."


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    return Forge(tmp_path_factory.mktemp("issuer"))


def _swap(token: str, part: int, new: str) -> str:
    parts = token.split(".")
    parts[part] = new
    return ".".join(parts)


def _pem(key: Any) -> bytes:
    return bytes(key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


NOW = int(time.time())
FORGED: dict[str, Callable[[Forge], str]] = {
    "empty": lambda _: "",
    "one segment": lambda _: "abc",
    "two segments": lambda f: ".".join(f.sign().split(".")[:2]),
    "four segments": lambda f: f.sign() + ".x",
    "five segments, as JWE": lambda _: "a.b.c.d.e",
    "no base64": lambda _: "!!.!!.!!",
    "not ASCII": lambda f: f.sign() + "ä",
    "too long": lambda f: f.sign(f.claims(pad="x" * 9000)),
    "header is a list": lambda f: _swap(f.sign(), 0, _b64(b"[]")),
    "header is deep": lambda f: _swap(f.sign(), 0, _b64(b"[" * 3000)),
    "alg none": lambda f: _unsigned("none", f.claims(), str(f.ec.kid)),
    "alg None": lambda f: _unsigned("None", f.claims(), str(f.ec.kid)),
    "alg NONE": lambda f: _unsigned("NONE", f.claims(), str(f.ec.kid)),
    "alg empty": lambda f: _unsigned("", f.claims(), str(f.ec.kid)),
    "alg missing": lambda f: f.raw({"kid": f.ec.kid}, f.claims()),
    "alg null": lambda f: _unsigned(None, f.claims(), str(f.ec.kid)),
    "alg a list": lambda f: _unsigned(["ES256"], f.claims(), str(f.ec.kid)),
    "none with the genuine signature": lambda f: f.raw({"alg": "none", "kid": f.ec.kid}, f.claims()),
    "HS256 with the public key as secret": lambda f: _hs256(
        {"alg": "HS256", "kid": f.rsa.kid}, f.claims(), _pem(f.rsa)
    ),
    "HS256 with the EC key as secret": lambda f: _hs256({"alg": "HS256", "kid": f.ec.kid}, f.claims(), _pem(f.ec)),
    "HS256 with the JWK text as secret": lambda f: _hs256(
        {"alg": "HS256", "kid": f.ec.kid}, f.claims(), json.dumps(f.ec.as_dict(private=False)).encode()
    ),
    "HS256 with an empty secret": lambda f: _hs256({"alg": "HS256", "kid": f.ec.kid}, f.claims(), b""),
    "HS256 with a secret of the key set": lambda f: _hs256(
        {"alg": "HS256", "kid": "shared"}, f.claims(), b"a shared secret that somebody put into the key set"
    ),
    "ES256 header, HS256 signature": lambda f: _hs256({"alg": "ES256", "kid": f.ec.kid}, f.claims(), _pem(f.ec)),
    "ES256 under the RSA key's id": lambda f: f.sign(header={"kid": f.rsa.kid}),
    "RS256 with another key": lambda f: jwt.encode(
        {"alg": "RS256", "kid": f.rsa.kid}, f.claims(), f.own_rsa, algorithms=["RS256"]
    ),
    "ES256 with another key": lambda f: jwt.encode(
        {"alg": "ES256", "kid": f.ec.kid}, f.claims(), f.own_ec, algorithms=["ES256"]
    ),
    "ES256 with its own unknown key": lambda f: jwt.encode(
        {"alg": "ES256", "kid": f.own_ec.kid}, f.claims(), f.own_ec, algorithms=["ES256"]
    ),
    "a key for encryption": lambda f: jwt.encode(
        {"alg": "ES256", "kid": f.encryption.kid},
        f.claims(),
        ECKey.import_key(f.encryption.as_dict(private=True) | {"use": "sig"}),
        algorithms=["ES256"],
    ),
    "PS256, which nobody asked for": lambda f: jwt.encode(
        {"alg": "PS256", "kid": f.rsa.kid}, f.claims(), f.rsa, algorithms=["PS256"]
    ),
    "kid missing": lambda f: f.raw({"alg": "ES256"}, f.claims()),
    "kid null": lambda f: f.sign(header={"kid": None}),
    "kid a number": lambda f: f.sign(header={"kid": 1}),
    "kid a path": lambda f: f.sign(header={"kid": "../../dev/null"}),
    "kid an injection": lambda f: f.sign(header={"kid": "x' or '1'='1"}),
    "jku": lambda f: f.sign(header={"jku": "https://evil.example/jwks"}),
    "x5u": lambda f: f.sign(header={"x5u": "https://evil.example/cert"}),
    "jwk in the header": lambda f: f.sign(header={"jwk": f.own_ec.as_dict(private=False)}),
    "x5c in the header": lambda f: f.sign(header={"x5c": ["MII"]}),
    "crit": lambda f: f.sign(header={"crit": ["exp"], "exp": 1}),
    "b64 false": lambda f: f.sign(header={"b64": False, "crit": ["b64"]}),
    "zip": lambda f: f.sign(header={"zip": "DEF"}),
    "typ of something else": lambda f: f.sign(header={"typ": "logout+jwt"}),
    "signature cut": lambda f: f.sign()[:-8],
    "signature empty": lambda f: _swap(f.sign(), 2, ""),
    "signature of zeros (psychic)": lambda f: _swap(f.sign(), 2, _b64(bytes(64))),
    "signature of another token": lambda f: _swap(f.sign(), 2, f.sign(f.claims(sub="ben")).split(".")[2]),
    "claims exchanged": lambda f: _swap(f.sign(), 1, _b64(json.dumps(f.claims(roles=["admin"])).encode())),
    "claims a list": lambda f: _swap(f.sign(), 1, _b64(b"[]")),
    "iss of another": lambda f: f.sign(f.claims(iss="https://evil.example")),
    "iss missing": lambda f: f.sign(f.claims(iss=...)),
    "iss a list": lambda f: f.sign(f.claims(iss=[ISSUER])),
    "iss with a slash": lambda f: f.sign(f.claims(iss=ISSUER + "/")),
    "aud of another": lambda f: f.sign(f.claims(aud="billing")),
    "aud missing": lambda f: f.sign(f.claims(aud=...)),
    "aud a list of others": lambda f: f.sign(f.claims(aud=["billing", "tenure-admin"])),
    "aud an object": lambda f: f.sign(f.claims(aud={"tenure": True})),
    "sub missing": lambda f: f.sign(f.claims(sub=...)),
    "sub empty": lambda f: f.sign(f.claims(sub="")),
    "sub a number": lambda f: f.sign(f.claims(sub=1)),
    "sub too long": lambda f: f.sign(f.claims(sub="x" * 256)),
    "expired": lambda f: f.sign(f.claims(iat=NOW - 600, nbf=NOW - 600, exp=NOW - 1)),
    "exp missing": lambda f: f.sign(f.claims(exp=...)),
    "exp a text": lambda f: f.sign(f.claims(exp=str(NOW + 300))),
    "exp true": lambda f: f.sign(f.claims(exp=True)),
    "exp null": lambda f: f.sign(f.claims(exp=None)),
    "not yet valid": lambda f: f.sign(f.claims(nbf=NOW + 3000)),
    "nbf missing": lambda f: f.sign(f.claims(nbf=...)),
    "issued in the future": lambda f: f.sign(f.claims(iat=NOW + 3000, exp=NOW + 3300)),
    "iat missing": lambda f: f.sign(f.claims(iat=...)),
    "a lifetime of a year": lambda f: f.sign(f.claims(exp=NOW + 365 * 86400)),
    "exp is infinite": lambda f: f.sign(f.claims(exp=float("inf"))),
    "exp is no number": lambda f: f.sign(f.claims(exp=float("nan"))),
    "roles a text": lambda f: f.sign(f.claims(roles="admin")),
    "roles an object": lambda f: f.sign(f.claims(roles={"admin": True})),
    "roles with a number": lambda f: f.sign(f.claims(roles=["operator", 1])),
}


def test_there_are_enough_forgeries() -> None:
    assert len(FORGED) >= 40


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused_and_learns_nothing(forge: Forge, name: str) -> None:
    with pytest.raises(Unauthorised) as refused:
        forge.verifier.verify(FORGED[name](forge))
    assert str(refused.value) == str(Unauthorised())
    assert refused.value.__cause__ is None


def test_the_forge_can_also_sign_properly(forge: Forge) -> None:
    assert forge.verifier.verify(forge.sign()) == Caller(ISSUER, "ana", frozenset({"operator"}))


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "Ed25519"])
def test_other_asymmetric_algorithms_are_accepted(forge: Forge, algorithm: str) -> None:
    key = forge.rsa if algorithm == "RS256" else forge.ed
    token = jwt.encode({"alg": algorithm, "kid": key.kid}, forge.claims(), key, algorithms=[algorithm])
    assert forge.verifier.verify(token).subject == "ana"


def test_an_audience_list_that_names_us_is_accepted(forge: Forge) -> None:
    assert forge.verifier.verify(forge.sign(forge.claims(aud=["other", AUDIENCE]))).subject == "ana"


def test_issued_tokens_live_five_minutes_and_carry_roles(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path, ISSUER, AUDIENCE)
    verifier = TokenVerifier(issuer.jwks_file, ISSUER, AUDIENCE)
    token = issuer.issue("ana", ["admin"])
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 300
    assert verifier.verify(token).is_admin
    assert not verifier.verify(issuer.issue("ben")).is_admin
    with pytest.raises(Unauthorised):
        verifier.verify(issuer.issue("ana", lifetime=timedelta(hours=2)))


def test_the_private_key_is_for_its_owner_only_and_is_kept(tmp_path: Path) -> None:
    first = Issuer(tmp_path, ISSUER, AUDIENCE)
    token = first.issue("ana")
    assert ((tmp_path / "issuer-key.json").stat().st_mode & 0o777) == 0o600
    assert '"d"' not in first.jwks_file.read_text()
    again = Issuer(tmp_path, ISSUER, AUDIENCE)
    assert TokenVerifier(again.jwks_file, ISSUER, AUDIENCE).verify(token).subject == "ana"


def test_a_rotated_key_is_seen_without_a_restart(tmp_path: Path) -> None:
    old, new = Issuer(tmp_path / "old", ISSUER, AUDIENCE), Issuer(tmp_path / "new", ISSUER, AUDIENCE)
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(old.jwks_file.read_bytes())
    verifier = TokenVerifier(jwks, ISSUER, AUDIENCE)
    verifier.verify(old.issue("ana"))
    with pytest.raises(Unauthorised):
        verifier.verify(new.issue("ana"))
    fresh = tmp_path / "fresh"
    fresh.write_bytes(new.jwks_file.read_bytes())
    fresh.replace(jwks)
    verifier.verify(new.issue("ana"))
    with pytest.raises(Unauthorised):
        verifier.verify(old.issue("ana"))


def test_a_half_written_key_file_locks_nobody_out(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path, ISSUER, AUDIENCE)
    verifier = TokenVerifier(issuer.jwks_file, ISSUER, AUDIENCE)
    issuer.jwks_file.write_text('{"keys": [')
    assert verifier.verify(issuer.issue("ana")).subject == "ana"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}']
)
def test_a_key_file_without_public_keys_is_refused_at_start(tmp_path: Path, content: str) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(content)
    with pytest.raises(SettingsError, match="TENURE_AUTH_JWKS_FILE"):
        TokenVerifier(jwks, ISSUER, AUDIENCE)


def test_endpoints_answer_401_403_or_let_pass(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path, ISSUER, AUDIENCE)
    verifier = TokenVerifier(issuer.jwks_file, ISSUER, AUDIENCE)
    app = FastAPI()
    problems.install(app)

    @app.get("/mine", dependencies=[Depends(authenticated(verifier))])
    async def mine() -> str:
        return "yours"

    @app.get("/operate", dependencies=[Depends(require_role("operator", verifier))])
    async def operate() -> str:
        return "done"

    client = TestClient(app)

    def status(path: str, token: str | None) -> int:
        return client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {}).status_code

    assert (status("/mine", None), status("/mine", "x"), status("/mine", issuer.issue("ana"))) == (401, 401, 200)
    assert status("/operate", issuer.issue("ana")) == 403
    assert status("/operate", issuer.issue("ana", ["operator"])) == 200
    assert status("/operate", issuer.issue("ana", ["admin"])) == 200
    refused = client.get("/mine", headers={"Authorization": "Bearer x"})
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json() == client.get("/mine").json()
    assert client.get("/mine", headers={"Authorization": "Basic YTpi"}).status_code == 401
