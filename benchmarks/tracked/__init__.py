"""The suites as asv benchmarks: the plans, the verified samples and the formats of ``harness run``, run by asv.

asv imports every file here and treats every public class with a method named ``time_...``, ``track_...`` or
``peakmem_...`` as a benchmark, so base classes have private names. Modules import each other relatively, because asv
imports this folder under its last name; everything else comes from the installed harness, which is the one measured.
"""
