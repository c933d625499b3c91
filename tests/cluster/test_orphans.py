"""Blocks of uploads that were cut off, or whose gateway died, are given back; what rows name stays."""
import socket
import time
from urllib.parse import urlsplit

from local import LocalCluster, wait_until

MIB = 1 << 20


def begin_put(made, k, key, declared, sent):
    """Sends the first part of a body; returns the open connection."""
    url = urlsplit(made.client(k).generate_presigned_url("put_object", Params={"Bucket": "orphans", "Key": key}))
    connection = socket.create_connection((url.hostname, url.port), timeout=60)
    head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {declared}\r\n\r\n"
    connection.sendall(head.encode() + bytes(sent))
    return connection


def test_blocks_of_failed_uploads_are_given_back(request):
    made = LocalCluster("orphans", settings=['reclaim_delay = "1s"'])
    request.module.running_cluster = made
    try:
        made.up()
        client = made.client(1)
        client.create_bucket(Bucket="orphans")
        kept = {f"kept-{n}": bytes([n]) * 700_000 for n in range(8)}
        for key, body in kept.items():
            client.put_object(Bucket="orphans", Key=key, Body=body)
        upload = client.create_multipart_upload(Bucket="orphans", Key="open")["UploadId"]
        part = client.upload_part(Bucket="orphans", Key="open", UploadId=upload, PartNumber=1, Body=bytes(6 * MIB))
        wait_until("every copy is written", lambda: made.status(1)["copies_to_repair"] == 0)

        def used():
            shown = [node["used_bytes"] for node in made.status(1).get("nodes", [])]
            return shown if len(shown) == 3 and all(shown) else None

        before = wait_until("the nodes say what they hold", used)
        cut = [begin_put(made, 1 + n % 3, f"cut-{n}", 40 * MIB, 6 * MIB) for n in range(6)]
        wait_until("their blocks are stored", lambda: all(b >= a + 20 * MIB for a, b in zip(before, used() or before)))
        print(f"{before} bytes before, {used()} with uploads under way")
        for connection in cut[:5]:
            connection.close()
        made.kill(3)  # the gateway of the last one
        time.sleep(1)
        made.start(3)
        began = time.monotonic()
        wait_until("all of it is given back",
                   lambda: all(b <= a + MIB for a, b in zip(before, used() or [1 << 60])), seconds=600, pause=1)
        print(f"given back {time.monotonic() - began:.0f} s after node 3 was back")
        cut[5].close()
        for key, body in kept.items():
            for k in made.nodes:
                got = wait_until("a kept object is read", lambda k=k: made.client(k).get_object(Bucket="orphans", Key=key))
                assert got["Body"].read() == body
        client.complete_multipart_upload(
            Bucket="orphans", Key="open", UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        assert made.client(2).get_object(Bucket="orphans", Key="open")["Body"].read() == bytes(6 * MIB)
    finally:
        made.down()
