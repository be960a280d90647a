from harness.api.arrays import TraceArray as TraceArray
from harness.api.comparing import FormatComparison as FormatComparison
from harness.api.comparing import compare_formats as compare_formats
from harness.api.creating import TraceWriter as TraceWriter
from harness.api.creating import create as create
from harness.api.opening import OpenTrace as OpenTrace
from harness.api.opening import open as open
from harness.errors import HarnessError as HarnessError

__version__: str
__all__ = [
    "FormatComparison",
    "HarnessError",
    "OpenTrace",
    "TraceArray",
    "TraceWriter",
    "compare_formats",
    "create",
    "open",
]
