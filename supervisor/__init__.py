"""The supervisor's rooms; `auto_cmd.py` is its door."""
