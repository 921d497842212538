"""Brightwell Instruments, a made-up maker of measuring instruments: its customers, people and a scripted history."""
