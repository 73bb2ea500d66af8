"""The chunker's promises: one rule, many forms, the same cuts for ever."""

from __future__ import annotations

import random
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import RemoteRefused
from syncd.format import chunker
from syncd.format.chunker import DEFAULT, WINDOW, Cutter, K, M, Params
from syncd.format.digest import hash_bytes

CUTTERS = [chunker.load(variant=name) for name in chunker.variants()]
NATIVE = [cutter for cutter in CUTTERS if cutter.name != "python"]
SMALL = Params("quad16-1", 64, 64, 512)
needs_native = pytest.mark.skipif(not NATIVE, reason="the extension is not built: apt install gcc python3-dev")


@pytest.fixture(params=CUTTERS, ids=lambda cutter: cutter.name)
def cutter(request: pytest.FixtureRequest) -> Cutter:
    return request.param


def by_the_book(data: bytes, params: Params, final: bool) -> list[int]:
    """The decision record's definition, written as plainly as it can be."""

    def word(end: int) -> int:
        return int.from_bytes(data[end - 3 : end + 1], "little")

    def cuts(i: int) -> bool:
        h = sum(M[t] * K[j] * word(i - 64 * t - 4 * j) for t in range(4) for j in range(4)) % 2**32
        return 2**31 - 2**32 // params.average <= h < 2**31

    ends: list[int] = []
    start = 0
    for i in range(len(data)):
        length = i + 1 - start
        if length == params.maximum or (length >= max(params.minimum, WINDOW) and cuts(i)):
            start = i + 1
            ends.append(start)
    return [*ends, len(data)] if final and start < len(data) else ends


