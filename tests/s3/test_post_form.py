"""POST Object: browser forms and their policies.

AWS: "Browser-Based Uploads Using POST (AWS Signature Version 4)"."""

import datetime
import json

import pytest

from helpers import fails, read


def form(wire, bucket, conditions=None, fields=(), data=b"hello", minutes=10, change=None, sign=True, key="foo.txt",
         **send):
    """Sends a signed form whose policy covers what it sends, unless told otherwise."""
    date = wire.now()
    scope = wire.scope(date)
    base = [("key", key), ("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-credential", f"{wire.access}/{scope}"),
            ("x-amz-date", date)]
    if conditions is None:
        conditions = [["starts-with", "$key", ""]]
    expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    document = {"expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "conditions": [{"bucket": bucket}, *({name: value} for name, value in base[1:]), *conditions]}
    if change:
        document = change(document)
    text = document if isinstance(document, str) else json.dumps(document)
    policy, signature = wire.form_signature(text, date, scope)
    all_fields = [*base, *fields, ("policy", policy)] + ([("x-amz-signature", signature)] if sign else [])
    return wire.form(f"/{bucket}", all_fields, data, **send)


def refused(answer, status, code):
    assert answer is not None, "closed without an answer"
    assert (answer.status, answer.code) == (status, code), answer


def test_upload(wire, s3, bucket):
    answer = form(wire, bucket)
    assert answer.status == 204, answer
    assert answer.headers["etag"]
    assert read(s3, bucket, "foo.txt") == b"hello"


def test_by_boto(s3, bucket):
    import requests
    post = s3.generate_presigned_post(bucket, "k/${filename}", Fields={"acl": "private", "Content-Type": "a/b"},
                                      Conditions=[{"acl": "private"}, ["starts-with", "$Content-Type", "a/"],
                                                  ["content-length-range", 1, 100]])
    answer = requests.post(post["url"], data=post["fields"], files={"file": ("name.txt", b"data")}, timeout=20)
    assert answer.status_code == 204, answer.text
    got = s3.get_object(Bucket=bucket, Key="k/name.txt")
    assert (got["Body"].read(), got["ContentType"]) == (b"data", "a/b")


@pytest.mark.parametrize("size", [0, 1, 65536, 3 * 1024 * 1024 + 1])
def test_sizes(wire, s3, bucket, size):
    data = (b"\r\n--covey-form-boundar" * (size // 22 + 1))[:size]
    assert form(wire, bucket, data=data).status == 204
    assert read(s3, bucket, "foo.txt") == data


def test_success_status(wire, bucket):
    for wanted, status in (("200", 200), ("201", 201), ("204", 204), ("404", 204)):
        answer = form(wire, bucket, [["starts-with", "$key", ""], {"success_action_status": wanted}],
                      [("success_action_status", wanted)])
        assert answer.status == status, answer
    answer = form(wire, bucket, [["starts-with", "$key", ""], {"success_action_status": "201"}],
                  [("success_action_status", "201")])
    assert b"<PostResponse>" in answer.body and b"<Key>foo.txt</Key>" in answer.body


def test_redirect(wire, bucket):
    answer = form(wire, bucket, [["starts-with", "$key", ""], ["eq", "$success_action_redirect", "http://x.test/y"]],
                  [("success_action_redirect", "http://x.test/y")])
    assert answer.status == 303, answer
    assert answer.headers["location"].startswith("http://x.test/y?bucket=" + bucket)


def test_names_ignore_case(wire, s3, bucket):
    answer = form(wire, bucket, [["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"}, ["eq", "$x-AMZ-meta-A", "1"]],
                  [("aCl", "private"), ("X-Amz-Meta-a", "1")])
    assert answer.status == 204, answer
    assert s3.head_object(Bucket=bucket, Key="foo.txt")["Metadata"] == {"a": "1"}


def test_ignored_fields(wire, bucket):
    assert form(wire, bucket, fields=[("x-ignore-this", "1")]).status == 204


@pytest.mark.parametrize("conditions, fields", [
    ([["starts-with", "$key", "bar"]], ()),
    ([["eq", "$key", "foo"]], ()),
    ([{"key": "Foo.txt"}], ()),
    ([["starts-with", "$key", ""], {"acl": "public-read"}], [("acl", "private")]),
    ([["starts-with", "$key", ""], {"x-amz-meta-a": "1"}], ()),
    ([["starts-with", "$key", ""]], [("x-amz-meta-uncovered", "1")]),
    ([], ()),
])
def test_conditions_not_met(wire, s3, bucket, conditions, fields):
    refused(form(wire, bucket, conditions, fields), 403, "AccessDenied")
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key="foo.txt")


def test_other_bucket(wire, new_bucket):
    one, two = new_bucket(), new_bucket()

    def swap(document):
        document["conditions"][0] = {"bucket": two}
        return document
    refused(form(wire, one, change=swap), 403, "AccessDenied")


def test_expired(wire, bucket):
    refused(form(wire, bucket, minutes=-1), 403, "AccessDenied")


@pytest.mark.parametrize("least, most, size, code", [(0, 4, 5, "EntityTooLarge"), (6, 9, 5, "EntityTooSmall"),
                                                     (5, 5, 5, None), (0, 0, 0, None),
                                                     (0, 2000000, 3000000, "EntityTooLarge")])
def test_length_range(wire, s3, bucket, least, most, size, code):
    answer = form(wire, bucket, [["starts-with", "$key", ""], ["content-length-range", least, most]], data=b"x" * size)
    assert answer.code == code and answer.status == (400 if code else 204), answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == (0 if code else 1)


@pytest.mark.parametrize("change", [
    lambda d: "{not json", lambda d: "[]", lambda d: {**d, "expiration": "soon"},
    lambda d: {"conditions": d["conditions"]}, lambda d: {"expiration": d["expiration"]},
    lambda d: {"EXPIRATION": d["expiration"], "conditions": d["conditions"]},
    lambda d: {**d, "conditions": [{}]}, lambda d: {**d, "conditions": [["like", "$key", "x"]]},
    lambda d: {**d, "conditions": [["content-length-range", 0]]},
    lambda d: {**d, "conditions": [["content-length-range", -1, 0]]},
    lambda d: {**d, "conditions": "x"}, lambda d: {**d, "conditions": [7]},
    lambda d: "[" * 5000,
])
def test_bad_documents(wire, bucket, change):
    answer = form(wire, bucket, change=change)
    assert answer is not None and answer.status == 400, answer
    assert answer.code in ("InvalidPolicyDocument", "InvalidArgument"), answer


def test_signatures(wire, bucket):
    def bad(fields):
        return wire.form(f"/{bucket}", fields, b"x")
    date = wire.now()
    policy, signature = wire.form_signature("{}", date)
    base = [("key", "a"), ("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-date", date), ("policy", policy)]
    mine = ("x-amz-credential", f"{wire.access}/{wire.scope(date)}")
    refused(bad([*base, mine, ("x-amz-signature", signature[::-1])]), 403, "SignatureDoesNotMatch")
    refused(bad([*base, ("x-amz-credential", f"CVNOBODY/{wire.scope(date)}"), ("x-amz-signature", signature)]), 403,
            "InvalidAccessKeyId")
    answer = bad([*base, mine])
    assert answer.status in (400, 403), answer
    assert wire.form(f"/{bucket}", [("key", "a")], b"x").status == 403, "an anonymous form"


def test_malformed_forms(wire, bucket):
    kind = "multipart/form-data; boundary=b"
    good = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\na\r\n'
    for content_type, body in ((kind, b""), (kind, b"junk"), (kind, good), ("multipart/form-data", good),
                               ("multipart/form-data; boundary=" + "b" * 500, good), (kind, good + b"--b--\r\n"),
                               (kind, good * 3000), (kind, b"--b\r\n" + b"X: " + b"y" * 50000 + b"\r\n\r\n"),
                               ("text/plain", good)):
        answer = wire.plain("POST", f"/{bucket}", headers=[("content-type", content_type)], body=body)
        assert answer is not None and 400 <= answer.status < 500, (content_type[:60], body[:60], answer)


def test_no_key(wire, bucket):
    answer = wire.form(f"/{bucket}", [("acl", "private")], b"x")
    assert answer.status in (400, 403), answer
