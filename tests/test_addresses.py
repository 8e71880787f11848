"""Addresses of studies in buckets: what is one, and that no secret in one, or in what a store says, is repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nondet.errors import BadInput
from nondet.study.places import address_of
from nondet.study.places import objects as buckets
from nondet.study.places.objects import Objects

Nondet = Callable[..., Any]
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIANAMEOFNOBODY", "AWS_SECRET_ACCESS_KEY": "nobodymayreadthis"}


def test_addresses() -> None:
    assert address_of("s3://bucket/a/b/") == "s3://bucket/a/b"
    assert address_of(Path("s3://bucket/a")) == "s3://bucket/a"
    assert address_of("gs:/bucket") == "gs://bucket"
    assert address_of("S3://bucket/run 1/\u00fc") == "s3://bucket/run 1/\u00fc"
    assert [address_of(other) for other in ("studies/a", "s3", "s3:a", 3)] == [None] * 4


HIDDEN = "nobodymay/readthis"


@pytest.mark.parametrize(
    "given",
    [
        f"s3://AKIANAMEOFNOBODY:{HIDDEN}@studies/a",
        f"s3://studies/a?X-Amz-Signature={HIDDEN}",
        f"az://studies/a#{HIDDEN}",
        f"https://studies.s3.amazonaws.com/a?X-Amz-Signature={HIDDEN}",
        f"s3a://studies/{HIDDEN}",
        "s3://",
        "s3://-a/b",
        "s3://studies:80/a",
        "s3://stu\x1b[31mdies/a",
        "s3://studies/a\nb",
        "s3://studies/a\u202eb",
        "s3://studies/../other",
        "s3://studies/%2e%2e/a",
        "s3://studies/a\\b",
    ],
)
def test_an_address_that_is_none(given: str, tiny: Path, nondet: Nondet, tmp_path: Path) -> None:
    """It is refused by one sentence that does not repeat it, whatever the command, and nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    for words in (
        ("run", tiny, "--runs", 2, "--vary", "init", "--study", given),
        ("work", given, "--run-task"),
        ("status", given),
        ("show", given),
        ("pull", given, tmp_path / "copy"),
        ("push", tmp_path / "nothing", given),
        ("doctor", given),
    ):
        ran = nondet(*words)
        assert (ran.code, ran.out) == (2, "")
        assert "give credentials in environment variables" in ran.err
        assert ran.err.count("\n") == 1
        assert not any(word in ran.err for word in ("AKIANAME", "nobodymay", "readthis", "\x1b", "\u202e"))
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_store_says_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what stands before an @ in an endpoint's address, nor what follows a question mark."""
    for name, value in {**SECRETS, "AWS_ENDPOINT_URL": "http://me:nobodymayreadthis@127.0.0.1:9/a?b=c"}.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("obstore", reason="needs obstore")
    monkeypatch.setattr(buckets, "_RETRIES", {"max_retries": 0})
    with pytest.raises(BadInput, match="must be a place in a bucket") as refused:
        Objects("s3://studies/a").read("study.json")
    assert not any(secret in str(refused.value) for secret in (*SECRETS.values(), "me:"))
    error = ValueError("GET http://me:nobodymayreadthis@host/a?token=1 failed")
    assert buckets._in_short(error) == "GET http://host/a failed"
