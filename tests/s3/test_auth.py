"""Signature Version 4: header, presigned, and what must be refused.

AWS: "Authenticating Requests (AWS Signature Version 4)"."""

import pytest

from wire import UNSIGNED, sha256


@pytest.fixture
def path(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    return f"/{bucket}/a"


def refused(answer, status, code):
    assert answer is not None, "closed without an answer"
    assert (answer.status, answer.code) == (status, code), answer
    return answer


def test_header(wire, path):
    answer = wire.request("GET", path)
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["x-amz-request-id"]


def test_unsigned_payload(wire, path):
    assert wire.request("PUT", path, body=b"x", payload=UNSIGNED).status == 200


def test_lines_of_a_value_are_folded(wire, path):
    answer = wire.request("PUT", path, headers=[("x-amz-meta-a", "one   two")], body=b"x")
    assert answer.status == 200, answer


def test_query_is_sorted_by_encoded_name(wire, bucket):
    query = [("prefix", "a+b c/ü"), ("list-type", "2"), ("delimiter", "/"), ("encoding-type", "url")]
    assert wire.request("GET", f"/{bucket}", query).status == 200


def test_path_is_encoded_once(wire, bucket):
    assert wire.request("PUT", f"/{bucket}/a%20b%2Bc%25d/%C3%BC//..~", body=b"x").status == 200


def test_unknown_key(wire, path):
    refused(wire.request("GET", path, access="CVNOSUCHKEY000000000"), 403, "InvalidAccessKeyId")


def test_wrong_secret(wire, path):
    refused(wire.request("GET", path, secret="x" * 40), 403, "SignatureDoesNotMatch")


def test_other_path_than_signed(wire, path):
    headers, _ = wire.sign("GET", path + "b")
    refused(wire.raw(wire.head("GET", path, (), headers)), 403, "SignatureDoesNotMatch")


def test_added_query(wire, path):
    headers, _ = wire.sign("GET", path)
    answer = wire.raw(wire.head("GET", path, [("response-content-type", "a/b")], headers))
    refused(answer, 403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("shift", [-86400, -1000, 1000, 86400])
def test_skewed_clock(wire, path, shift):
    refused(wire.request("GET", path, date=wire.now(shift)), 403, "RequestTimeTooSkewed")


@pytest.mark.parametrize("shift", [-800, 800])
def test_small_skew(wire, path, shift):
    assert wire.request("GET", path, date=wire.now(shift)).status == 200


def test_other_region(wire, path):
    answer = refused(wire.request("GET", path, region="mars-north-7"), 400, "AuthorizationHeaderMalformed")
    assert f"the region 'mars-north-7' is wrong; expecting '{wire.region}'" in answer.message


@pytest.mark.parametrize("scope", ["20200101/{region}/s3/aws4_request", "{day}/{region}/ec2/aws4_request",
                                   "{day}/{region}/s3/aws4", "{day}/s3/aws4_request", "x"])
def test_bad_scope(wire, path, scope):
    scope = scope.format(region=wire.region, day=wire.now()[:8])
    refused(wire.request("GET", path, scope=scope), 400, "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("value", ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a", "AWS4-HMAC-SHA256 ,,,=",
                                   "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature="])
def test_malformed_header(wire, path, value):
    head = wire.head("GET", path, (), [("host", wire.netloc), ("x-amz-date", wire.now()),
                                       ("x-amz-content-sha256", UNSIGNED), ("authorization", value)])
    refused(wire.raw(head), 400, "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("value", ["AWS key:c2lnbmF0dXJl", "Basic dXNlcjpwYXNz", "Bearer abc"])
def test_other_schemes(wire, path, value):
    answer = wire.plain("GET", path, headers=[("authorization", value)])
    assert answer.status in (400, 403) and answer.code in ("InvalidRequest", "InvalidArgument", "AccessDenied"), answer


def test_no_date(wire, path):
    headers, _ = wire.sign("GET", path)
    headers = [pair for pair in headers if pair[0] != "x-amz-date"]
    refused(wire.raw(wire.head("GET", path, (), headers)), 403, "AccessDenied")


def test_unsigned_amz_header(wire, path):
    answer = wire.request("PUT", path, body=b"x", unsigned=[("x-amz-meta-evil", "1")])
    refused(answer, 403, "AccessDenied")


def test_payload_hash_is_required(wire, path):
    assert wire.request("GET", path).status == 200
    headers, _ = wire.sign("GET", path, payload=None)
    answer = wire.raw(wire.head("GET", path, (), headers))
    assert answer.status == 400 and answer.code in ("InvalidRequest", "MissingSecurityHeader"), answer


@pytest.mark.parametrize("value", ["abc", "STREAMING-SOMETHING", "z" * 64])
def test_payload_hash_malformed(wire, path, value):
    answer = wire.request("PUT", path, body=b"x", payload=value)
    assert (answer.status, answer.code) in ((400, "InvalidArgument"), (400, "InvalidRequest"),
                                            (501, "NotImplemented")), answer


def test_payload_hash_differs(wire, path):
    refused(wire.request("PUT", path, body=b"x", payload=sha256(b"y")), 400, "XAmzContentSHA256Mismatch")
    assert wire.request("GET", path).body == b"hello"


def test_two_mechanisms(wire, path):
    query = wire.presign("GET", path)
    headers, _ = wire.sign("GET", path, query)
    answer = wire.raw(wire.head("GET", path, query, headers))
    assert answer.status == 400 and answer.code in ("InvalidArgument", "InvalidRequest"), answer


@pytest.mark.parametrize("method, status", [("GET", 200), ("HEAD", 200), ("DELETE", 204), ("PUT", 200)])
def test_presigned(wire, path, method, status):
    answer = wire.presigned(method, path, body=b"new" if method == "PUT" else b"")
    assert answer.status == status, answer


def test_presigned_by_boto(s3, bucket):
    import requests
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k e+y", "ContentType": "a/b"})
    assert requests.put(url, data=b"1", headers={"Content-Type": "a/b"}, timeout=20).status_code == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k e+y",
                                                          "ResponseContentType": "c/d"})
    answer = requests.get(url, timeout=20)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"1", "c/d")


