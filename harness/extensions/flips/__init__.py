"""A picture of where the choice of a format flips: one bar per weight of a use, divided by the cheapest format."""
