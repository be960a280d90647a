"""Say what in harness/run/newest.toml is behind the libraries that are installed here; end with 1 where anything is."""

import sys
from importlib import metadata

from harness.run.newest_releases import behind, newest

found = behind(newest(), {one.metadata["Name"]: one.version for one in metadata.distributions()})
print("\n".join(found) or "Nothing in harness/run/newest.toml is behind.")
sys.exit(bool(found))
