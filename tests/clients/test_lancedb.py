"""LanceDB: a table whose every commit is a conditional PUT, written by several processes through different nodes at once."""
import json
import subprocess
import sys

import pytest

from rig import TOOL_TIMEOUT_S

lancedb = pytest.importorskip("lancedb", reason="lancedb is not installed on this machine")

WRITERS, COMMITS, ROWS = 6, 5, 20

# One writer, in a process of its own: it appends until all its commits are in. What LanceDB gives up on as a conflict
# was not committed, and is tried again.
WRITER = """
import json, sys
import lancedb
uri, options, writer, commits, rows = json.loads(sys.argv[1])
table = lancedb.connect(uri, storage_options=options).open_table("t")
conflicts = 0
for commit in range(commits):
    data = [{"writer": writer, "commit": commit, "row": row, "vector": [float(row)] * 8} for row in range(rows)]
    for attempt in range(200):
        try:
            table.add(data)
            break
        except Exception as error:
            if "conflict" not in str(error).lower():
                raise
            conflicts += 1
    else:
        raise SystemExit("no commit in 200 attempts")
print(conflicts)
"""


def rows_of(writer, commit):
    return [{"writer": writer, "commit": commit, "row": row, "vector": [float(row)] * 8} for row in range(ROWS)]


def connect(nodes, bucket):
    return lancedb.connect(f"s3://{bucket}/lance", storage_options=nodes.storage_options())


def test_create_append_read(nodes, bucket):
    connect(nodes, bucket).create_table("t", rows_of(0, 0))
    connect(nodes, bucket).open_table("t").add(rows_of(0, 1))
    table = connect(nodes, bucket).open_table("t")
    assert table.count_rows() == 2 * ROWS
    nearest = table.search([3.1] * 8).limit(2).to_list()
    assert [row["row"] for row in nearest] == [3, 3]
    connect(nodes, bucket).open_table("t").delete("row < 10")
    assert connect(nodes, bucket).open_table("t").count_rows() == ROWS
    connect(nodes, bucket).open_table("t").optimize()
    assert connect(nodes, bucket).open_table("t").count_rows("row >= 10") == ROWS
    assert connect(nodes, bucket).list_tables().tables == ["t"]
    connect(nodes, bucket).drop_table("t")
    assert connect(nodes, bucket).list_tables().tables == []


def test_concurrent_committers(nodes, bucket, home):
    connect(nodes, bucket).create_table("t", rows_of(-1, 0))
    env = nodes.environment(home)
    writers = []
    try:
        for writer in range(WRITERS):
            task = json.dumps([f"s3://{bucket}/lance", nodes.storage_options(), writer, COMMITS, ROWS])
            writers.append(subprocess.Popen([sys.executable, "-c", WRITER, task], env=env, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE))
        results = [writer.communicate(timeout=TOOL_TIMEOUT_S) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    for writer, (_, error) in zip(writers, results):
        assert writer.returncode == 0, error[-3000:].decode(errors="replace")
    print(f"{WRITERS} writers, {COMMITS} commits each; conflicts given up and tried again: "
          f"{sum(int(out) for out, _ in results)}")
    for endpoint in nodes.endpoints:
        table = lancedb.connect(f"s3://{bucket}/lance", storage_options=nodes.storage_options(endpoint)).open_table("t")
        found = table.to_arrow().select(["writer", "commit", "row"]).to_pylist()
        # Every commit that was acknowledged is there exactly once, whichever node is asked.
        assert sorted((r["writer"], r["commit"], r["row"]) for r in found) == sorted(
            [(-1, 0, row) for row in range(ROWS)]
            + [(w, c, row) for w in range(WRITERS) for c in range(COMMITS) for row in range(ROWS)])
        assert len(table.list_versions()) == 1 + WRITERS * COMMITS
