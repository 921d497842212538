"""Metrics: rolling KPIs in event time. Late, corrected and withdrawn events restate them, for any past day."""
