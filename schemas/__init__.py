"""What travels through headwater: events, output records, reasons, topics, settings.

Rule: this package imports nothing else of ours, so every room may rely on it.
"""
