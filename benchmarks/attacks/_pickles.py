"""Pickles that try to run something, or to make a reader take memory or time without end."""

from __future__ import annotations

import pickle
import struct

_START = b"\x80\x04"
_TWICE = b"K\x01\x85\x94" + b"".join(b"0h%ch%c\x86\x94" % (n, n) for n in range(45))
"""A tuple that holds the one before twice, 45 times: a few hundred bytes, and 2**45 items to hash."""


def hostile(witness: str) -> dict[str, bytes]:
    """Return pickles by what they try.

    Parameters
    ----------
    witness : str
        The file that one which is executed would make.
    """
    return {**_endless(), **_executing(witness)}


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _doubled() -> dict[str, bytes]:
    dtype = _global("numpy", "dtype")
    return {
        "doubled tuple as key": _START + b"}" + _TWICE + b"Ns.",
        "doubled tuple as keys": _START + b"}(" + _TWICE + b"Nu.",
        "doubled tuple in a set": _START + b"\x8f(" + _TWICE + b"\x90.",
        "doubled tuple in a frozenset": _START + b"(" + _TWICE + b"\x91.",
        "set of a list with it": _START + _global("builtins", "set") + b"](" + _TWICE + b"e\x85R.",
        "frozenset of it": _START + _global("builtins", "frozenset") + _TWICE + b"\x85R.",
        "dtype of it": _START + dtype + _TWICE + b"\x85R.",
        "dtype of it, with more": _START + dtype + _TWICE + b"\x89\x88\x87R.",
        "ordered dictionary of it": _START + _global("collections", "OrderedDict") + b"](" + _TWICE + b"N\x86e\x85R.",
        "shape of it": _START + _array(_TWICE),
        "text of it": _START + _global("_codecs", "encode") + _TWICE + b"\x85R.",
        "doubled list": _START + b"]\x94" + b"".join(b"]\x94(h%ch%ce" % (n, n) for n in range(40)) + b".",
        "doubled dictionary": _START
        + b"}\x94"
        + b"".join(b"}\x94(K\x00h%cK\x01h%cu" % (n, n) for n in range(40))
        + b".",
        "array of doubled lists": _START
        + b"]\x94"
        + b"".join(b"]\x94(h%ch%ce" % (n, n) for n in range(40))
        + b"0"
        + _array(b"K\x01\x85", b"]h\x28a", "O8"),
        "list in itself": _START + b"]\x94h\x00a.",
    }


def _array(shape: bytes, raw: bytes = b"C\x00", dtype: str = "f4") -> bytes:
    """Return what makes an array of a shape that is given as opcodes."""
    made = _global("numpy", "dtype") + _text(dtype) + b"\x89\x88\x87R"
    return _global("numpy", "ndarray") + b")R(K\x01" + shape + made + b"\x89" + raw + b"tb."


def _numbers() -> dict[str, bytes]:
    huge = b"\x8a\xff" + b"\x7f" * 255
    colliding = b"".join(pickle.dumps(n * ((1 << 61) - 1), 2)[2:-1] + b"N" for n in range(30_000))
    pairs = [(n, _partner(n)) for n in range(20_000)]
    return {
        "colliding numbers": _START + b"}(" + colliding + b"u.",
        "colliding numbers in a set": pickle.dumps({n * ((1 << 61) - 1) for n in range(30_000)}, 4),
        "colliding floats": pickle.dumps({2.0**n: None for n in range(-1000, 1000)}, 4),
        "tuples by the thousand as keys": pickle.dumps(dict.fromkeys(pairs), 4),
        "shape of huge numbers": _START + _array(b"(" + huge * 30_000 + b"t"),
        "shape of many axes": _START + _array(b"(" + b"K\x01" * 400_000 + b"t"),
        "shape that overflows": _START + _array(b"(" + (b"\x8a\x08" + b"\xff" * 7 + b"\x7f") * 60 + b"K\x00t"),
        "memo of 2**28": b"\x80\x02Nr\x00\x00\x00\x10.",
        "memo of 2**32": b"\x80\x02Nr\xff\xff\xff\xff.",
        "memo as text": b"Np99999999999\n.",
        "number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "zeros by their number": _START + _global("builtins", "bytearray") + b"J\xff\xff\xff\x7f\x85R.",
    }


def _partner(number: int) -> int:
    return (number * 0x9E3779B97F4A7C15) % (1 << 60)


