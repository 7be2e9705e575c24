"""Messages: what openpi-client writes is read and the other way round; nothing else is, and nothing is run."""

import pickle

import msgpack
import numpy as np
import pytest

from mp_lib.acting.packing import MOST_CONTAINERS, MOST_ENTRIES, Text, pack, unpack
from mp_lib.model.arrays import as_numbers
from mp_lib.system.errors import InputError

KINDS = ("<f2", "<f4", "<f8", ">f4", "|i1", "|u1", "<i2", "<u4", "<i8", ">u8", "|b1")
SHAPES = ((), (0,), (3,), (2, 3, 4), (0, 3), (1,) * 8)


def array(dtype="<f4", shape=(2,), data=bytes(8), **others):
    return msgpack.packb({b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape} | others)


def number(dtype, data):
    return msgpack.packb({b"__npgeneric__": True, b"data": data, b"dtype": dtype})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_arrays_come_back_to_the_bit(kind, shape):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    found = unpack(pack({"a": [values], "b": values.T}))
    for back, given in ((found["a"][0], values), (found["b"], values.T)):
        assert back.dtype == given.dtype and back.shape == given.shape and not back.flags.writeable
        np.testing.assert_array_equal(back, given)


def test_the_bytes_are_those_of_openpi_client():
    """Its ``packb`` of version 0.1.2 has written them."""
    observation = {"state": np.arange(2, dtype=np.float32), "seed": np.int64(7), "prompt": "go"}
    expected = (
        b"\x83\xa5state\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x08\x00\x00\x00\x00\x00\x00\x80?\xc4\x05dtype\xa3<f4"
        b"\xc4\x05shape\x91\x02\xa4seed\x83\xc4\r__npgeneric__\xc3\xc4\x04data\x07\xc4\x05dtype\xa3<i8\xa6prompt\xa2go"
    )
    assert pack(observation) == expected
    found = unpack(expected)
    assert found["state"].tolist() == [0, 1] and found["seed"] == 7 and isinstance(found["seed"], np.int64)


@pytest.mark.parametrize("value", [np.array([{}]), np.array(["a"]), np.array([1j]), np.longdouble(1), {1, 2}, object()])
def test_what_is_no_plain_number_is_not_packed(value):
    with pytest.raises(TypeError, match="cannot be packed"):
        pack({"a": value})


@pytest.mark.parametrize("values", [np.array("go"), np.array(["a", "bcd"]), np.array([b"x"]), np.array(["a"], ">U3")])
def test_an_array_of_text_may_stand_where_nobody_looks(values):
    text = array(values.dtype.str, values.shape, values.tobytes())
    found = unpack(b"\x82\xa5state" + array() + b"\xa6prompt" + text)
    assert found["state"].tolist() == [0, 0] and found["prompt"] == Text(values.dtype.str)
    with pytest.raises(InputError, match="state is object; give numbers"):
        as_numbers("state", found["prompt"], "(S,)")


BOMB = pickle.dumps(np.array([print], object))
REFUSED = {
    "nothing": (b"", "no msgpack"),
    "no msgpack": (b"\xc1", "no msgpack"),
    "two messages": (b"\x01\x01", "no msgpack"),
    "a torn message": (array()[:-3], "no msgpack"),
    "text that is no UTF-8": (b"\xa1\xff", "no msgpack"),
    "a pickle": (BOMB, "no msgpack"),
    "a long list that is not there": (b"\xdd\xff\xff\xff\xff", "no msgpack"),
    "long bytes that are not there": (b"\xc6\xff\xff\xff\xff", "no msgpack"),
    "a map of numbers": (b"\x81\x01\x01", "no msgpack"),
    "a list as a key": (b"\x81\x90\x01", "no msgpack"),
    "an extension": (b"\xd4\x05\x00", "no msgpack"),
    "a time": (b"\xd6\xff\x00\x00\x00\x00", "no msgpack"),
    "a list of many": (msgpack.packb([0] * (MOST_ENTRIES + 1)), "no msgpack"),
    "lists within lists": (b"\x91" * 500 + b"\x90", f"more than {MOST_CONTAINERS} lists"),
    "lists beyond any stack": (b"\x91" * 10**6, "no msgpack"),
    "maps within maps": (b"\x81\xa1a" * 500 + b"\x80", f"more than {MOST_CONTAINERS} lists"),
    "many empty lists": (msgpack.packb([[[]] * 1000] * 1000), f"more than {MOST_CONTAINERS} lists"),
    "objects": (array("|O", (1,), BOMB), r"array of '\|O' given; give plain numbers"),
    "text of no length": (array("<U", (1,)), "plain numbers"),
    "records": (array([["a", "<f4"]], (2,)), "plain numbers"),
    "a kind with a shape": (array("(2,)<f4", (1,)), "plain numbers"),
    "kinds in a row": (array("<f4,<f4", (1,)), "plain numbers"),
    "complex numbers": (array("<c8", (1,)), "plain numbers"),
    "dates": (array("<M8[s]", (1,)), "plain numbers"),
    "long doubles": (array("<f16", (1,), bytes(16)), "plain numbers"),
    "a kind with a line break": (array("<f4\n"), "plain numbers"),
    "no kind": (array(None), "plain numbers"),
    "fewer bytes": (array(shape=(3,)), "has 8 bytes; it takes 12"),
    "more bytes": (array(shape=(1,)), "has 8 bytes; it takes 4"),
    "all of the memory": (array(shape=(2**31 - 1,) * 8), "has 8 bytes; it takes"),
    "no numbers, but many": (array(shape=(0,) + (2**31 - 1,) * 7, data=b""), "no msgpack"),
    "beyond any number": (array(shape=(2**63,)), "has the shape"),
    "less than nothing": (array(shape=(-2,)), "has the shape"),
    "half a number": (array(shape=(2.0,)), "has the shape"),
    "a truth": (array(shape=(True, 2)), "has the shape"),
    "a shape that is a number": (array(shape=2), "has the shape"),
    "many axes": (array(shape=(1,) * 9, data=bytes(4)), "has the shape"),
    "text as bytes": (array(data="12345678"), "no bytes, but str"),
    "no bytes": (array(data=None), "no bytes, but NoneType"),
    "a number that is too much": (number("|i1", 300), "a number of int8 is 300"),
    "a number of text": (number("<f4", "1"), "a number of float32 is '1'"),
    "a number of objects": (number("|O", 1), "plain numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_message_is_refused_in_one_line(name):
    message, said = REFUSED[name]
    with pytest.raises(InputError, match=said) as error:
        unpack(message)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_any_bytes_are_read_or_refused():
    draw, good = np.random.default_rng(0), pack({"point_cloud": np.ones((4, 3), "f4"), "state": [1, 2.5], "a": {}})
    for _ in range(2000):
        spoilt = bytearray(good)
        for at in draw.integers(0, len(good), draw.integers(1, 4)):
            spoilt[at] = draw.integers(0, 256)
        for message in (bytes(spoilt[: draw.integers(1, len(good) + 1)]), draw.bytes(draw.integers(1, 60))):
            try:
                unpack(message)
            except InputError as error:
                assert "\n" not in str(error)
