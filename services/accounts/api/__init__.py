"""The HTTP API of accounts, one module for each resource; `access` says who may see and change what."""

from collections.abc import Sequence
from datetime import tzinfo

from fastapi import APIRouter, FastAPI

from services.accounts.api import (
    accounts,
    contacts,
    doubles,
    groups,
    identities,
    imports,
    interactions,
    merges,
    people,
    rules,
    unmatched,
)
from services.accounts.api.access import Desk
from services.runtime import openapi, problems
from services.runtime.limits import Limits

_IMPORT_LIMIT = 16 * 1024 * 1024
_REHEARSAL_LIMIT = 4 * 1024 * 1024


def resources(desk: Desk, zone: tzinfo) -> list[APIRouter]:
    """Return every resource of accounts."""
    modules = (accounts, merges, contacts, identities, groups, people, interactions, unmatched, doubles, rules)
    return [*(module.router(desk) for module in modules), imports.router(desk, zone)]


def build_api(routers: Sequence[APIRouter]) -> FastAPI:
    """Return the application with these resources."""
    api = FastAPI(title="Tenure accounts", version="1", docs_url=None, redoc_url=None, openapi_url=openapi.URL)
    for router in routers:
        api.include_router(router)
    api.add_middleware(Limits, routes={"/v1/imports": _IMPORT_LIMIT, "/v1/rehearsals": _REHEARSAL_LIMIT})
    problems.install(api)
    openapi.publish(api, "Accounts, contacts and their identities, people, interactions and what belongs to whom.")
    return api