def _lengths() -> dict[str, bytes]:
    far = b"\xff" * 6 + b"\x7f\x00"
    return {
        "bytes of 2**55": _START + b"\x8e" + far + b"x.",
        "text of 2**55": _START + b"\x8d" + far + b"x.",
        "bytearray of 2**55": _START + b"\x96" + far + b"x.",
        "frame of 2**55": _START + b"\x95" + far + b"N.",
        "number of 2**31 bytes": _START + b"\x8b\xff\xff\xff\x7fx.",
        "buffer outside": b"\x80\x05\x97.",
        "text encoded again and again": _START
        + _global("_codecs", "encode")
        + b"\x94"
        + _text("a" * (1 << 20))
        + b"\x85\x940]("
        + b"h\x00h\x01R" * 5000
        + b"e.",
        "set of a list again and again": _START
        + _global("builtins", "set")
        + b"\x94]("
        + b"N" * 200_000
        + b"e\x85\x940]("
        + b"h\x00h\x01R" * 5000
        + b"e.",
        "key of a megabyte": _START + b"}" + _text("k" * (1 << 20)) + b"Ns.",
    }


def _many() -> dict[str, bytes]:
    empty = _global("numpy", "ndarray") + b"\x94"
    return {
        "nested lists": _START + b"]" * 500_000 + b"a" * 499_999 + b".",
        "nested tuples": _START + b")" + b"\x85" * 900_000 + b".",
        "nested dictionaries": _START + b"}K\x00" * 300_000 + b"N" + b"s" * 300_000 + b".",
        "a million sets": _START + b"](" + b"\x8f" * 990_000 + b"e.",
        "a million dictionaries": _START + b"](" + b"}\x94" * 490_000 + b"e.",
        "a million marks": _START + b"(" * 990_000 + b".",
        "two million opcodes": _START + b"](" + b"N" * 2_000_000 + b"e.",
        "arrays by the thousand": _START + b"}" + empty + b"0(" + _named(300_000) + b"u.",
        "results by the thousand": pickle.dumps({"plddt": 1.0, **{f"k{n}": 1.0 for n in range(300_000)}}, 4),
        "one array a million times": _START + empty + b")R\x940](" + b"h\x01" * 990_000 + b"e.",
        "ordered dictionaries": _START
        + _global("collections", "OrderedDict")
        + b"\x940]("
        + b"h\x00)R" * 320_000
        + b"e.",
    }


def _named(count: int) -> bytes:
    return b"".join(b"J" + struct.pack("<i", number) + b"h\x00)R" for number in range(count // 2))


def _endless() -> dict[str, bytes]:
    return {**_doubled(), **_numbers(), **_lengths(), **_many()}


def _executing(witness: str) -> dict[str, bytes]:
    command = _text(f"touch {witness}")
    calls = {
        "os.system": b"cos\nsystem\n" + command + b"\x85R.",
        "posix.system by the stack": _text("posix") + _text("system") + b"\x93" + command + b"\x85R.",
        "builtins.eval": b"cbuiltins\neval\n" + _text(f"open({witness!r}, 'w')") + b"\x85R.",
        "builtins.exec": b"c__builtin__\nexecfile\n" + command + b"\x85R.",
        "subprocess.Popen": b"csubprocess\nPopen\n" + command + b"\x85R.",
        "numpy's f2py": b"cnumpy.f2py\ncompile\n" + command + b"\x85R.",
        "numpy.load": b"cnumpy\nload\n" + _text(witness) + b"\x85R.",
        "a name within a name": b"cnumpy\ndtype.__init__.__globals__\n.",
        "an object of a class": b"(cos\nsystem\n" + command + b"o.",
        "an instance by text": b"(S'touch'\nios\nsystem\n.",
        "a new object": b"cos\nsystem\n" + command + b"\x85\x81.",
        "a new object with names": b"cos\nsystem\n" + command + b"\x85}\x92.",
        "what a function holds": b"cnumpy\ndtype\n}" + _text("_call") + b"cos\nsystem\nsb.",
        "what an array holds": b"cnumpy\nndarray\n)R}" + _text("__class__") + b"cos\nsystem\nsb.",
        "an extension code": b"\x82\x01.",
        "something outside": b"Pid\n.",
        "something outside by the stack": command + b"Q.",
        "jax with another function": b"cjax._src.array\n_reconstruct_array\n(cos\nsystem\n" + command + b"\x85)Nt\x52.",
    }
    return {f"runs {name}": _START + data for name, data in calls.items()}
