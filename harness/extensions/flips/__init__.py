"""Where the choice of a format flips, as a picture: a bar for every weight of a use, divided by the cheapest format."""
