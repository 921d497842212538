"""Bearer tokens at the doors for operators."""

from starlette.requests import Request

from services.runtime.auth import Caller, TokenVerifier, Unauthorised
from services.runtime.problems import Problem


def operator(request: Request, verifier: TokenVerifier | None) -> Caller:
    """Return the verified operator or admin who calls; raise 401 or 403."""
    return operator_of(request.headers.get("authorization", ""), verifier)


def operator_of(authorization: str, verifier: TokenVerifier | None) -> Caller:
    """Return the verified operator or admin whose bearer token a header holds; raise 401 or 403."""
    scheme, _, token = authorization.partition(" ")
    try:
        if verifier is None or scheme.lower() != "bearer":
            raise Unauthorised
        caller = verifier.verify(token.strip())
    except Unauthorised as refused:
        challenge = {"WWW-Authenticate": "Bearer"}
        raise Problem(
            401, "Not authenticated", f"{refused}; sign in again.", "unauthorised", headers=challenge
        ) from None
    if not (caller.is_admin or "operator" in caller.roles):
        raise Problem(403, "Not allowed", "This needs the role operator; ask your administrator.", "forbidden")
    return caller
