"""The suites as asv benchmarks: the plans, the verified samples and the formats of ``harness run``, run by asv.

asv imports every file here and takes every public class with a method named ``time_...``, ``track_...`` or
``peakmem_...`` for a benchmark, so bases have private names. Modules import each other relatively, for asv imports
this folder under its last name; everything else comes from the harness that is installed, which is the one measured.
"""
