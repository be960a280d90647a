"""Where the time of a read goes: its parts, each measured."""
