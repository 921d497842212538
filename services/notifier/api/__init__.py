"""The HTTP API: alerts for the people who look after accounts, rules and deliveries for operators."""

from services.notifier.api.app import create_api
from services.notifier.api.scope import Scope, Tables

__all__ = ["Scope", "Tables", "create_api"]
