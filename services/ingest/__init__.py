"""The only door for events: webhooks, CloudEvents, mail and imports come in, reports go to `tenure.interactions`."""
