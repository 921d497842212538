"""The HTTP API: alerts for the people who look after accounts, rules and deliveries for operators."""

from services.notifier.api.app import create_api

__all__ = ["create_api"]
