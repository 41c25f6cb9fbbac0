"""The parts of `speed.py`: `models` says what is asked of each family, `rows` runs contestants in turns."""
