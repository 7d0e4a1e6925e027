"""The machine that Detent runs on: settings, run files, ports, logs. Below the adapters. Start at ``config.py``."""
