"""How small a trace could be under a stated model of its values, beside how small the formats make it."""