def presigned_v2(client, operation, expires=60, **params):
    """What boto3 makes by default in us-east-1: Signature Version 2."""
    import boto3
    from botocore.config import Config
    keys = client._request_signer._credentials
    old = boto3.client("s3", endpoint_url=client.meta.endpoint_url, region_name=client.meta.region_name,
                       aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key,
                       config=Config(signature_version="s3", s3={"addressing_style": "path"}))
    url = old.generate_presigned_url(operation, Params=params, ExpiresIn=expires)
    assert "AWSAccessKeyId=" in url
    return url


def test_presigned_v2(s3, bucket):
    import requests
    it = {"Bucket": bucket, "Key": "k e+y/ü//x"}
    # What was signed as a header and stands in the query counts as sent.
    url = presigned_v2(s3, "put_object", **it, ContentType="a/b", Metadata={"m": "1 2"}, ACL="public-read")
    assert "x-amz-meta-m=" in url
    assert requests.put(url, data=b"1", timeout=20).status_code == 200
    head = s3.head_object(**it)
    assert (head["ContentType"], head["Metadata"]) == ("a/b", {"m": "1 2"})
    url = presigned_v2(s3, "put_object", **it, ContentType="a/b")
    assert requests.put(url, data=b"12", headers={"Content-Type": "a/b"}, timeout=20).status_code == 200
    url = presigned_v2(s3, "get_object", **it, ResponseContentType="c/d e", ResponseExpires="Thu, 01 Dec 1994 16:00:00 GMT")
    answer = requests.get(url, headers={"Range": "bytes=1-"}, timeout=20)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (206, b"2", "c/d e")
    url = presigned_v2(s3, "list_objects_v2", Bucket=bucket, Prefix="k")
    assert b"<KeyCount>1</KeyCount>" in requests.get(url, timeout=20).content
    upload = s3.create_multipart_upload(**it)["UploadId"]
    url = presigned_v2(s3, "upload_part", **it, UploadId=upload, PartNumber=1)
    assert requests.put(url, data=b"part", timeout=20).headers["etag"]
    assert requests.delete(presigned_v2(s3, "abort_multipart_upload", **it, UploadId=upload), timeout=20).status_code == 204
    assert requests.delete(presigned_v2(s3, "delete_object", **it), timeout=20).status_code == 204


