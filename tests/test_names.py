"""Names in less room than they need: what tells them apart stays visible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ttinsys.render.names import fit_names, width_of

TEXT = st.text(st.sampled_from("ab./<>(, 漢é"), max_size=30)


def test_names_that_fit_are_not_changed() -> None:
    assert fit_names(["unet/attn1", "", "unet/attn1", "vae"], 10) == ["unet/attn1", "", "unet/attn1", "vae"]


def test_paths_lose_the_components_with_which_all_of_them_begin() -> None:
    paths = ["unet/down_blocks.0/attn1/to_q", "unet/down_blocks.0/attn2/to_k", "unet/down_blocks.0/conv"]
    assert fit_names(paths, 12) == ["…/attn1/to_q", "…/attn2/to_k", "…/conv"]
    modules = ["unet.down_blocks.0.attn1", "unet.down_blocks.0.attn2", "vae"]
    assert fit_names(modules, 10) == ["…attn1", "…attn2", "vae"]


def test_nested_ranges_of_operators_are_a_path() -> None:
    ranges = ["Epoch 2/Batch 0/aten::fill_", "Epoch 2/Batch 0/aten::conv2d"]
    assert fit_names(ranges, 16) == ["…/aten::fill_", "…/aten::conv2d"]


def test_path_that_is_still_too_long_loses_more_of_its_beginning() -> None:
    assert fit_names(["a/b/transformer_blocks.0/to_q", "a/b/norm"], 12) == ["…ocks.0/to_q", "a/b/norm"]
    assert fit_names(["captures/long/eager.sqlite"], 14) == ["…/eager.sqlite"]


def test_paths_that_end_alike_are_cut_where_they_differ() -> None:
    # The last 11 characters of both are the same. Of 12, less one for the cut, a third shows the end.
    assert fit_names(["unet/up.1/attn1/core", "unet/up.2/attn1/core"], 12) == ["…/up.1/a…ore", "…/up.2/a…ore"]


def test_kernels_keep_their_beginning_and_their_end() -> None:
    kernels = ["pytorch_flash::flash_fwd_kernel<Flash_fwd_traits<64>>(params)", "elementwise_kernel<128, 4>(int, T3)"]
    assert fit_names(kernels, 16) == ["pytorch_fl…rams)", "elementwis…, T3)"]


def test_kernels_that_differ_in_their_middle_are_cut_around_it() -> None:
    kernels = [f"vectorized_elementwise_kernel<4, {functor}Functor<float>>(int, T2, T3)" for functor in ("Add", "Mul")]
    # 8 of 24 characters for the beginning, then from the difference on, a third of the rest, less 1, for the end.
    assert fit_names(kernels, 24) == ["vectoriz…AddFuncto…, T3)", "vectoriz…MulFuncto…, T3)"]


def test_cut_that_leaves_more_names_distinct_is_taken() -> None:
    # They look like paths, and differ in the beginning alone.
    assert fit_names(["first.layer.of.the.net", "other.layer.of.the.net"], 9) == ["first.…et", "other.…et"]


@given(st.lists(TEXT, max_size=8), st.integers(1, 20))
def test_no_name_is_wider_than_its_room_and_those_that_fit_are_whole(names: list[str], width: int) -> None:
    cut = fit_names(names, width)
    assert len(cut) == len(names)
    for name, text in zip(names, cut, strict=True):
        assert text == name if width_of(name) <= width else width_of(text) <= width and "…" in text
