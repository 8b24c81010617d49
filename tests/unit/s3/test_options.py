"""What the URL of a bucket can say, and what is said of a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_adapters.s3.options import S3Options
from agenttrace_adapters.s3.ranges import piece, requests_for
from agenttrace_core.errors import ConfigurationError


def test_all_of_it() -> None:
    """Each option reaches the place that it is for."""
    options = S3Options.from_url(
        "s3://AK:se%2Fcret@bucket/a/b/?endpoint=https://minio.example:9000/&region=eu-north-1&profile=p&path_style=false"
        "&sse=aws:kms&kms_key_id=arn:aws:kms:eu-north-1:1:key/k&storage_class=STANDARD_IA&checksums=false"
        "&part_bytes=5242880&connections=8&timeout=2.5&retry_for=0"
    )
    assert options == S3Options(
        "bucket", "a/b/", "https://minio.example:9000", "eu-north-1", "p", "AK", "se/cret", path_style=False,
        sse="aws:kms", kms_key_id="arn:aws:kms:eu-north-1:1:key/k", storage_class="STANDARD_IA", checksums=False,
        part_bytes=5242880, connections=8, timeout_s=2.5, retry_for_s=0,
    )  # fmt: skip
    assert "cret" not in repr(options)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket?"])
def test_a_bucket_alone(url: str) -> None:
    """A prefix is nobody's duty."""
    assert S3Options.from_url(url) == S3Options("bucket")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3:bucket", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://b!/x", "names no bucket"),
        ("s3://bucket/a//b", "key 'a//b'"),
        ("s3://bucket/a b", "key 'a b'"),
        ("s3://bucket#x", "names no bucket"),
        ("s3://only-a-key@bucket", "KEY:SECRET@"),
        ("s3://bucket?regoin=x", "option 'regoin' is unknown; known are checksums, connections, endpoint"),
        ("s3://bucket?region", "cannot be read"),
        ("s3://bucket?region=", "option region=''"),
        ("s3://bucket?endpoint=minio:9000", "option endpoint='minio:9000': wanted is a URL"),
        ("s3://bucket?endpoint=http://a:b@minio", "without a path or credentials"),
        ("s3://bucket?path_style=yes", "wanted is true or false"),
        ("s3://bucket?sse=aes", "wanted is AES256 or aws:kms"),
        ("s3://bucket?kms_key_id=k", "it goes with sse=aws:kms"),
        ("s3://bucket?storage_class=cold", "such as STANDARD"),
        ("s3://bucket?part_bytes=100", "at least 5242880"),
        ("s3://bucket?connections=0", "at least 1"),
        ("s3://bucket?timeout=soon", "number of seconds"),
        ("s3://bucket?retry_for=nan", "number of seconds"),
    ],
)
def test_what_is_wrong_is_named(url: str, told: str) -> None:
    """An operator sees which part of a long URL to change, and what would be right."""
    with pytest.raises(ConfigurationError) as refused:
        S3Options.from_url(url)
    assert told in str(refused.value)
    assert "write it like 's3://bucket/prefix?" in str(refused.value)


def test_secrets_are_not_told() -> None:
    """Messages end in logs."""
    with pytest.raises(ConfigurationError) as refused:
        S3Options.from_url("s3://key:hush@bucket?regoin=x")
    assert "hush" not in str(refused.value)


@given(
    st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 200_000)), max_size=8),
    st.sampled_from([1_000, 65_536, 300_000]),
)
def test_ranges_are_put_together_as_they_were_asked(ranges: list[tuple[int, int]], most: int) -> None:
    """A byte too many or too few is another row."""
    body = bytes(n * 7 % 251 for n in range(251)) * 2_800
    asked = requests_for(ranges, most)
    assert all(0 < length <= most for _, length in asked)
    assert asked == sorted(asked)
    got = {offset: body[offset : offset + length] for offset, length in asked}
    for offset, length in ranges:
        assert piece(got, offset, length) == body[offset : offset + length]


def test_neighbours_are_one_request() -> None:
    """Each request costs a round trip; a long one holds all others up."""
    assert requests_for([(100, 50), (0, 100), (150, 10)], 1 << 20) == [(0, 160)]
    assert requests_for([(0, 10), (10 + (64 << 10), 10)], 1 << 20) == [(0, 20 + (64 << 10))]
    assert requests_for([(0, 10), (11 + (64 << 10), 10)], 1 << 20) == [(0, 10), (11 + (64 << 10), 10)]
    assert requests_for([(0, 2_500)], 1_000) == [(0, 1_000), (1_000, 1_000), (2_000, 500)]
    assert requests_for([(5, 0)], 1_000) == []
