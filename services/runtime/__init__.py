"""Process plumbing without a business word: broker, batch consumer, outbox, dead letters, Postgres, telemetry, health.

Every service is built from these parts, wired in its `app.py`. Nothing here knows what an account is.
"""