@st.composite
def small_params(draw: st.DrawFn) -> Params:
    minimum = draw(st.integers(64, 400))
    average = minimum + draw(st.integers(0, 300))
    return Params("quad16-1", minimum, average, average + draw(st.integers(0, 900)))


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Random, repeating, constant and mixed data: a seed and a shape, so that thousands of bytes cost no choices."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        size = draw(st.integers(0, 3000))
        unit = rng.randbytes(draw(st.sampled_from([1, 2, 7, 45, 300, 4000])))
        parts.append((unit * (size // len(unit) + 1))[:size])
    return b"".join(parts)


@given(texts(), small_params(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_form_gives_the_same_cuts(data: bytes, params: Params, final: bool) -> None:
    cuts = {cutter.name: cutter.boundaries(memoryview(data), params, final) for cutter in CUTTERS}
    assert all(ends == cuts["python"] for ends in cuts.values()), cuts


@given(texts(), small_params(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_cuts_are_those_of_the_written_definition(data: bytes, params: Params, final: bool) -> None:
    assert chunker.load().boundaries(memoryview(data), params, final) == by_the_book(data, params, final)


@given(texts(), small_params(), st.lists(st.integers(1, 2500), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_split_into_windows_gives_the_same_chunks(data: bytes, params: Params, windows: list[int]) -> None:
    cutter = chunker.load()
    whole = cutter.boundaries(memoryview(data), params, True)
    ends, at, end, turn = [], 0, 0, 0
    while end < len(data):
        end = min(len(data), end + windows[turn % len(windows)])
        turn += 1
        ends += [at + cut for cut in cutter.boundaries(memoryview(data)[at:end], params, end == len(data))]
        at = ends[-1] if ends else 0
    assert ends == whole


@given(texts(), small_params())
@settings(max_examples=100, deadline=None)
def test_chunks_join_to_the_data_and_keep_their_bounds(data: bytes, params: Params) -> None:
    ends = chunker.load().boundaries(memoryview(data), params, True)
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert sum(sizes) == len(data)
    assert all(size <= params.maximum for size in sizes)
    assert all(size >= params.minimum for size in sizes[:-1])
    assert all(size > 0 for size in sizes)


@given(texts(), small_params())
@settings(max_examples=50, deadline=None)
def test_without_final_only_the_unsettled_tail_is_left_out(data: bytes, params: Params) -> None:
    cutter = chunker.load()
    open_ended = cutter.boundaries(memoryview(data), params, False)
    assert cutter.boundaries(memoryview(data), params, True)[: len(open_ended)] == open_ended
    assert len(data) - (open_ended[-1] if open_ended else 0) < params.maximum


def test_an_edit_moves_only_the_cuts_near_it(cutter: Cutter) -> None:
    params = Params("quad16-1", 256, 1024, 8192)
    data = random.Random(5).randbytes(200_000)
    for edited in (
        data[:100_000] + b"inserted" + data[100_000:],
        data[:100_000] + data[100_777:],
        data[:100_000] + bytes(100) + data[100_100:],
    ):
        chunks, again = (
            {bytes(text[a:b]) for a, b in zip([0, *ends], ends, strict=False)}
            for text in (data, edited)
            for ends in [cutter.boundaries(memoryview(text), params, True)]
        )
        assert sum(map(len, again - chunks)) < 20 * params.average


# ---- goldens: these numbers are the format. If one changes, old repositories stop deduplicating: make a new id. ----

GOLDEN_SMALL = [576, 1227, 2488, 3461, 4154, 6373, 6977, 8985, 9364, 10208, 11043, 13098, 13405, 14138, 15397, 16000]
GOLDEN_DEFAULT = [148885, 366560, 518558, 1020489, 2097152]
GOLDEN_PERIODIC = [481, 2635, 3144, 4408, 5421, 7182, 7903, 9276, 10281, 10887, 11242, 11903]


def fixed_bytes(size: int) -> bytes:
    """BLAKE3 of a counter: the same everywhere, independent of any library's random numbers."""
    return b"".join(hash_bytes(n.to_bytes(8, "little")) for n in range(size // 32 + 1))[:size]


def test_the_cuts_of_a_fixed_input_never_change_small_sizes(cutter: Cutter) -> None:
    data = memoryview(fixed_bytes(16_000))
    assert cutter.boundaries(data, Params("quad16-1", 256, 1024, 4096), True) == GOLDEN_SMALL


def test_the_cuts_of_a_fixed_input_never_change_default_sizes(cutter: Cutter) -> None:
    assert (DEFAULT.id, DEFAULT.minimum, DEFAULT.average, DEFAULT.maximum) == ("quad16-1", 65536, 196608, 2097152)
    assert cutter.boundaries(memoryview(fixed_bytes(2 << 20)), DEFAULT, True) == GOLDEN_DEFAULT


def test_the_cuts_of_a_text_never_change(cutter: Cutter) -> None:
    data = b"".join(b"%d,%d,ok\n" % (n, n * n % 97) for n in range(1200))
    assert cutter.boundaries(memoryview(data), Params("quad16-1", 256, 1024, 4096), True) == GOLDEN_PERIODIC


def test_constant_data_is_never_cut_before_the_maximum(cutter: Cutter) -> None:
    params = Params("quad16-1", 64, 64, 256)
    for value in range(256):
        assert cutter.boundaries(memoryview(bytes([value]) * 600), params, True) == [256, 512, 600]


# ---- arguments ------------------------------------------------------------------------------------------------------


def test_empty_data_has_no_chunk(cutter: Cutter) -> None:
    assert cutter.boundaries(memoryview(b""), DEFAULT, True) == []
    assert cutter.boundaries(memoryview(b""), DEFAULT, False) == []


def test_a_maximum_below_the_window_cuts_at_the_maximum(cutter: Cutter) -> None:
    data = memoryview(fixed_bytes(1000))
    assert cutter.boundaries(data, Params("quad16-1", 64, 64, 100), False) == list(range(100, 1001, 100))


@pytest.mark.parametrize(
    "sizes", [(0, 0, 0), (63, 64, 64), (64, 63, 64), (64, 65, 64), (64, 64, (16 << 20) + 1), (-1, -1, -1)]
)
def test_sizes_out_of_bounds_are_refused(cutter: Cutter, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(RemoteRefused, match="must rise"):
        cutter.boundaries(memoryview(b"x"), Params("quad16-1", *sizes), True)


def test_an_unknown_chunker_is_refused_by_name(cutter: Cutter) -> None:
    with pytest.raises(RemoteRefused, match="'quad99-1'"):
        cutter.boundaries(memoryview(b"x"), Params("quad99-1", 64, 64, 64), True)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="no chunker 'native-abacus'"):
        chunker.load(variant="native-abacus")


def test_pure_means_python() -> None:
    assert chunker.load(pure=True).name == "python"


@needs_native
@given(st.lists(st.one_of(st.integers(-(2**70), 2**70), st.integers(0, 300)), min_size=3, max_size=3))
@settings(max_examples=300, deadline=None)
def test_the_extension_survives_any_sizes(sizes: list[int]) -> None:
    from syncd.format import _cut

    try:
        ends = _cut.boundaries(bytes(1000), *sizes, True)
    except ValueError:
        return
    assert ends[-1] == 1000


@needs_native
@pytest.mark.parametrize(
    "wrong",
    [
        (),
        (b"",),
        ("text", 64, 64, 64, 1),
        (None, 64, 64, 64, 1),
        (b"", 1.5, 64, 64, 1),
        (b"", None, 64, 64, 1),
        (b"", 64, 64, 64, 1, 7),
        (b"", 64, 64, 64, 1, "avx2", 0),
    ],
)
def test_the_extension_refuses_wrong_types(wrong: tuple[object, ...]) -> None:
    from syncd.format import _cut

    with pytest.raises(TypeError):
        _cut.boundaries(*wrong)


@needs_native
def test_the_extension_refuses_unknown_variants_and_scattered_buffers() -> None:
    from syncd.format import _cut

    assert _cut.variant() == _cut.variants()[0]
    with pytest.raises(ValueError, match="abacus"):
        _cut.boundaries(b"", 64, 64, 64, True, "abacus")
    with pytest.raises(BufferError):
        _cut.boundaries(memoryview(bytes(10))[::2], 64, 64, 64, True)


@needs_native
def test_no_reference_is_leaked() -> None:
    from syncd.format import _cut

    data = bytearray(5000)
    before = sys.getrefcount(data)
    for _ in range(50):
        _cut.boundaries(data, 64, 100, 64, True)
        with pytest.raises(ValueError, match="minimum"):
            _cut.boundaries(data, 0, 100, 64, True)
    assert sys.getrefcount(data) == before
    data.append(0)  # a buffer still exported would refuse to grow


@needs_native
def test_other_threads_run_while_it_cuts() -> None:
    """The last thread starts only if the GIL was let go: none of the buffers is cut in a single switch interval."""
    from syncd.format import _cut

    interval = sys.getswitchinterval()
    sys.setswitchinterval(30)  # nobody is asked to give up the GIL: it passes on only where somebody releases it
    try:
        entered = threading.Event()
        ended: list[str] = []

        def cut() -> None:
            entered.set()
            _cut.boundaries(bytes(24 << 20), 64, 1 << 20, 1 << 20, True, "plain")
            ended.append("cut")

        thread = threading.Thread(target=cut)
        thread.start()
        entered.wait()
        ended.append("other")
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ended == ["other", "cut"]
