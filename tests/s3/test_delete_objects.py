"""DeleteObjects."""

import base64
import hashlib

import pytest

from helpers import put_all

STRANGE = ["a", "a b", "ü/+%", "/", "a/..", "//", "x&<y>", "missing"]


def test_delete(s3, other, bucket):
    put_all(s3, bucket, STRANGE[:-1])
    answer = other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in STRANGE]})
    assert sorted(item["Key"] for item in answer["Deleted"]) == sorted(STRANGE)
    assert "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_quiet(s3, bucket):
    put_all(s3, bucket, ["a"])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}], "Quiet": True})
    assert "Deleted" not in answer and "Errors" not in answer


def test_null_version(s3, bucket):
    put_all(s3, bucket, ["a"])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a", "VersionId": "null"}]})
    assert answer["Deleted"][0]["Key"] == "a"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def post(wire, bucket, text, headers=None):
    body = text if isinstance(text, bytes) else text.encode()
    if headers is None:
        headers = [("content-md5", base64.b64encode(hashlib.md5(body).digest()).decode())]
    return wire.request("POST", f"/{bucket}", [("delete", "")], headers, body)


def test_thousand_is_the_most(wire, bucket):
    def document(count):
        return "<Delete>" + "".join(f"<Object><Key>k{i}</Key></Object>" for i in range(count)) + "</Delete>"
    assert post(wire, bucket, document(1000)).status == 200
    answer = post(wire, bucket, document(1001))
    assert (answer.status, answer.code) == (400, "MalformedXML"), answer


@pytest.mark.parametrize("text", ["", "<Delete>", "<Delete></Delete>", "<Other/>", "not xml", "<Delete><Object/></Delete>",
                                  '<!DOCTYPE d [<!ENTITY e "x">]><Delete><Object><Key>&e;</Key></Object></Delete>',
                                  "<a>" * 100000, "<Delete><Object><Key></Key></Object></Delete>"])
def test_malformed(wire, bucket, text):
    answer = post(wire, bucket, text)
    assert answer.status == 400, answer
    assert answer.code in ("MalformedXML", "MissingRequestBodyError", "UserKeyMustBeSpecified", "InvalidRequest"), answer


def test_digest_is_checked(wire, bucket):
    text = "<Delete><Object><Key>a</Key></Object></Delete>"
    answer = post(wire, bucket, text, [("content-md5", base64.b64encode(b"0" * 16).decode())])
    assert (answer.status, answer.code) == (400, "BadDigest"), answer
