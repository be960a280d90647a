"""Where archives can live besides a local folder: an object store, read through one counted client."""