@pytest.mark.parametrize("change", [
    lambda url: url.replace("/key?", "/other?"), lambda url: url + "&acl", lambda url: url + "&retention",
    lambda url: url + "&response-content-type=text/html", lambda url: url + "&x-amz-acl=public-read",
    lambda url: url + "&uploadId=1", lambda url: url.replace("Expires=", "Expires=1")])
def test_presigned_v2_changed(s3, bucket, change):
    import requests
    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    url = presigned_v2(s3, "get_object", Bucket=bucket, Key="key")
    assert requests.get(url, timeout=20).content == b"x"
    answer = requests.get(change(url), timeout=20)
    assert (answer.status_code, b"<Code>SignatureDoesNotMatch<" in answer.content) == (403, True), answer.content
    answer = requests.get(url, headers={"x-amz-meta-a": "1"}, timeout=20)
    assert (answer.status_code, b"<Code>SignatureDoesNotMatch<" in answer.content) == (403, True), answer.content
    assert requests.put(url, data=b"y", timeout=20).status_code == 403


@pytest.mark.parametrize("query, message", [
    ("Expires=soon&Signature=x&AWSAccessKeyId=y", b"Invalid date"), ("Expires=1&Signature=x&AWSAccessKeyId=y", b"expired"),
    ("Signature=x", b"requires the Signature, Expires and AWSAccessKeyId"),
    ("Expires=9999999999&Signature=x&AWSAccessKeyId=y", b"InvalidAccessKeyId")])
def test_presigned_v2_malformed(wire, path, query, message):
    answer = wire.plain("GET", path, [pair.split("=") for pair in query.split("&")])
    assert answer.status == 403 and message in answer.body, answer


def test_presigned_v2_with_a_line_break(wire, path):
    answer = wire.plain("GET", path, [("Expires", "9999999999"), ("Signature", "x"), ("AWSAccessKeyId", wire.access),
                                      ("content-type", "a\r\nx: y")])
    assert answer.status == 403 and b"control characters" in answer.body, answer


def test_presigned_method_is_signed(wire, path):
    refused(wire.plain("DELETE", path, wire.presign("GET", path)), 403, "SignatureDoesNotMatch")


def test_presigned_expired(wire, path):
    answer = refused(wire.presigned("GET", path, expires=10, date=wire.now(-60)), 403, "AccessDenied")
    assert answer.message == "Request has expired"


def test_presigned_tomorrow(wire, path):
    assert wire.presigned("GET", path, date=wire.now(86400)).status == 403


@pytest.mark.parametrize("expires", ["0", "-7", "604801", "abc", "", None])
def test_presigned_expiry_out_of_range(wire, path, expires):
    answer = wire.presigned("GET", path, Expires=expires)
    assert answer.status in (400, 403), answer
    assert answer.code in ("AuthorizationQueryParametersError", "AccessDenied"), answer


@pytest.mark.parametrize("change", [{"Credential": "x"}, {"Credential": None}, {"Date": "today"}, {"Date": None},
                                    {"SignedHeaders": None}, {"Algorithm": "AWS4-MD5"}])
def test_presigned_malformed(wire, path, change):
    answer = wire.presigned("GET", path, **change)
    assert answer.status in (400, 403), answer
    assert answer.code in ("AuthorizationQueryParametersError", "AccessDenied"), answer


def test_presigned_other_region(wire, path):
    refused(wire.presigned("GET", path, region="mars-1"), 400, "AuthorizationQueryParametersError")


def test_presigned_unsigned_amz_header(wire, path):
    refused(wire.presigned("PUT", path, body=b"x", send_headers=[("x-amz-meta-a", "1")]), 403, "AccessDenied")


def test_second_user_has_no_access(alt, s3, bucket):
    from botocore.exceptions import ClientError
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    for call in (lambda: alt.get_object(Bucket=bucket, Key="a"), lambda: alt.put_object(Bucket=bucket, Key="a"),
                 lambda: alt.list_objects_v2(Bucket=bucket), lambda: alt.delete_bucket(Bucket=bucket)):
        with pytest.raises(ClientError) as error:
            call()
        assert error.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE"])
def test_anonymous(wire, path, method):
    assert wire.plain(method, path).status == 403


def test_anonymous_missing_bucket(wire):
    assert wire.plain("GET", "/no-such-bucket-at-all").status == 404
